"""Alert states of pairs and symbols from what is measured on one timeframe.

    an alert is decided at the close of each bar of its subject: see alerts.py

A pair's metrics, and the edge on its rows, are those of its first method, but that cointegration is tested on ols; p-values, `broken`
and `stationary` stand from one test to the next. `staleness` is the time in seconds from the close of the last bar with a trade to the
close of the newest bar. No episode opens while the newest bar of a subject (of either leg) is incomplete, or more than `tolerate` of a window
is: for a pair, of any that its row is measured on, and of the tests' own where the rule looks at them; for volume and volatility ratios, of
their 121 bars. Of a price only the newest bar matters, of staleness none. No episode of `zscore` or `correlation` opens while a leg is stale
(see measures.py): they would speak of an old price.

A row is written at every change and at each whole minute: where the timeframe does not divide the minute, also for those between the
closes, with the state that the close before left. Rows measured again are decided again, from the state before the first of them; a
change that is taken back by that has its row written anew, with what is true instead. A message that went out is not taken back.

Shapes: measures of one timeframe in, one row per row of the alerts table out; times of closes in µs since the epoch, values in the metric's
unit.

Undefined: a metric that is NaN keeps the state.

Reference: none; alerts.py has that of the rule.

>>> from operators.columns import Bars
>>> from operators.measures import Measurer
>>> spec = AlertSpec(alert=7, metric="price", subject=0, side=1, threshold=9.0, exit=9.0, only_stationary=False)
>>> second, close, yes = np.arange(3) * 1_000_000, np.array([8.0, 10.0, 9.0]), np.ones(3, np.bool_)
>>> bars = Bars(np.zeros(3, np.int32), second, second, close, close, close, close, close, close, second, close, yes, second)
>>> rows = Watch(1_000_000, [spec], pairs=0, symbols=1, tolerate=0.0).update(Measurer(1, 1_000_000, []).update(bars))
>>> rows.alert.tolist(), rows.ts.tolist(), rows.value.tolist(), rows.active.tolist()
([7, 7], [2000000, 3000000], [10.0, 9.0], [True, False])
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from operators.alerts import AlertStates
from operators.columns import LATEST, LIVE, MINUTE_US, NEVER, SECOND_US, Codes, Flags, Floats, Longs
from operators.measures import Cointegration, Measures
from operators.metrics import PAIR_METRICS

TEST_METRICS = ("adf_pvalue", "coint_pvalue", "broken")
OF_PRICES_NOW = ("zscore", "correlation")  # no episode of these opens while a leg is stale


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
    tested: int = 0  # which of the pair's methods its cointegration is tested on


@dataclass(frozen=True, slots=True)
class Watched:
    """Rows of the alerts table. Shapes (n,)."""

    alert: Codes
    ts: Longs  # event time of the decision: the close of the bar
    value: Floats
    active: Flags
    episode: Longs  # µs of its opening, NEVER when none
    coint_pvalue: Floats  # of the pair's newest test; NaN for a symbol
    complete: Flags  # every bar of the windows that the decision looked at
    edge_bps: Floats  # of the pair's first method, on the bar that decided; NaN for a symbol
    stale: Flags  # a leg, or the symbol, was stale on that bar


@dataclass(slots=True)
class Watch:
    """Measures in, rows of the alerts table out. Pickles."""

    timeframe: int  # µs
    specs: Sequence[AlertSpec]
    pairs: int
    symbols: int
    tolerate: float
    states: AlertStates = field(init=False)
    tests: Cointegration = field(init=False)  # of each pair: the newest, and those before it that may be done again
    traded: Longs = field(init=False)  # (symbols,) close of the last bar with a trade, NEVER before the first
    decided: Longs = field(init=False)  # (specs,) close of the newest bar, NEVER before the first
    pvalue: Floats = field(init=False)  # (specs,) `coint_pvalue` of the newest decision: a mark says what the close before it did
    complete: Flags = field(init=False)  # (specs,) the same
    edge: Floats = field(init=False)  # (specs,) the same of `edge_bps`
    stale: Flags = field(init=False)  # (specs,) the same
    known: Flags = field(init=False)  # (specs,) the state was given: history says nothing new about it

    def __post_init__(self) -> None:
        self.states = AlertStates(
            side=np.array([spec.side for spec in self.specs], np.int64),
            threshold=np.array([spec.threshold for spec in self.specs], np.float64),
            exit=np.array([spec.exit for spec in self.specs], np.float64),
        )
        self.tests = Cointegration.none()
        self.traded = np.full(self.symbols, NEVER)
        self.decided = np.full(len(self.specs), NEVER)
        self.pvalue = np.full(len(self.specs), np.nan)
        self.complete = np.zeros(len(self.specs), np.bool_)
        self.edge = np.full(len(self.specs), np.nan)
        self.stale = np.zeros(len(self.specs), np.bool_)
        self.known = np.zeros(len(self.specs), np.bool_)

    def preset(self, k: int, active: bool, episode: int, value: float) -> None:
        """The state of the alert of `specs[k]` when the history ends."""
        self.known[k] = True
        self.states.active[k], self.states.value[k] = active, value
        self.states.episode[k] = episode if active else NEVER

    def update(self, measures: Measures) -> Watched:
        """Alert rows that these measures lead to; none from a history, which only decides what the states are where that is not known."""
        live = measures.bars.stage == LIVE
        self._put_in(measures)
        parts = [self._decisions(k, spec, measures) for k, spec in enumerate(self.specs) if live or not self.known[k]]
        *decisions, coint_pvalue, complete, edge_bps, stale = (
            (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NOTHING
        )
        rows = self.states.update(*decisions)
        self._let_go(measures)
        rows = rows if live else rows.rows(np.zeros(len(rows.row), np.bool_))
        of = np.array([spec.alert for spec in self.specs], np.int32)
        beside = coint_pvalue[rows.row], complete[rows.row], edge_bps[rows.row], stale[rows.row]
        return Watched(of[rows.alert], rows.ts, rows.value, rows.active, rows.episode, *beside)

    def resume(self, before: "Watch") -> None:
        """Take over the state of a watch of the same alerts."""
        self.states, self.tests, self.traded, self.decided = before.states, before.tests, before.traded, before.decided
        self.pvalue, self.complete, self.edge, self.stale = before.pvalue, before.complete, before.edge, before.stale

    def _decisions(self, k: int, spec: AlertSpec, measures: Measures) -> "_Decisions":
        """What one alert is to decide, and the whole minutes to mark before each decision, in time order."""
        found = self._of_pair(spec, measures) if spec.metric in PAIR_METRICS else self._of_symbol(spec, measures)
        close, value, may_open, coint_pvalue, complete, edge_bps, stale = found
        marks, taken_back = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if len(close):
            if MINUTE_US % self.timeframe:
                every = np.arange(self.timeframe // MINUTE_US + 1) * MINUTE_US
                marks = ((close - 1) // MINUTE_US * MINUTE_US)[:, None] - every
                marks = marks[marks > (close - self.timeframe)[:, None]]
            if close[0] <= self.decided[k]:
                taken_back = self.states.rewind(k, int(close[0]))
                marks = marks[marks > close[0]]  # those before are written, and the state that they show is the same
            self.decided[k] = close[-1]
        ts = np.concatenate((close, marks))
        order = np.argsort(ts, kind="stable")
        none = np.zeros(len(marks), np.bool_)
        of = np.searchsorted(close, ts[order], side="right")  # 0: a mark before the first of these closes
        coint_pvalue = np.concatenate((self.pvalue[k : k + 1], coint_pvalue))
        complete = np.concatenate((self.complete[k : k + 1], complete))
        edge_bps = np.concatenate((self.edge[k : k + 1], edge_bps))
        stale = np.concatenate((self.stale[k : k + 1], stale))
        self.pvalue[k], self.complete[k], self.edge[k], self.stale[k] = coint_pvalue[-1], complete[-1], edge_bps[-1], stale[-1]
        return (
            np.full(len(ts), k, np.int64),
            ts[order],
            np.concatenate((value, np.full(len(marks), np.nan)))[order],
            np.concatenate((may_open, none))[order],
            np.concatenate((np.zeros(len(close), np.bool_), ~none))[order],
            np.isin(ts, taken_back)[order],
            coint_pvalue[of],
            complete[of],
            edge_bps[of],
            stale[of],
        )

    def _of_pair(self, spec: AlertSpec, measures: Measures) -> "_Found":
        """Close times, values, whether an episode may open, p-values, completeness, edges and staleness, of a pair."""
        signals, tests = measures.signals, self.tests
        rows = np.flatnonzero((signals.pair == spec.subject) & (signals.method == 0))
        tested = np.flatnonzero((tests.pair == spec.subject) & (tests.method == (0 if spec.metric == "adf_pvalue" else spec.tested)))
        last = np.searchsorted(tests.ts[tested], signals.ts[rows], side="right")  # 0: there was none
        may_open = ~signals.newest_incomplete[rows]
        if spec.metric in OF_PRICES_NOW:
            may_open &= ~signals.stale[rows]
        incomplete = signals.incomplete[rows]
        if spec.only_stationary:
            may_open &= np.concatenate(([False], tests.stationary[tested]))[last]
        if spec.only_stationary or spec.metric in TEST_METRICS:
            incomplete = np.maximum(incomplete, np.concatenate(([0.0], tests.incomplete[tested]))[last])
        if spec.metric in TEST_METRICS:
            value = np.concatenate(([np.nan], getattr(tests, spec.metric)[tested]))[last]
        else:
            value = getattr(signals, spec.metric)[rows]
        own = np.flatnonzero((tests.pair == spec.subject) & (tests.method == spec.tested))
        pvalue = np.concatenate(([np.nan], tests.coint_pvalue[own]))[np.searchsorted(tests.ts[own], signals.ts[rows], side="right")]
        close, may_open = signals.ts[rows] + self.timeframe, may_open & (incomplete <= self.tolerate)
        return close, value, may_open, pvalue, incomplete == 0.0, signals.edge_bps[rows], signals.stale[rows]

    def _of_symbol(self, spec: AlertSpec, measures: Measures) -> "_Found":
        """The same of a symbol."""
        bars, activity = measures.bars, measures.activity
        rows = np.flatnonzero(bars.symbol == spec.subject)
        close = bars.ts[rows] + self.timeframe
        whole, none = bars.complete[rows], np.full(len(rows), np.nan)
        of = activity.symbol == spec.subject  # bars and activity of one symbol stand in the same order, that of time
        stale = activity.stale[of]
        match spec.metric:
            case "price":
                return close, bars.close[rows], whole, none, whole, none, stale
            case "staleness":
                own = np.where(bars.trades[rows] > 0, close, NEVER)
                traded = np.maximum.accumulate(np.concatenate(([self.traded[spec.subject]], own)))[1:]
                value = np.full(len(rows), np.nan)
                seen = traded != NEVER
                value[seen] = (close[seen] - traded[seen]) / SECOND_US
                return close, value, np.ones(len(rows), np.bool_), none, whole, none, stale
            case _:
                share = activity.incomplete[of]
                return close, getattr(activity, spec.metric)[of], whole & (share <= self.tolerate), none, share == 0.0, none, stale

    def _put_in(self, measures: Measures) -> None:
        """Add tests, in the place of all from the first row on that is measured again."""
        since = np.full(self.pairs, LATEST)
        np.minimum.at(since, measures.signals.pair, measures.signals.ts)
        self.tests = self.tests.rows(self.tests.ts < since[self.tests.pair]).and_then(measures.tests)

    def _let_go(self, measures: Measures) -> None:
        """Keep what stands until the next batch, and what may be taken back."""
        self.states.settle(measures.settled)
        tests, bars = self.tests, measures.bars
        standing = np.full(self.pairs, NEVER)  # when the settled rows end
        old = tests.ts < measures.settled
        np.maximum.at(standing, tests.pair[old], tests.ts[old])
        self.tests = tests.rows(tests.ts >= standing[tests.pair])
        traded = bars.trades > 0
        np.maximum.at(self.traded, bars.symbol[traded], bars.ts[traded] + self.timeframe)


_Found = tuple[Longs, Floats, Flags, Floats, Flags, Floats, Flags]  # close, value, may_open, coint_pvalue, complete, edge_bps, stale
_Decisions = tuple[
    Longs, Longs, Floats, Flags, Flags, Flags, Floats, Flags, Floats, Flags
]  # alert, ts, value, may_open, mark, write, coint_pvalue, complete, edge_bps, stale
_NONE = np.zeros(0, np.bool_)
_NOTHING: _Decisions = (
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0),
    _NONE,
    _NONE,
    _NONE,
    np.zeros(0),
    _NONE,
    np.zeros(0),
    _NONE,
)
