"""The sink's heartbeat: it says that the database has acknowledged rows, and nothing else makes it young."""

import os
from pathlib import Path
from typing import Any, cast

import pytest

from flows.errors import UserError
from flows.questdb import Writer
from flows.sink import HEARTBEAT_S, QuestDBPartition, QuestDBSink


class Acknowledging:
    """A writer whose database answers, or does not."""

    def __init__(self) -> None:
        self.away = False

    def write(self, many: list[Any]) -> None:
        pass

    def flush(self) -> None:
        if self.away:
            raise UserError("away")

    def close(self) -> None:
        pass


def sink(heartbeat: Path | None) -> tuple[QuestDBPartition, Acknowledging]:
    writer = Acknowledging()
    return QuestDBSink(lambda: cast(Writer, writer), heartbeat=heartbeat).build_part("questdb", "questdb", None), writer


def age(heartbeat: Path) -> None:
    os.utime(heartbeat, (0, 0))


def test_the_heartbeat_is_touched_when_rows_are_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("flows.sink.time.monotonic", lambda: now[0])
    heartbeat = tmp_path / "heartbeat"
    part, writer = sink(heartbeat)
    part.snapshot()
    age(heartbeat)
    now[0] += HEARTBEAT_S
    part.write_batch([])
    assert heartbeat.stat().st_mtime > 0
    age(heartbeat)
    now[0] += HEARTBEAT_S
    writer.away = True
    with pytest.raises(UserError):
        part.write_batch([])
    assert heartbeat.stat().st_mtime == 0


def test_a_heartbeat_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    part, _ = sink(tmp_path / "absent" / "heartbeat")
    with pytest.raises(UserError, match=r"^PAIRFLOW_HEARTBEAT: .*heartbeat: No such file or directory: name a file that can be written$"):
        part.snapshot()


def test_without_a_heartbeat_nothing_is_touched(tmp_path: Path) -> None:
    part, _ = sink(None)
    part.snapshot()
    assert not list(tmp_path.iterdir())
