"""An epoch is committed when its rows are acknowledged, and not before."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flows import sink
from flows.columns import Rows
from flows.questdb import Endpoint, Writer
from flows.running import Tally
from flows.sink import PARTITION, QuestDBSink


def rows(count: int) -> Rows:
    return Rows("trades", {"ts": np.arange(count, dtype=np.int64)})


class Acknowledging(Writer):
    """A writer that tells in which order it was used, and needs no database."""

    def __init__(self) -> None:
        super().__init__(Endpoint("127.0.0.1", 1, 1))
        self.calls: list[str] = []

    def write(self, many: Sequence[Rows]) -> None:
        self.calls.append(f"write {sum(map(len, many))}")

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


def partition(monkeypatch: Any, linger_s: float) -> tuple[Any, Acknowledging, Tally]:
    monkeypatch.setattr(sink, "LINGER_S", linger_s)
    writer, tally = Acknowledging(), Tally()
    target = QuestDBSink(lambda: writer, tally)
    assert target.list_parts() == [PARTITION]
    return target.build_part("questdb", PARTITION, None), writer, tally


def test_a_snapshot_and_the_end_wait_for_the_acknowledgement(monkeypatch: Any) -> None:
    part, writer, _ = partition(monkeypatch, linger_s=3_600)
    part.write_batch([rows(2), rows(3)])
    assert writer.calls == ["write 5"]  # rows wait for company
    assert part.snapshot() is None
    part.close()
    assert writer.calls == ["write 5", "flush", "flush", "close"]


def test_rows_do_not_wait_longer_than_they_linger(monkeypatch: Any) -> None:
    part, writer, tally = partition(monkeypatch, linger_s=0)
    part.write_batch([rows(2)])
    part.write_batch([rows(1)])
    assert writer.calls == ["write 2", "flush", "write 1", "flush"]
    assert tally.rows["trades"] == 3
