"""Alert states: which rules are active, since when, and the rows that say so.

    above:    opens when value > threshold,    closes when value <= exit
    below:    opens when value < threshold,    closes when value >= exit
    outside:  opens when |value| > threshold,  closes when |value| <= exit

An exit short of the threshold keeps a value that flaps around the threshold from opening an episode at every flap. A row is written at
every change of `active`, and at each evaluation or mark whose time is a whole minute. Evaluations may be taken back (`rewind`), as far as
`settle` has not let go of the rows they led to.

Shapes: one alert is one rule on one subject and timeframe; `side` int64 (alerts,) of ABOVE, BELOW, OUTSIDE, `threshold` and `exit` float64
(alerts,) in the metric's unit. `update` takes columns of n rows, each alert's in event-time order: `ts` in µs since the epoch.

Undefined: a value that is NaN (or infinite) keeps the state, and its row says NaN.

Reference: Schmitt, "A thermionic trigger" (1938).

>>> states = AlertStates(np.array([ABOVE]), np.array([2.0]), np.array([1.0]))
>>> value, may = np.array([1.9, 2.1, 1.9, 2.1, 1.0]), np.ones(5, bool)
>>> _, ts, value, active, episode, *_ = states.update(np.zeros(5, np.int64), np.arange(1, 6), value, may, ~may)
>>> ts.tolist(), value.tolist(), active.tolist(), episode.tolist()
([2, 5], [2.1, 1.0], [True, False], [2, 2])
"""

from typing import NamedTuple

import numpy as np

from operators.columns import MINUTE_US, NEVER, Flags, Floats, Longs
from operators.compiled import compiled

ABOVE, BELOW, OUTSIDE = 1, -1, 0


class AlertRows(NamedTuple):
    """Rows of the alerts table. Shapes (n,)."""

    alert: Longs
    ts: Longs  # µs since the epoch
    value: Floats
    active: Flags
    episode: Longs  # µs of the opening; NEVER while none
    changed: Flags  # `active` changed here
    row: Longs  # which one of those given it was

    def rows(self, chosen: Flags) -> "AlertRows":
        """The chosen rows."""
        return AlertRows._make(column[chosen] for column in self)


class AlertStates:
    """State of every alert: `active`, `episode` (µs of the opening, NEVER while closed), the last defined `value`; and the rows of late. Pickles."""

    def __init__(self, side: Longs, threshold: Floats, exit: Floats) -> None:
        self.side = np.asarray(side, np.int64)
        self.threshold = np.asarray(threshold, np.float64)
        self.exit = np.asarray(exit, np.float64)
        self.active: Flags = np.zeros(len(self.side), np.bool_)
        self.episode: Longs = np.full(len(self.side), NEVER)
        self.value: Floats = np.full(len(self.side), np.nan)
        nothing = np.zeros(0, np.int64)
        self.told = AlertRows(nothing, nothing, np.zeros(0), np.zeros(0, np.bool_), nothing, np.zeros(0, np.bool_), nothing)

    def rewind(self, alert: int, ts: int) -> Longs:
        """Put an alert back to what it was before `ts`; the times of the rows that rest on what this takes back. Its last value is unknown."""
        undone = (self.told.alert == alert) & (self.told.ts >= ts)
        changes = undone & self.told.changed
        if changes.any():
            first = int(np.argmax(changes))
            self.active[alert] = not self.told.active[first]
            self.episode[alert] = self.told.episode[first] if self.active[alert] else NEVER
        self.value[alert] = np.nan
        times: Longs = self.told.ts[undone]
        self.told = self.told.rows(~undone)
        return times

    def settle(self, ts: int) -> None:
        """Nothing before `ts` will be taken back."""
        self.told = self.told.rows(self.told.ts >= ts)

    def update(self, alert: Longs, ts: Longs, value: Floats, may_open: Flags, mark: Flags, write: Flags | bool = False) -> "AlertRows":
        """The rows to write, in the order given; those of `write` in any case.

        Without `may_open` no episode opens, though one may close. A `mark` evaluates nothing: its time alone counts, and its row
        repeats the last defined value. `episode` is the µs of the opening while active and on the closing row, else NEVER.
        """
        n = len(alert)
        written, shown = np.zeros(n, np.bool_), np.full(n, np.nan)
        active, episode, changed = np.zeros(n, np.bool_), np.full(n, NEVER), np.zeros(n, np.bool_)
        rules = self.side, self.threshold, self.exit
        _update(*rules, self.active, self.episode, self.value, alert, ts, value, may_open, mark, written, shown, active, episode, changed)
        rows = AlertRows(alert, ts, shown, active, episode, changed, np.arange(n))
        if (changed | write).any():
            self.told = AlertRows._make(map(np.concatenate, zip(self.told, rows.rows(changed | write), strict=True)))
        return rows.rows(written | write)


@compiled()
def _update(
    side: Longs,
    threshold: Floats,
    exit: Floats,
    is_active: Flags,
    opening: Longs,
    last: Floats,
    alert: Longs,
    ts: Longs,
    value: Floats,
    may_open: Flags,
    mark: Flags,
    written: Flags,
    shown: Floats,
    active: Flags,
    episode: Longs,
    changed: Flags,
) -> None:
    for row in range(len(alert)):
        k = alert[row]
        shown[row] = last[k]
        if not mark[row]:
            shown[row] = np.nan
            if np.isfinite(value[row]):
                shown[row] = value[row]
                last[k] = value[row]
                # mirrored, `below` is `above`
                sign = -1.0 if side[k] == BELOW else 1.0
                level = abs(value[row]) if side[k] == OUTSIDE else sign * value[row]
                if is_active[k]:
                    changed[row] = level <= sign * exit[k]
                else:
                    changed[row] = may_open[row] and level > sign * threshold[k]
                    if changed[row]:
                        opening[k] = ts[row]
                is_active[k] = is_active[k] != changed[row]
        written[row] = changed[row] or ts[row] % MINUTE_US == 0
        active[row] = is_active[k]
        episode[row] = opening[k]
        if not is_active[k]:
            opening[k] = NEVER
