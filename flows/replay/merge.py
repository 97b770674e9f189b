"""Several streams of rows, each by rising keys, as one: only the heads of the streams are in memory."""

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from operators.columns import Longs

R = TypeVar("R")  # rows of some kind

NONE: Final = np.iinfo(np.int64).max  # stands for the key of no row


class Kind(NamedTuple, Generic[R]):
    """How rows of a kind are handled."""

    select: Callable[[R, Any], R]  # rows by a slice or an index array
    join: Callable[[Sequence[R]], R]  # several parts, one after the other


@dataclass(slots=True)
class Stream(Generic[R]):
    """Rows and their keys, (n,), in batches by rising keys. Within `slack` a key may be below one that came
    before, also in another batch.
    """

    opens_at: int  # no key is below; the first batch is not read before the others have come to it
    batches: Generator[tuple[R, Longs], None, None]
    slack: int = 0
    rows: R | None = None  # read and not given yet, by key
    keys: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    first: int = NONE  # key of the first of them

    def read(self, kind: Kind[R]) -> int | None:
        """Take the next batch; returns the key below which none is to come, or None after the last batch."""
        batch = next(self.batches, None)
        if batch is None:
            return None
        rows, keys = batch
        if not len(keys):
            return self.opens_at
        newest = int(keys.max())
        if self.rows is not None and len(self.keys):
            rows, keys = kind.join((self.rows, rows)), np.concatenate((self.keys, keys))
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            rows, keys = kind.select(rows, order), keys[order]
        self.rows, self.keys, self.first = rows, keys, int(keys[0])
        self.opens_at = max(self.opens_at, newest - self.slack)
        return self.opens_at

    def give(self, kind: Kind[R], before: int | None) -> tuple[R, Longs]:
        """The rows whose keys are below `before`; None: all. There is at least one."""
        assert self.rows is not None
        n = len(self.keys) if before is None else int(np.searchsorted(self.keys, before, side="left"))
        given = kind.select(self.rows, slice(0, n)), self.keys[:n]
        self.rows, self.keys = kind.select(self.rows, slice(n, None)), self.keys[n:]
        self.first = int(self.keys[0]) if len(self.keys) else NONE
        return given


def merged(streams: Sequence[Stream[R]], kind: Kind[R]) -> Iterator[tuple[R, Longs]]:
    """The rows of all streams in parts: each part's keys are above those of the part before; within a part
    they come stream by stream.

    So all rows of one key are in one part, and who wants an order among them sorts the part.
    """
    waiting = [(stream.opens_at, k) for k, stream in enumerate(streams)]
    heapq.heapify(waiting)
    try:
        while waiting:
            _, k = heapq.heappop(waiting)
            bound = streams[k].read(kind)
            if bound is not None:
                heapq.heappush(waiting, (bound, k))
            horizon = waiting[0][0] if waiting else None
            due = [
                stream
                for stream in streams
                if (len(stream.keys) if horizon is None else stream.first < horizon)
            ]
            parts = [stream.give(kind, horizon) for stream in due]
            if len(parts) == 1:
                yield parts[0]
            elif parts:
                yield kind.join([rows for rows, _ in parts]), np.concatenate([keys for _, keys in parts])
    finally:
        for stream in streams:
            stream.batches.close()
