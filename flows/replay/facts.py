"""What the first look finds out about the order of a recording: whether its trades have to be sorted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np

from flows.feed.frames import TIME, Frames
from flows.replay.packed import grouped
from operators.columns import DAY_US, NEVER, Flags

# How far the times of a recording may go back: streams of several symbols do that by less than a second.
SLACK_US: Final = 2_000_000
MOST_OPEN: Final = 64  # files read at once
EARLIEST_US: Final = 1_230_768_000_000_000  # 2009-01-01: no market of coins is older than Bitcoin
AHEAD_US: Final = DAY_US  # how far ahead of this machine's clock a trade may be


@dataclass(slots=True)
class Span:
    """The trades of one symbol in one file."""

    first_id: int
    last_id: int
    first_us: int
    last_us: int
    trades: int
    rising: bool = True  # each id is above the one before

    def extend(self, ids: np.ndarray, ts: np.ndarray) -> None:
        """Add the next trades; shapes (n,), n > 0."""
        self.rising = self.rising and int(ids[0]) > self.last_id and bool((ids[1:] > ids[:-1]).all())
        self.last_id = int(ids[-1])
        self.first_us, self.last_us = min(self.first_us, int(ts.min())), max(self.last_us, int(ts.max()))
        self.trades += len(ids)


@dataclass(slots=True)
class Facts:
    """What one file holds, and how far it is out of order."""

    spans: dict[str, Span] = field(default_factory=dict)  # by symbol
    back_us: int = 0  # the most that a time goes back behind one of an earlier row, of any symbol
    _newest: int = NEVER

    def add(self, frames: Frames, names: Sequence[str]) -> None:
        """Add the file's next rows; `names` are the symbols by code."""
        if not len(frames):
            return
        newest = np.maximum(np.maximum.accumulate(frames.ts), self._newest)
        self.back_us, self._newest = max(self.back_us, int((newest - frames.ts).max())), int(newest[-1])
        order = grouped(frames.symbol)
        symbol, ids, ts = frames.symbol[order], frames.id[order], frames.ts[order]
        start = np.flatnonzero(np.concatenate(([True], symbol[1:] != symbol[:-1])))
        for a, b in zip(start.tolist(), [*start[1:].tolist(), len(ids)], strict=True):
            name = names[symbol[a]]
            if name not in self.spans:
                self.spans[name] = Span(-1, -1, int(ts[a]), int(ts[a]), 0)
                self.spans[name].first_id = int(ids[a])
            self.spans[name].extend(ids[a:b], ts[a:b])

    def of(self, symbols: Sequence[str]) -> dict[str, Span]:
        """The spans of these symbols."""
        return {name: self.spans[name] for name in symbols if name in self.spans}


def disorder(files: Mapping[str, Facts], symbols: Sequence[str]) -> str | None:
    """Why the files (by name) have to be sorted, in words.

    None if merging them by time is enough.
    """
    for name, facts in files.items():
        for symbol, span in facts.of(symbols).items():
            if not span.rising:
                return f"{name}: the ids of {symbol} go back"
        if facts.back_us > SLACK_US:
            return f"{name}: times go back by {facts.back_us / 1e6:,.0f} s"
    for symbol in symbols:
        spans = sorted(
            ((facts.spans[symbol], name) for name, facts in files.items() if symbol in facts.spans),
            key=lambda each: each[0].first_id,
        )
        for (before, a), (after, b) in pairwise(spans):
            if before.last_id >= after.first_id or before.last_us > after.first_us:
                return f"{a} and {b} overlap in {symbol}"
    if open_at_once(files, symbols) > MOST_OPEN:
        return f"more than {MOST_OPEN} files hold the same time"
    return None


def open_at_once(files: Mapping[str, Facts], symbols: Sequence[str]) -> int:
    """The largest number of files that hold trades of the same time."""
    ends = []
    for facts in files.values():
        if spans := facts.of(symbols).values():
            ends += [
                (min(span.first_us for span in spans), 1),
                (max(span.last_us for span in spans) + SLACK_US + 1, -1),
            ]
    return int(np.cumsum([step for _, step in sorted(ends)]).max(initial=0))


def possible(parts: Iterator[tuple[Frames, int]], latest_us: int) -> Iterator[tuple[Frames, int]]:
    """The parts without trades before 2009 or after `latest_us`; these are counted as rejected."""
    for frames, position in parts:
        wrong = (frames.ts < EARLIEST_US) | (frames.ts > latest_us)
        yield without(frames, wrong, TIME) if wrong.any() else frames, position


def without(frames: Frames, wrong: Flags, reason: str) -> Frames:
    """The frames without the `wrong` rows, (n,), which are counted as rejected for this reason."""
    rejected = frames.rejected + np.bincount(frames.symbol[wrong], minlength=len(frames.rejected))
    return replace(
        frames.rows(~wrong),
        rejected=rejected,
        reasons=frames.reasons + Counter({reason: int(np.count_nonzero(wrong))}),
    )
