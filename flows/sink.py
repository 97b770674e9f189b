"""Rows into QuestDB as a Bytewax sink: whatever an epoch wrote is acknowledged before the epoch is committed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.columns import Rows
from flows.errors import UserError
from flows.fatal import guarded
from flows.questdb import Writer
from flows.running import Tally

PARTITION: Final = "questdb"
LINGER_S: Final = 0.1  # rows wait so long for company
HEARTBEAT_S: Final = 1.0


class QuestDBPartition(StatefulSinkPartition[Rows, None]):
    def __init__(self, writer: Writer, tally: Tally | None, heartbeat: Path | None) -> None:
        self._writer, self._tally, self._heartbeat = writer, tally, heartbeat
        self._flushed, self._beat = time.monotonic(), -HEARTBEAT_S

    @guarded
    def write_batch(self, values: list[Rows]) -> None:
        self._writer.write(values)
        if self._tally is not None:
            for rows in values:
                self._tally.count(rows)
        if time.monotonic() - self._flushed >= LINGER_S:
            self._flush()

    @guarded
    def snapshot(self) -> None:
        self._flush()

    @guarded
    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()
        if self._heartbeat is not None and self._flushed - self._beat >= HEARTBEAT_S:
            try:
                self._heartbeat.touch()  # `health` has rows each second: that this file is young says that all of the line moves
            except OSError as error:
                raise UserError(f"PAIRFLOW_HEARTBEAT: {self._heartbeat}: {error.strerror}: name a file that can be written") from None
            self._beat = self._flushed


class QuestDBSink(FixedPartitionedSink[Rows, None]):
    """One partition, so that rows of one key are written in the order in which they were made.

    `heartbeat`: a file that is touched whenever the database has acknowledged rows.
    """

    def __init__(self, writer: Callable[[], Writer], tally: Tally | None = None, heartbeat: Path | None = None) -> None:
        self._writer, self._tally, self._heartbeat = writer, tally, heartbeat

    def list_parts(self) -> list[str]:
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> QuestDBPartition:
        return QuestDBPartition(self._writer(), self._tally, self._heartbeat)
