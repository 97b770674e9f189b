"""An epoch is committed only once its rows are acknowledged; only that touches the heartbeat."""

import os
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from flows.database.columns import Rows
from flows.database.sink import LINGER_S, SPARE, TURN_S, QuestDBPartition, QuestDBSink
from flows.database.tally import Tally
from flows.database.writer import Writer
from flows.errors import UserError


class Acknowledging:
    """A writer whose database answers, or does not."""

    def __init__(self) -> None:
        self.away = False
        self.calls: list[str] = []

    def write(self, many: list[Any]) -> None:
        self.calls.append(f"write {sum(map(len, many))}")

    def flush(self, tables: Collection[str] | None = None) -> None:
        self.calls.append("flush" if tables is None else f"flush {' '.join(sorted(tables))}")
        if self.away:
            raise UserError("away")

    def close(self) -> None:
        self.calls.append("close")


def sink(heartbeat: Path | None = None, tally: Tally | None = None) -> tuple[QuestDBPartition, Acknowledging]:
    writer = Acknowledging()
    return QuestDBSink(lambda: cast(Writer, writer), tally, heartbeat).build_part(
        "questdb", "questdb", None
    ), writer


def rows(count: int, table: str = "trades") -> Rows:
    return Rows(table, {"ts": np.arange(count, dtype=np.int64)})


def test_a_snapshot_and_the_end_wait_for_the_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.database.sink.LINGER_S", 3_600)
    part, writer = sink()
    part.write_batch([rows(2), rows(3)])
    assert writer.calls == ["write 5"]  # other rows are sent together later
    part.snapshot()
    part.close()
    assert writer.calls == ["write 5", "flush", "flush", "close"]


def test_rows_do_not_wait_longer_than_they_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.database.sink.LINGER_S", 0)
    tally = Tally()
    part, writer = sink(tally=tally)
    part.write_batch([rows(2)])
    part.write_batch([rows(1)])
    assert writer.calls == ["write 2", "flush", "write 1", "flush"]
    assert tally.rows["trades"] == 3


def test_signals_and_alerts_are_sent_at_once_and_take_no_other_rows_with_them() -> None:
    part, writer = sink()
    part.write_batch([rows(2), rows(1, "signals")])
    part.write_batch([rows(1, "bars")])
    part.write_batch([rows(1, "alerts")])
    assert writer.calls == ["write 3", "flush alerts signals", "write 1", "write 1", "flush alerts signals"]


def test_rows_that_are_awaited_all_the_time_are_sent_in_turns_and_now_and_then_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds / TURN_S, 6))
        now[0] += seconds

    monkeypatch.setattr("flows.database.sink.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    part, writer = sink()
    for _ in range(6):
        part.write_batch([rows(1, "signals")])
    assert slept == [0, 0, 0, 1, 1, 1]
    assert writer.calls.count("flush alerts signals") == 6
    now[0] += SPARE * TURN_S
    part.write_batch([rows(1, "alerts")])
    part.write_batch([rows(2)])  # not among the awaited tables: no delay
    assert slept[6:] == [0]


def test_a_replay_sends_nothing_at_once() -> None:
    writer = Acknowledging()
    part = QuestDBSink(lambda: cast(Writer, writer), awaited=()).build_part("questdb", "questdb", None)
    part.write_batch([rows(1, "signals")])
    assert writer.calls == ["write 1"]


def age(heartbeat: Path) -> None:
    os.utime(heartbeat, (0, 0))


def test_the_heartbeat_is_touched_when_rows_are_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("flows.database.sink.time.monotonic", lambda: now[0])
    heartbeat = tmp_path / "heartbeat"
    part, writer = sink(heartbeat)
    part.snapshot()
    age(heartbeat)
    now[0] += LINGER_S
    part.write_batch([])
    assert heartbeat.stat().st_mtime > 0
    age(heartbeat)
    now[0] += LINGER_S
    writer.away = True
    with pytest.raises(UserError):
        part.write_batch([])
    assert heartbeat.stat().st_mtime == 0


def test_a_heartbeat_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    part, _ = sink(tmp_path / "absent" / "heartbeat")
    with pytest.raises(
        UserError,
        match=r"^PAIRFLOW_HEARTBEAT: .*heartbeat: No such file or directory: name a file that can be "
        r"written$",
    ):
        part.snapshot()


def test_without_a_heartbeat_nothing_is_touched(tmp_path: Path) -> None:
    part, _ = sink(None)
    part.snapshot()
    assert not list(tmp_path.iterdir())
