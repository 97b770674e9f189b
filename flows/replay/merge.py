"""Several streams of rows, each by rising keys, as one: only the heads of the streams are in memory."""

import heapq
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from flows.replay.packed import ROW, Longs, Packed

Keyed = tuple[Packed, Longs]  # rows (n,), and the key of each (n,)
NONE: Final = np.iinfo(np.int64).max  # stands for the key of no row


@dataclass(slots=True)
class Stream:
    """Rows in batches by rising keys. Within `slack` a key may be below one that came before, also in another batch."""

    opens_at: int  # no key is below; the first batch is not read before the others have come to it
    batches: Generator[Keyed, None, None]
    slack: int = 0
    rows: Packed = field(default_factory=lambda: np.empty(0, ROW))  # read and not given yet, by key
    keys: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    first: int = NONE  # key of the first of them

    def read(self) -> int | None:
        """Take the next batch; returns the key below which none is to come, or None after the last batch."""
        batch = next(self.batches, None)
        if batch is None:
            return None
        rows, keys = batch
        if not len(rows):
            return self.opens_at
        if len(self.rows):
            rows, keys = np.concatenate((self.rows, rows)), np.concatenate((self.keys, keys))
        newest = int(keys.max())
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            rows, keys = rows[order], keys[order]
        self.rows, self.keys, self.first = rows, keys, int(keys[0])
        self.opens_at = max(self.opens_at, newest - self.slack)
        return self.opens_at

    def give(self, before: int | None) -> Keyed:
        """The rows whose keys are below `before`; None: all."""
        n = len(self.keys) if before is None else int(np.searchsorted(self.keys, before, side="left"))
        given = self.rows[:n], self.keys[:n]
        self.rows, self.keys = self.rows[n:], self.keys[n:]
        self.first = int(self.keys[0]) if len(self.keys) else NONE
        return given


def merged(streams: Sequence[Stream]) -> Iterator[Keyed]:
    """The rows of all streams in parts: each part's keys are above those of the part before, within a part they come as they are.

    So all rows of one key are in one part, and who wants an order among them sorts the part.
    """
    waiting = [(stream.opens_at, k) for k, stream in enumerate(streams)]
    heapq.heapify(waiting)
    try:
        while waiting:
            _, k = heapq.heappop(waiting)
            bound = streams[k].read()
            if bound is not None:
                heapq.heappush(waiting, (bound, k))
            horizon = waiting[0][0] if waiting else None
            parts = [stream.give(horizon) for stream in streams if (len(stream.keys) if horizon is None else stream.first < horizon)]
            if len(parts) == 1:
                yield parts[0]
            elif parts:
                yield np.concatenate([rows for rows, _ in parts]), np.concatenate([keys for _, keys in parts])
    finally:
        for stream in streams:
            stream.batches.close()
