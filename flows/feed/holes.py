"""The holes of one symbol in the order of their ids, and their lines in the ledger."""

from dataclasses import dataclass, field

import numpy as np

from flows.feed.frames import Frames
from flows.feed.gaps import FILLED, LOST, NONE, OPEN, UNFILLABLE, Gap, Hole
from flows.feed.progress import Progress
from operators.columns import Longs


@dataclass(slots=True)
class Holes:
    """The holes of one symbol that are not closed. The last one may have no end yet (`unended`)."""

    # Code of the symbol.
    symbol: int
    # Of all symbols: the last released id, and the lines of the ledger.
    progress: Progress
    # Whether each id is the one before + 1. Else ids only grow.
    contiguous: bool
    # In the order of their ids.
    holes: list[Hole] = field(default_factory=list)
    # Jumps in the ids up to this one are among them.
    noted_to: int = field(init=False)
    # Where ids only grow: ids of trades that the exchange listed, behind the last closed hole.
    fetched: list[Longs] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.noted_to = self._last

    def __len__(self) -> int:
        return len(self.holes)

    @property
    def unended(self) -> Hole | None:
        """The hole whose end is not known yet; there is at most one, the last."""
        return self.holes[-1] if self.holes and self.holes[-1].last_id is None else None

    @property
    def _last(self) -> int:
        return int(self.progress.last[self.symbol])

    @property
    def _last_ts(self) -> int:
        return int(self.progress.last_ts[self.symbol])

    def hear(self, first_id: int) -> None:
        """The socket brought this id: the hole without an end ends before it."""
        hole = self.unended
        if hole is not None:
            hole.stream_id = first_id if hole.stream_id is None else min(hole.stream_id, first_id)

    def open(self, newest_id: int, ts: int, cause: str) -> None:
        """Ids after `newest_id` may be missing; its time is `ts`. There is no unended hole yet."""
        end = self.holes[-1].last_id if self.holes else None
        self.holes.append(Hole(max(newest_id, end or NONE) + 1, None, ts, cause))

    def end_at_stream(self) -> None:
        """End the unended hole where the socket went on, if it did, and close what is filled."""
        hole = self.unended
        if hole is not None and hole.stream_id is not None:
            hole.last_id = hole.stream_id - 1
            self.close()

    def reopen(self, from_id: int) -> None:
        """The stream of a quiet symbol is dead: ids from `from_id` on are missing."""
        if self.unended is not None:
            self.conclude()
            self.holes.pop()
        self.holes.append(Hole(from_id, None, self._last_ts, LOST))

    def forget_behind(self, newest_id: int, ts: int) -> None:
        """Trades behind `newest_id` were dropped: one hole without an end instead of those behind it."""
        self.holes = [hole for hole in self.holes if hole.first_id <= newest_id]
        if (hole := self.unended) is not None:
            hole.last_id = (hole.stream_id or newest_id + 1) - 1
        self.noted_to = min(self.noted_to, newest_id)
        self.holes.append(Hole(newest_id + 1, None, ts, LOST))

    def note(self, rows: Frames, to_id: int, in_vain: bool) -> None:
        """Remember the jumps in the held rows up to `to_id`.

        The first hole enters the ledger as open if the exchange was asked for it `in_vain`.
        """
        before = np.concatenate(([self._last], rows.id[:-1]))
        ts = np.concatenate(([self._last_ts], rows.ts[:-1]))
        unended = self.unended
        if unended is not None and unended.stream_id is not None and unended.stream_id <= to_id:
            unended.last_id = unended.stream_id - 1
        jumps = (rows.id > before + 1) & (before >= self.noted_to) & (rows.id <= to_id) & self.contiguous
        for k in np.flatnonzero(jumps).tolist():
            first_id, last_id = int(before[k]) + 1, int(rows.id[k]) - 1
            if not any(
                hole.first_id <= first_id and (hole.last_id is None or first_id <= hole.last_id)
                for hole in self.holes
            ):
                self.holes.append(Hole(first_id, last_id, int(ts[k]), LOST))
        self.noted_to = max(self.noted_to, to_id)
        self.holes.sort(key=lambda hole: hole.first_id)
        self.close()
        hole = self.holes[0] if self.holes else None
        if hole is not None and hole.last_id is not None and in_vain and not hole.shown:
            hole.shown = True
            self._enter(hole, hole.last_id, OPEN)

    def conclude(self) -> None:
        """Enter what the exchange listed behind the last message, while the socket is still silent."""
        hole = self.unended
        if hole is not None and self._last >= hole.first_id:
            self._enter(hole, self._last, FILLED)
            hole.first_id, hole.ts = self._last + 1, self._last_ts

    def skip(self, last_id: int) -> None:
        """Declare the missing ids up to `last_id` unfillable."""
        first_id = self._last + 1
        hole = self.holes[0] if self.holes and self.holes[0].first_id <= first_id else None
        if hole is None:
            self._enter(Hole(first_id, last_id, self._last_ts, LOST), last_id, UNFILLABLE)
        else:
            if hole.first_id < first_id:
                self._enter(hole, first_id - 1, FILLED)
                hole.first_id, hole.ts = first_id, self._last_ts
            self._enter(hole, last_id, UNFILLABLE)
            hole.first_id, hole.ts, hole.shown = last_id + 1, self._last_ts, False
        self.progress.last[self.symbol], self.progress.broken[self.symbol] = last_id, True

    def close(self) -> None:
        """Remove the holes that are filled, and enter them into the ledger."""
        while self.holes:
            hole = self.holes[0]
            if hole.last_id is None and hole.stream_id is not None and self._last >= hole.stream_id - 1:
                hole.last_id = hole.stream_id - 1
            if hole.last_id is None or self._last < hole.last_id:
                return
            if hole.last_id >= hole.first_id:
                self._enter(hole, hole.last_id, FILLED)
            del self.holes[0]

    def _enter(self, hole: Hole, last_id: int, status: str) -> None:
        """Add a line to the ledger: the hole's ids up to `last_id`."""
        trades = last_id - hole.first_id + 1
        if not self.contiguous and status == FILLED:
            fetched = np.concatenate([*self.fetched, np.zeros(0, np.int64)])
            trades = int(np.count_nonzero((fetched >= hole.first_id) & (fetched <= last_id)))
            self.fetched = [fetched[fetched > last_id]]
            if not trades and not hole.shown:
                return  # nothing came while the socket was down
        line = Gap(hole.ts, self.symbol, hole.first_id, last_id, hole.cause, status, trades)
        self.progress.gaps.append(line)
