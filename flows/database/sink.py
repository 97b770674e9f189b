"""Rows into QuestDB as a Bytewax sink: whatever an epoch wrote is acknowledged before the epoch is committed."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.database.columns import Rows
from flows.database.tally import Tally
from flows.database.writer import Writer
from flows.errors import UserError
from flows.runtime.fatal import guarded

PARTITION: Final = "questdb"
AWAITED: Final = frozenset({"signals", "alerts"})  # somebody acts on them: they are sent at once
# other rows wait so long for company: a little longer than an epoch, whose end sends them anyway
LINGER_S: Final = 1.2
TURN_S: Final = 0.08  # between two commits of awaited rows, in the long run
SPARE: Final = 2  # turns that may be saved up: a few rows now and then never wait
HEARTBEAT_S: Final = 1.0


class QuestDBPartition(StatefulSinkPartition[Rows, None]):
    """Each request is a commit of every table in it, and a commit costs the server about as much for one row
    as for a thousand.

    So only the tables in `awaited` are sent when their rows come, and in turns: a market of hundreds of
    symbols closes its bars one after the other, and 35 commits a second took the server 44 % of a core, 12 of
    them 26 %. Meanwhile whatever comes next gathers before this step.
    """

    def __init__(
        self, writer: Writer, tally: Tally | None, heartbeat: Path | None, awaited: Collection[str]
    ) -> None:
        self._writer, self._tally, self._heartbeat, self._awaited = writer, tally, heartbeat, awaited
        self._flushed, self._beat = time.monotonic(), -HEARTBEAT_S
        self._turn = 0.0  # when the next commit of awaited rows may be, s of the monotonic clock

    @guarded
    def write_batch(self, values: list[Rows]) -> None:
        self._writer.write(values)
        if self._tally is not None:
            for rows in values:
                self._tally.count(rows)
        if time.monotonic() - self._flushed >= LINGER_S:
            self._flush()
        elif any(rows.table in self._awaited for rows in values):
            self._take_turn()
            self._writer.flush(self._awaited)

    def _take_turn(self) -> None:
        """Wait until a commit of awaited rows may be: every `TURN_S`, but for those that were saved up."""
        now = time.monotonic()
        self._turn = max(self._turn, now - SPARE * TURN_S)
        time.sleep(max(0.0, self._turn - now))
        self._turn += TURN_S

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
                # `health` has rows each second: that this file is young says that all of the line moves
                self._heartbeat.touch()
            except OSError as error:
                raise UserError(
                    f"PAIRFLOW_HEARTBEAT: {self._heartbeat}: {error.strerror}: name a file that can be "
                    "written"
                ) from None
            self._beat = self._flushed


class QuestDBSink(FixedPartitionedSink[Rows, None]):
    """One partition, so that rows of one key are written in the order in which they were made.

    `heartbeat`: a file that is touched whenever the database has acknowledged rows. `awaited`: tables whose
    rows are sent when they come; none for a replay, which nobody watches row by row.
    """

    def __init__(
        self,
        writer: Callable[[], Writer],
        tally: Tally | None = None,
        heartbeat: Path | None = None,
        awaited: Collection[str] = AWAITED,
    ) -> None:
        self._writer, self._tally, self._heartbeat, self._awaited = writer, tally, heartbeat, awaited

    def list_parts(self) -> list[str]:
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> QuestDBPartition:
        return QuestDBPartition(self._writer(), self._tally, self._heartbeat, self._awaited)
