"""Alert states: which alerts are active, since when, and the rows to write.

    above:    opens when value > threshold,    closes when value <= exit
    below:    opens when value < threshold,    closes when value >= exit
    outside:  opens when |value| > threshold,  closes when |value| <= exit

An episode is the time during which an alert is active. With an exit that is short of the threshold, a value
that flaps around the threshold does not open one episode after the other.

A row is written at every change of `active`, and for each evaluation or mark whose time is a whole minute. A
mark is a time at which nothing is evaluated; its row repeats the state. Evaluations can be undone (`rewind`)
until `settle` has dropped their rows.

Shapes: one alert is one rule on one subject and timeframe. `Rules` and `States` have one entry per alert;
`Evaluations` and `AlertRows` have one per row. The evaluations of each alert come in event-time order.
Values, thresholds and exits are in the metric's unit.

Undefined: a value that is NaN or infinite does not change the state, and its row has NaN.

Reference: Schmitt, "A thermionic trigger" (1938).

>>> from operators.metrics import ABOVE
>>> states = AlertStates(Rules(np.array([ABOVE]), np.array([2.0]), np.array([1.0])))
>>> value, yes, alert = np.array([1.9, 2.1, 1.9, 2.1, 1.0]), np.ones(5, bool), np.zeros(5, np.int64)
>>> rows = states.update(Evaluations(alert, np.arange(1, 6), value, may_open=yes, mark=~yes, write=~yes))
>>> rows.ts.tolist(), rows.value.tolist(), rows.active.tolist(), rows.episode.tolist()
([2, 5], [2.1, 1.0], [True, False], [2, 2])
"""

from typing import NamedTuple

import numpy as np

from operators.columns import MINUTE_US, NEVER, Flags, Floats, Longs
from operators.compiled import compiled
from operators.metrics import BELOW, OUTSIDE


class Rules(NamedTuple):
    """What opens and closes each alert. Shapes (alerts,)."""

    side: Longs  # ABOVE, BELOW, OUTSIDE
    threshold: Floats
    exit: Floats


class States(NamedTuple):
    """The current state of each alert. Shapes (alerts,); changed in place."""

    active: Flags
    episode: Longs  # µs of the opening; NEVER while closed
    value: Floats  # the last defined value

    @classmethod
    def closed(cls, alerts: int) -> "States":
        return cls(np.zeros(alerts, np.bool_), np.full(alerts, NEVER), np.full(alerts, np.nan))


class Evaluations(NamedTuple):
    """Values to decide on. Shapes (n,)."""

    alert: Longs
    ts: Longs  # µs since the epoch
    value: Floats
    may_open: Flags  # False: no episode opens here, but one may close
    mark: Flags  # nothing is evaluated at this time: the row repeats the last defined value
    write: Flags  # write the row in any case


class AlertRows(NamedTuple):
    """Rows of the table `alerts`. Shapes (n,)."""

    alert: Longs
    ts: Longs  # µs since the epoch
    value: Floats
    active: Flags
    episode: Longs  # µs of the opening, also on the row that closes the episode; otherwise NEVER
    changed: Flags  # `active` changed here
    row: Longs  # index of the evaluation

    @classmethod
    def of(cls, evaluations: Evaluations) -> "AlertRows":
        """A row for each evaluation, not decided yet."""
        n = len(evaluations.alert)
        flags = np.zeros((2, n), np.bool_)
        return cls(
            evaluations.alert,
            evaluations.ts,
            np.full(n, np.nan),
            flags[0],
            np.full(n, NEVER),
            flags[1],
            np.arange(n),
        )

    def rows(self, chosen: Flags) -> "AlertRows":
        """The chosen rows."""
        return AlertRows._make(column[chosen] for column in self)


class AlertStates:
    """The state of every alert, and the recent rows, which can still be undone. Pickles."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.states = States.closed(len(rules.side))
        nothing = np.zeros(0, np.int64)
        self.recent = AlertRows(
            nothing, nothing, np.zeros(0), np.zeros(0, np.bool_), nothing, np.zeros(0, np.bool_), nothing
        )

    def preset(self, alert: int, active: bool, episode: int, value: float) -> None:
        """Set the state of one alert."""
        self.states.active[alert], self.states.value[alert] = active, value
        self.states.episode[alert] = episode if active else NEVER

    def rewind(self, alert: int, ts: int) -> Longs:
        """Undo an alert's evaluations at or after `ts`; return the times of the rows to rewrite.

        The alert's last value is forgotten, too.
        """
        undone = (self.recent.alert == alert) & (self.recent.ts >= ts)
        changes = undone & self.recent.changed
        active, episode, value = self.states
        if changes.any():
            first = int(np.argmax(changes))
            active[alert] = not self.recent.active[first]
            episode[alert] = self.recent.episode[first] if active[alert] else NEVER
        value[alert] = np.nan
        times: Longs = self.recent.ts[undone]
        self.recent = self.recent.rows(~undone)
        return times

    def settle(self, ts: int) -> None:
        """Drop the rows before `ts`: they will not be undone any more."""
        self.recent = self.recent.rows(self.recent.ts >= ts)

    def update(self, evaluations: Evaluations) -> AlertRows:
        """Decide these evaluations; return the rows to write, in the same order."""
        rows = AlertRows.of(evaluations)
        _decide(self.rules, self.states, evaluations, rows)
        changed = rows.changed | evaluations.write
        if changed.any():
            self.recent = AlertRows._make(
                map(np.concatenate, zip(self.recent, rows.rows(changed), strict=True))
            )
        return rows.rows(changed | (rows.ts % MINUTE_US == 0))


@compiled()
def _decide(rules: Rules, states: States, evaluations: Evaluations, rows: AlertRows) -> None:
    """Decide the evaluations one after the other; fill in `rows`."""
    # unpacked once: each access to a field of a tuple costs the updates of a reference count
    side, opens_at, closes_at = rules
    is_active, opening, last = states
    alert, ts, value, may_open, mark, _ = evaluations
    _, _, shown, active, episode, changed, _ = rows
    for row in range(len(alert)):
        k = alert[row]
        shown[row] = last[k]
        if not mark[row]:
            shown[row] = np.nan
            if np.isfinite(value[row]):
                shown[row] = value[row]
                last[k] = value[row]
                # multiplied by −1, `below` is `above`
                sign = -1.0 if side[k] == BELOW else 1.0
                level = abs(value[row]) if side[k] == OUTSIDE else sign * value[row]
                if is_active[k]:
                    changed[row] = level <= sign * closes_at[k]
                else:
                    changed[row] = may_open[row] and level > sign * opens_at[k]
                    if changed[row]:
                        opening[k] = ts[row]
                is_active[k] = is_active[k] != changed[row]
        active[row] = is_active[k]
        episode[row] = opening[k]
        if not is_active[k]:
            opening[k] = NEVER
