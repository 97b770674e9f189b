"""One symbol's trades in the order of their ids: each once, and without those whose time cannot be theirs.

Ids are the order of trades; times confirm them. In the order of ids the time of a trade may go back a little (exchanges do that by
milliseconds); what goes back further is wrong, in its time or in its id, and is left out with its reason:

| reason | what |
|---|---|
| duplicate | the same trade once more |
| conflict | another trade of the same id; the one whose time, price, quantity and side are the smaller is kept |
| time | later than each of the 5 trades after it, or earlier than each of the 5 before it, by more than an hour |
| order | the same by more than 10 s, and its id follows on neither of its neighbours' |

A pause is never wrong, however long: the last trade before it and the first one after it are both in line.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from flows.binance.messages import APART_US, NEIGHBOURS, TIME
from flows.errors import UserError
from flows.replay.packed import CONTENT, ROW, Longs, Packed

Flags = npt.NDArray[np.bool_]

DUPLICATE, CONFLICT, ORDER = "duplicate", "conflict", "order"  # reasons, beside those of messages.py
BACK_US: Final = 10_000_000  # a time that is this much before an earlier id's contradicts it
MOST_CONTRADICTED: Final = 0.01  # share of trades; from then on the ids are no order of these trades
FEW: Final = 10  # contradictions that say nothing about all ids


class ById:
    """A symbol's rows by id, once through. Afterwards `left_out` has what was left out, by reason."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.left_out: Counter[str] = Counter()
        self.kept = 0
        self._reached = 0  # the newest time of those kept
        self._last_id = -1
        self._contradicted = 0
        self._example = ""

    def checked(self, parts: Iterator[Packed]) -> Iterator[Packed]:
        """The rows that stay. `parts` are by id and content, all rows of one id in one part; what comes out does not depend on the parts."""
        before, held = np.empty(0, ROW), np.empty(0, ROW)
        for part in parts:
            rows = np.concatenate((held, self._once(part)))
            n = max(len(rows) - NEIGHBOURS, 0)  # the last ones wait for those behind them
            if n:
                yield self._in_line(before, rows[:n], rows[n:])
                before = np.concatenate((before, rows[:n]))[-NEIGHBOURS:]
            held = rows[n:]
        yield self._in_line(before, held, held[:0])
        self._refuse_contradicted()

    def _once(self, rows: Packed) -> Packed:
        """The rows without those that are the one before once more."""
        again = np.zeros(len(rows), np.bool_)
        again[1:] = np.logical_and.reduce([rows[name][1:] == rows[name][:-1] for name in ("id", *CONTENT)])
        self.left_out[DUPLICATE] += int(np.count_nonzero(again))
        return rows[~again]

    def _in_line(self, before: Packed, rows: Packed, after: Packed) -> Packed:
        around = np.concatenate((before, rows, after))
        here = slice(len(before), len(before) + len(rows))
        wrong_time, wrong_order = (flags[here] for flags in out_of_line(around["id"], around["ts"]))
        self.left_out[TIME] += int(np.count_nonzero(wrong_time))
        self.left_out[ORDER] += int(np.count_nonzero(wrong_order))
        return self._forward(rows[~(wrong_time | wrong_order)])

    def _forward(self, rows: Packed) -> Packed:
        """The rows without those whose time is an hour back, and one of each id."""
        reached = np.maximum.accumulate(np.concatenate(([self._reached], rows["ts"])))[:-1]
        back = reached - BACK_US > rows["ts"]
        if back.any():
            self._note(rows, reached, back)
            late = reached - APART_US > rows["ts"]
            self.left_out[TIME] += int(np.count_nonzero(late))
            rows = rows[~late]
        other = rows["id"] == np.concatenate(([self._last_id], rows["id"][:-1]))  # all differ: identical ones have gone
        if other.any():
            self.left_out[CONFLICT] += int(np.count_nonzero(other))
            apart = other & (rows["ts"] - np.concatenate((rows["ts"][:1], rows["ts"][:-1])) > BACK_US)
            if apart.any():
                self._note(rows, np.concatenate((rows["ts"][:1], rows["ts"][:-1])), apart)
        if len(rows):
            self._last_id = int(rows["id"][-1])
            self._reached = max(self._reached, int(rows["ts"].max()))
        self.kept += len(rows) - int(np.count_nonzero(other))
        return rows[~other]

    def _note(self, rows: Packed, reached: Longs, contradicted: Flags) -> None:
        if not self._contradicted:
            k = int(np.flatnonzero(contradicted)[0])
            self._example = f"id {rows['id'][k]} is of {utc(int(rows['ts'][k]))}, an id up to it of {utc(int(reached[k]))}"
        self._contradicted += int(np.count_nonzero(contradicted))

    def _refuse_contradicted(self) -> None:
        if self._contradicted > max(FEW, MOST_CONTRADICTED * (self.kept + self._contradicted)):
            raise UserError(
                f"replay: {self.symbol}: ids and times are in different orders ({self._example}): where ids start anew, replay what is before "
                "and behind that separately; where they mean nothing, leave their column out"
            )


def out_of_line(ids: Longs, ts: Longs) -> tuple[Flags, Flags]:
    """Which rows, by id, have a time that contradicts all their neighbours: by an hour, and those by 10 s whose id follows on nobody's.

    Shapes (n,). The first and the last row have neighbours on one side only; times that never go back are all in line.
    """
    n = len(ts)
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    follows = np.zeros(n, np.bool_)
    follows[1:] = ids[1:] - ids[:-1] <= 1
    follows[:-1] |= follows[1:]
    if n < 2 or not (ts[1:] < ts[:-1] - BACK_US).any():
        return np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    after_max, before_max = np.full(n, lowest), np.full(n, lowest)
    after_min, before_min = np.full(n, highest), np.full(n, highest)
    for k in range(1, min(NEIGHBOURS, n - 1) + 1):
        np.maximum(after_max[:-k], ts[k:], out=after_max[:-k])
        np.minimum(after_min[:-k], ts[k:], out=after_min[:-k])
        np.maximum(before_max[k:], ts[:-k], out=before_max[k:])
        np.minimum(before_min[k:], ts[:-k], out=before_min[k:])
    last, first = after_max == lowest, before_min == highest

    def wrong(apart_us: int) -> Flags:
        late = ~last & (ts - apart_us > after_max) & (first | (ts - apart_us > before_min))
        early = ~first & (ts + apart_us < before_min) & (last | (ts + apart_us < after_max))
        found: Flags = late | early
        return found

    wrong_time = wrong(APART_US)
    return wrong_time, wrong(BACK_US) & ~follows & ~wrong_time


def utc(ts: int) -> str:
    """The time as text, to the second."""
    return f"{np.datetime64(ts, 'us').astype('datetime64[s]')}Z"
