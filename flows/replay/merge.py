"""Merges streams of rows, each sorted by key, into one; only the beginnings of the streams are in memory."""

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from operators.columns import Longs

R = TypeVar("R")  # rows of some kind

NO_KEY: Final = np.iinfo(np.int64).max  # the first key of a stream without rows


class Kind(NamedTuple, Generic[R]):
    """The functions that select and join rows of some kind."""

    select: Callable[[R, Any], R]  # rows by a slice or an index array
    join: Callable[[Sequence[R]], R]  # joins parts, one after the other


@dataclass(slots=True)
class Stream(Generic[R]):
    """Rows and their keys, (n,), in batches with rising keys.

    A key may be up to `slack` below one that came before, also in another batch.
    """

    opens_at: int  # no key is below this; the first batch is read when the other streams reach it
    batches: Generator[tuple[R, Longs], None, None]
    slack: int = 0
    rows: R | None = None  # rows that were read but not returned yet, sorted by key
    keys: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    first: int = NO_KEY  # the smallest of their keys

    def read(self, kind: Kind[R]) -> int | None:
        """Read the next batch. Returns the key below which no row follows; None after the last batch."""
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
        """Remove and return the rows with keys below `before` (None: all rows). There is at least one."""
        assert self.rows is not None
        n = len(self.keys) if before is None else int(np.searchsorted(self.keys, before, side="left"))
        given = kind.select(self.rows, slice(0, n)), self.keys[:n]
        self.rows, self.keys = kind.select(self.rows, slice(n, None)), self.keys[n:]
        self.first = int(self.keys[0]) if len(self.keys) else NO_KEY
        return given


def merged(streams: Sequence[Stream[R]], kind: Kind[R]) -> Iterator[tuple[R, Longs]]:
    """The rows of all streams, in parts whose keys are above those of the part before.

    All rows with the same key are in one part. Inside a part the rows come stream by stream: the caller sorts
    them if it needs to.
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
