"""Alert states of pairs and symbols from what is measured on one timeframe."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from operators.alerts import AlertStates
from operators.columns import LIVE, MINUTE_US, NEVER, SECOND_US, Codes, Flags, Floats, Longs
from operators.measures import Measures
from operators.metrics import PAIR_METRICS


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """One rule on one subject of the timeframe: a pair's index on it, or a symbol's code."""

    alert: int  # index among all alerts of the settings
    metric: str
    subject: int
    side: int  # +1 above, −1 below, 0 outside
    threshold: float
    exit: float
    only_stationary: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """Rows of the alerts table. Shapes (n,)."""

    alert: Codes
    ts: Longs  # event time of the decision: the close of the bar
    value: Floats
    active: Flags
    episode: Longs  # µs of its opening, NEVER when none


@dataclass(slots=True)
class Watch:
    """Measures of one timeframe in, rows of the alerts table out.

    A pair's metrics are those of its first method; p-values and `stationary` stand from one test to the next. `staleness` is the time in
    seconds from the close of the last bar with a trade to the close of the newest bar. While the newest bar of a subject is incomplete, or
    more than `tolerate` of the pair's windows are, no episode opens. A timeframe longer than a minute has rows for the whole minutes
    between its bars too, with the state that the bar before left.
    """

    timeframe: int  # µs
    specs: Sequence[AlertSpec]
    pairs: int
    symbols: int
    tolerate: float
    states: AlertStates = field(init=False)
    pvalues: Floats = field(init=False)  # (2, pairs) adf, coint; of the last test
    stationary: Flags = field(init=False)  # (pairs,) likewise
    traded: Longs = field(init=False)  # (symbols,) close of the last bar with a trade, NEVER before the first
    known: Flags = field(init=False)  # (specs,) the state was given: history says nothing new about it

    def __post_init__(self) -> None:
        self.states = AlertStates(
            side=np.array([spec.side for spec in self.specs], np.int64),
            threshold=np.array([spec.threshold for spec in self.specs], np.float64),
            exit=np.array([spec.exit for spec in self.specs], np.float64),
        )
        self.pvalues = np.full((2, self.pairs), np.nan)
        self.stationary = np.zeros(self.pairs, np.bool_)
        self.traded = np.full(self.symbols, NEVER)
        self.known = np.zeros(len(self.specs), np.bool_)

    def preset(self, k: int, active: bool, episode: int, value: float) -> None:
        """The state of the alert of `specs[k]` when the history ends."""
        self.known[k] = True
        self.states.active[k], self.states.value[k] = active, value
        self.states.episode[k] = episode if active else NEVER

    def update(self, measures: Measures) -> Watched:
        """Alert rows that these measures lead to; none from a history, which only decides what the states are where that is not known."""
        live = measures.bars.stage == LIVE
        parts = [self._decisions(k, spec, measures) for k, spec in enumerate(self.specs) if live or not self.known[k]]
        alert, ts, value, may_open, mark = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NOTHING
        rows = self.states.update(alert, ts, value, may_open, mark)
        self._carry(measures)
        written = slice(None) if live else slice(0)
        of = np.array([spec.alert for spec in self.specs], np.int32)
        return Watched(of[rows.alert][written], rows.ts[written], rows.value[written], rows.active[written], rows.episode[written])

    def resume(self, before: "Watch") -> None:
        """Take over the state of a watch of the same alerts."""
        self.states, self.pvalues, self.stationary, self.traded = before.states, before.pvalues, before.stationary, before.traded

    def _decisions(self, alert: int, spec: AlertSpec, measures: Measures) -> "_Decisions":
        """What one alert is to decide, and the whole minutes to mark before each decision, in time order."""
        found = self._of_pair(spec, measures) if spec.metric in PAIR_METRICS else self._of_symbol(spec, measures)
        close, value, may_open = found
        marks = np.zeros(0, np.int64)
        if self.timeframe > MINUTE_US and len(close):
            every = np.arange(self.timeframe // MINUTE_US + 1) * MINUTE_US
            marks = ((close - 1) // MINUTE_US * MINUTE_US)[:, None] - every
            marks = marks[marks > (close - self.timeframe)[:, None]]
        ts = np.concatenate((close, marks))
        order = np.argsort(ts, kind="stable")
        none = np.zeros(len(marks), np.bool_)
        return (
            np.full(len(ts), alert, np.int64),
            ts[order],
            np.concatenate((value, np.full(len(marks), np.nan)))[order],
            np.concatenate((may_open, none))[order],
            np.concatenate((np.zeros(len(close), np.bool_), ~none))[order],
        )

    def _of_pair(self, spec: AlertSpec, measures: Measures) -> tuple[Longs, Floats, Flags]:
        """Close times, values and whether an episode may open, of a pair's first method."""
        signals, tests = measures.signals, measures.tests
        rows = np.flatnonzero((signals.pair == spec.subject) & (signals.method == 0))
        tested = np.flatnonzero((tests.pair == spec.subject) & (tests.method == 0))
        last = np.searchsorted(tests.ts[tested], signals.ts[rows], side="right")  # 0: the test before this batch
        may_open = ~signals.newest_incomplete[rows] & (signals.incomplete[rows] <= self.tolerate)
        if spec.only_stationary:
            may_open &= np.concatenate(([self.stationary[spec.subject]], tests.stationary[tested]))[last]
        match spec.metric:
            case "adf_pvalue":
                value = np.concatenate(([self.pvalues[0, spec.subject]], tests.adf_pvalue[tested]))[last]
            case "coint_pvalue":
                value = np.concatenate(([self.pvalues[1, spec.subject]], tests.coint_pvalue[tested]))[last]
            case "zscore":
                value = signals.zscore[rows]
            case _:
                value = signals.correlation[rows]
        return signals.ts[rows] + self.timeframe, value, may_open

    def _of_symbol(self, spec: AlertSpec, measures: Measures) -> tuple[Longs, Floats, Flags]:
        """Close times, values and whether an episode may open, of a symbol."""
        bars, activity = measures.bars, measures.activity
        rows = np.flatnonzero(bars.symbol == spec.subject)
        close = bars.ts[rows] + self.timeframe
        match spec.metric:
            case "price":
                value = bars.close[rows]
            case "staleness":
                own = np.where(bars.trades[rows] > 0, close, NEVER)
                traded = np.maximum.accumulate(np.concatenate(([self.traded[spec.subject]], own)))[1:]
                value = np.full(len(rows), np.nan)
                seen = traded != NEVER
                value[seen] = (close[seen] - traded[seen]) / SECOND_US
                return close, value, np.ones(len(rows), np.bool_)
            case _:
                # bars and activity of one symbol stand in the same order, that of time
                value = getattr(activity, spec.metric)[activity.symbol == spec.subject]
        return close, value, bars.complete[rows]

    def _carry(self, measures: Measures) -> None:
        """Keep what stands until the next batch."""
        tests, bars = measures.tests, measures.bars
        first = tests.method == 0
        pair = tests.pair[first]
        self.pvalues[0, pair], self.pvalues[1, pair] = tests.adf_pvalue[first], tests.coint_pvalue[first]
        self.stationary[pair] = tests.stationary[first]
        traded = bars.trades > 0
        np.maximum.at(self.traded, bars.symbol[traded], bars.ts[traded] + self.timeframe)


_Decisions = tuple[Longs, Longs, Floats, Flags, Flags]  # alert, ts, value, may_open, mark
_NOTHING: _Decisions = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.bool_))
