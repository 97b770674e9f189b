"""The Bytewax sink: QuestDB acknowledges all rows of an epoch before Bytewax commits the epoch."""

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
AWAITED: Final = frozenset({"signals", "alerts"})  # sent at once, because people act on them
# Other rows are sent together after this time. It is a little longer than an epoch, whose end sends them,
# too.
LINGER_S: Final = 1.2
TURN_S: Final = 0.08  # between two commits of awaited rows, on average
SPARE: Final = 2  # commits that may come earlier after a pause, so that occasional rows never wait
HEARTBEAT_S: Final = 1.0


class QuestDBPartition(StatefulSinkPartition[Rows, None]):
    """Decides when rows are sent.

    Each request commits every table in it, and a commit of one row costs the server about as much as one of a
    thousand. So only the tables in `awaited` are sent when their rows come, and every `TURN_S` at most: in a
    market of hundreds of symbols the bars close one after the other, and 35 commits a second took 44 % of a
    core, 12 of them 26 %. Rows that come meanwhile wait before this step.
    """

    def __init__(
        self, writer: Writer, tally: Tally | None, heartbeat: Path | None, awaited: Collection[str]
    ) -> None:
        self._writer, self._tally, self._heartbeat, self._awaited = writer, tally, heartbeat, awaited
        self._flushed, self._beat = time.monotonic(), -HEARTBEAT_S
        self._turn = 0.0  # when awaited rows may be committed next, seconds of the monotonic clock

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
        """Wait until awaited rows may be committed: every `TURN_S`, or earlier after a pause."""
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
                # `health` has rows every second, so a young file shows that the whole flow is moving
                self._heartbeat.touch()
            except OSError as error:
                raise UserError(
                    f"PAIRFLOW_HEARTBEAT: {self._heartbeat}: {error.strerror}: name a file that can be "
                    "written"
                ) from None
            self._beat = self._flushed


class QuestDBSink(FixedPartitionedSink[Rows, None]):
    """A sink of one partition, so that rows with the same key are written in their order.

    `heartbeat`: a file that is touched when the database has acknowledged rows, at most once a second.
    `awaited`: tables whose rows are sent when they come; empty for a replay, which nobody watches row by row.
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
