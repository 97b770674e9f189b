"""One symbol's trades in the order of their ids, each once, without those whose times contradict the ids.

Ids are the order of trades, and times confirm it. In the order of ids a time may go back a little (on
exchanges it does by milliseconds). A trade whose time goes back further has a wrong time or a wrong id, and
is left out with one of these reasons:

| reason | meaning |
|---|---|
| duplicate | the same trade once more |
| conflict | another trade with the same id; the one with the smaller time, price, quantity and side is kept |
| time | its time is more than an hour away from most trades before and behind it; finds up to four in a row |
| order | its time is more than 10 s away from them, and its id follows neither neighbour's id |

A pause is never wrong, however long it is: the trades on both sides of it fit their neighbours.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from flows.errors import UserError
from flows.feed.frames import APART_US, TIME
from flows.replay.packed import CONTENT, ROW, Packed, join, select
from operators.columns import UNKNOWN, Flags, Longs

DUPLICATE, CONFLICT, ORDER = (
    "duplicate",
    "conflict",
    "order",
)  # reasons, in addition to those of feed/frames.py
BACK_US: Final = 10_000_000  # a time that goes back by more contradicts the earlier id's
AROUND: Final = 9  # trades on each side that a time is compared with: four wrong ones in a row are a minority
# If a larger share of the times contradicts the ids, the ids are not the order of these trades.
MOST_CONTRADICTED: Final = 0.05
FEW: Final = 10  # so few contradictions prove nothing, whatever their share


class ById:
    """Checks a symbol's rows, once. Afterwards `left_out` counts the rows that were left out, by reason."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.left_out: Counter[str] = Counter()
        self.kept = 0
        self._reached = 0  # the newest time of those kept
        self._last_id = -1
        self._contradicted = 0
        self._example = ""

    def checked(self, parts: Iterator[Packed]) -> Iterator[Packed]:
        """The rows that stay; they do not depend on how the rows are divided into parts.

        `parts` are sorted by id and content, and all rows with the same id are in one part.
        """
        before, held = np.empty(0, ROW), np.empty(0, ROW)
        for part in parts:
            rows = join((held, self._once(part)))
            n = max(len(rows) - AROUND, 0)  # the last ones wait for those behind them
            if n:
                yield self._in_line(before, rows[:n], rows[n:])
                before = join((before, rows[:n]))[-AROUND:]
            held = rows[n:]
        yield self._in_line(before, held, held[:0])
        self._refuse_contradicted()

    def _once(self, rows: Packed) -> Packed:
        """The rows without those that equal the row before."""
        again = np.zeros(len(rows), np.bool_)
        equal = {name: rows[name][1:] == rows[name][:-1] for name in ("id", *CONTENT)}
        # a row of a recording without sides, which is sorted behind the others, equals a row with a side
        equal["is_buyer_maker"] |= rows["is_buyer_maker"][1:] == UNKNOWN
        again[1:] = np.logical_and.reduce(list(equal.values()))
        self.left_out[DUPLICATE] += int(np.count_nonzero(again))
        return select(rows, ~again)

    def _in_line(self, before: Packed, rows: Packed, after: Packed) -> Packed:
        around = join((before, rows, after))
        here = slice(len(before), len(before) + len(rows))
        wrong_time, wrong_order = (flags[here] for flags in out_of_line(around["id"], around["ts"]))
        self.left_out[TIME] += int(np.count_nonzero(wrong_time))
        self.left_out[ORDER] += int(np.count_nonzero(wrong_order))
        if (wrong_time | wrong_order).any():
            self._note(rows, np.full(len(rows), np.median(around["ts"])), wrong_time | wrong_order)
        return self._forward(select(rows, ~(wrong_time | wrong_order)))

    def _forward(self, rows: Packed) -> Packed:
        """The rows without those whose time goes back by an hour, and one row for each id."""
        reached = np.maximum.accumulate(np.concatenate(([self._reached], rows["ts"])))[:-1]
        back = reached - BACK_US > rows["ts"]
        if back.any():
            self._note(rows, reached, back)
            late = reached - APART_US > rows["ts"]
            self.left_out[TIME] += int(np.count_nonzero(late))
            rows = select(rows, ~late)
        # rows with the same id now differ: identical ones are already removed
        other = rows["id"] == np.concatenate(([self._last_id], rows["id"][:-1]))
        if other.any():
            self.left_out[CONFLICT] += int(np.count_nonzero(other))
            apart = other & (rows["ts"] - np.concatenate((rows["ts"][:1], rows["ts"][:-1])) > BACK_US)
            if apart.any():
                self._note(rows, np.concatenate((rows["ts"][:1], rows["ts"][:-1])), apart)
        if len(rows):
            self._last_id = int(rows["id"][-1])
            self._reached = max(self._reached, int(rows["ts"].max()))
        self.kept += len(rows) - int(np.count_nonzero(other))
        return select(rows, ~other)

    def _note(self, rows: Packed, reached: Longs, contradicted: Flags) -> None:
        if not self._contradicted:
            k = int(np.flatnonzero(contradicted)[0])
            self._example = (
                f"id {rows['id'][k]} is of {utc(int(rows['ts'][k]))}, an id near it of {utc(int(reached[k]))}"
            )
        self._contradicted += int(np.count_nonzero(contradicted))

    def _refuse_contradicted(self) -> None:
        if self._contradicted > max(FEW, MOST_CONTRADICTED * (self.kept + self._contradicted)):
            raise UserError(
                f"replay: {self.symbol}: ids and times are in different orders ({self._example}): if the ids "
                "start again, replay what is before and behind that separately; if they mean nothing, remove "
                "their column"
            )


def out_of_line(ids: Longs, ts: Longs) -> tuple[Flags, Flags]:
    """Which rows have a time that contradicts their neighbours: by an hour; by 10 s next to jumps in the ids.

    The rows are sorted by id; shapes (n,). Times that never go back contradict nothing, not even at the ends.
    """
    if len(ts) < 2 or not (ts[1:] < ts[:-1] - BACK_US).any():
        return np.zeros(len(ts), np.bool_), np.zeros(len(ts), np.bool_)
    follows = np.zeros(len(ts), np.bool_)
    follows[1:] = ids[1:] - ids[:-1] <= 1
    follows[:-1] |= follows[1:]
    wrong_time = _contradicted(ts, APART_US)
    return wrong_time, _contradicted(ts, BACK_US) & ~follows & ~wrong_time


def _contradicted(ts: Longs, apart_us: int) -> Flags:
    """Times that are later than half of those behind, where less than half of those before agree.

    "Later" means by more than `apart_us`. In the same way, times that are earlier than half of those before.
    """
    n = len(ts)
    position = np.arange(n)
    behind, before = np.minimum(AROUND, n - 1 - position), np.minimum(AROUND, position)
    behind_earlier, behind_agree, before_later, before_agree = np.zeros((4, n), np.int64)
    for k in range(1, min(AROUND, n - 1) + 1):
        first, second = ts[:-k], ts[k:]
        behind_earlier[:-k] += second < first - apart_us
        behind_agree[:-k] += second <= first + apart_us
        before_later[k:] += first > second + apart_us
        before_agree[k:] += first >= second - apart_us
    most = AROUND // 2
    late = (behind > 0) & (2 * behind_earlier >= behind) & (before_agree <= most)
    early = (before > 0) & (2 * before_later >= before) & (behind_agree <= most)
    found: Flags = late | early
    return found


def utc(ts: int) -> str:
    """The time as text, to the second."""
    return f"{np.datetime64(ts, 'us').astype('datetime64[s]')}Z"
