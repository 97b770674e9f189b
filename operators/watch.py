"""Alert states of pairs and symbols from what is measured on one timeframe.

    an alert is decided at the close of each bar of its subject: see alerts.py

A pair's metrics, and the edge on its rows, are those of its first method, but that cointegration is tested on
ols; what a test says, and `stationary`, stand until the next one. `staleness` is the time in seconds from the
close of the last bar with a trade to the close of the newest bar. What each metric needs before an episode
may open is stated in metrics.py: the newest bar of its subject (of both legs) must be complete, no more than
`tolerate` of a window may be incomplete (for a pair, of any that its row is measured on, and of the tests'
own where the rule looks at them; for ratios, of their 121 bars), and where the metric is a statement about
prices now no leg may be stale (see measures.py).

A row is written at every change and at each whole minute: where the timeframe does not divide the minute,
also for those between the closes, with the state that the close before left. Rows measured again are decided
again, from the state before the first of them; a change that is taken back by that has its row written anew,
with what is true instead. A message that went out is not taken back.

Shapes: measures of one timeframe in, one row per row of the alerts table out; times of closes in µs since the
epoch, values in the metric's unit.

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from operators.alerts import AlertStates, Evaluations, Rules
from operators.columns import LATEST, LIVE, MINUTE_US, NEVER, SECOND_US, Flags, Floats, Longs
from operators.methods import METHODS, OLS
from operators.metrics import BARS, METRICS, NEWEST_BAR, NOTHING, PAIR
from operators.results import Cointegration, Measures, Signals, Watched


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


class Context(NamedTuple):
    """What a row says of its bar besides the decision. Columns of Watched."""

    coint_pvalue: Floats
    complete: Flags
    edge_bps: Floats
    stale: Flags

    @classmethod
    def unknown(cls, n: int) -> "Context":
        return cls(np.full(n, np.nan), np.zeros(n, np.bool_), np.full(n, np.nan), np.zeros(n, np.bool_))

    def rows(self, chosen: Longs) -> "Context":
        """The chosen rows."""
        return Context._make(column[chosen] for column in self)


class Found(NamedTuple):
    """What the bars of a subject say to one alert, in time order."""

    close: Longs  # µs, when each bar closed
    value: Floats
    may_open: Flags
    context: Context


class Decisions(NamedTuple):
    """Evaluations, and what their rows say besides."""

    evaluations: Evaluations
    context: Context

    @classmethod
    def joined(cls, parts: Iterable["Decisions"]) -> "Decisions":
        evaluations, context = zip(*parts, strict=True)
        return cls(
            Evaluations._make(map(np.concatenate, zip(*evaluations, strict=True))),
            Context._make(map(np.concatenate, zip(*context, strict=True))),
        )

    @classmethod
    def none(cls) -> "Decisions":
        longs, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return cls(Evaluations(longs, longs, np.zeros(0), flags, flags, flags), Context.unknown(0))


class Groups:
    """The rows of each pair and method, in their order."""

    def __init__(self, rows: Signals | Cointegration, pairs: int) -> None:
        group = rows.pair.astype(np.int64) * len(METHODS) + rows.method
        self._order = np.argsort(group, kind="stable")
        self._start = np.searchsorted(group[self._order], np.arange(pairs * len(METHODS) + 1))

    def rows(self, pair: int, method: int) -> Longs:
        group = pair * len(METHODS) + method
        found: Longs = self._order[self._start[group] : self._start[group + 1]]
        return found


class Batch:
    """One batch of measures and the tests so far. What several alerts look up in them is looked up once."""

    def __init__(self, measures: Measures, tests: Cointegration, pairs: int) -> None:
        self.measures = measures
        self._tests = tests
        self._signals_of, self._tests_of = Groups(measures.signals, pairs), Groups(tests, pairs)
        self._last: dict[tuple[int, int], Longs] = {}
        self._columns: dict[str, Any] = {}

    def signals_of(self, pair: int) -> Longs:
        """The rows of its first method."""
        return self._signals_of.rows(pair, 0)

    def last_tests(self, pair: int, method: int) -> Longs:
        """For each of those rows the newest test of a method by then; −1 where there is none."""
        if (pair, method) not in self._last:
            tests = self._tests_of.rows(pair, method)
            last = np.searchsorted(
                self._tests.ts[tests], self.measures.signals.ts[self.signals_of(pair)], side="right"
            )
            self._last[pair, method] = np.append(tests, -1)[last - 1]
        return self._last[pair, method]

    def tested(self, column: str, last: Longs) -> Any:
        """A column of these tests: NaN (or False) where there is none."""
        if column not in self._columns:
            values = getattr(self._tests, column)
            self._columns[column] = np.append(
                values, np.zeros(1, np.bool_) if values.dtype == np.bool_ else np.nan
            )
        return self._columns[column][last]


@dataclass(slots=True)
class Watch:
    """Measures in, rows of the alerts table out. Pickles."""

    timeframe: int  # µs
    specs: Sequence[AlertSpec]
    pairs: int
    symbols: int
    tolerate: float
    states: AlertStates = field(init=False)
    # of each pair: the newest, and those before it that may be done again
    tests: Cointegration = field(init=False)
    traded: Longs = field(init=False)  # (symbols,) close of the last bar with a trade, NEVER before the first
    decided: Longs = field(init=False)  # (specs,) close of the newest bar, NEVER before the first
    context: Context = field(init=False)  # (specs,) of the newest decision
    # (specs,) loaded from the database: the warm-up must not change the state
    known: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.states = AlertStates(
            Rules(
                side=np.array([spec.side for spec in self.specs], np.int64),
                threshold=np.array([spec.threshold for spec in self.specs], np.float64),
                exit=np.array([spec.exit for spec in self.specs], np.float64),
            )
        )
        self.tests = Cointegration.none()
        self.traded = np.full(self.symbols, NEVER)
        self.decided = np.full(len(self.specs), NEVER)
        self.context = Context.unknown(len(self.specs))
        self.known = np.zeros(len(self.specs), np.bool_)

    def preset(self, k: int, active: bool, episode: int, value: float) -> None:
        """The state of the alert of `specs[k]` when the history ends."""
        self.known[k] = True
        self.states.preset(k, active, episode, value)

    def update(self, measures: Measures) -> Watched:
        """Alert rows that these measures lead to; none from a history, which only decides what the states are
        where that is not known.
        """
        live = measures.bars.stage == LIVE
        self._put_in(measures)
        batch = Batch(measures, self.tests, self.pairs)
        parts = [
            self._decisions(k, spec, batch) for k, spec in enumerate(self.specs) if live or not self.known[k]
        ]
        evaluations, context = Decisions.joined(parts) if parts else Decisions.none()
        rows = self.states.update(evaluations)
        self._let_go(measures)
        rows = rows if live else rows.rows(np.zeros(len(rows.row), np.bool_))
        of = np.array([spec.alert for spec in self.specs], np.int32)
        return Watched(
            of[rows.alert], rows.ts, rows.value, rows.active, rows.episode, **context.rows(rows.row)._asdict()
        )

    def resume(self, before: "Watch") -> None:
        """Take over the state of a watch of the same alerts."""
        self.states, self.tests, self.traded = before.states, before.tests, before.traded
        self.decided, self.context = before.decided, before.context

    def _decisions(self, k: int, spec: AlertSpec, batch: Batch) -> Decisions:
        """What one alert is to decide, and the whole minutes to mark before each decision, in time order."""
        close, value, may_open, context = (
            self._of_pair if METRICS[spec.metric].subject == PAIR else self._of_symbol
        )(spec, batch)
        n = len(close)
        marks, taken_back = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if n:
            if MINUTE_US % self.timeframe:
                every = np.arange(self.timeframe // MINUTE_US + 1) * MINUTE_US
                marks = ((close - 1) // MINUTE_US * MINUTE_US)[:, None] - every
                marks = marks[marks > (close - self.timeframe)[:, None]]
            if close[0] <= self.decided[k]:
                taken_back = self.states.rewind(k, int(close[0]))
                # those before are written, and the state that they show is the same
                marks = marks[marks > close[0]]
            self.decided[k] = close[-1]
        none = np.zeros(n, np.bool_)
        evaluations = Evaluations(
            np.full(n, k),
            close,
            value,
            may_open,
            none,
            np.isin(close, taken_back) if len(taken_back) else none,
        )
        decisions = (
            self._with_marks(k, evaluations, context, marks, taken_back)
            if len(marks)
            else Decisions(evaluations, context)
        )
        if n:
            for newest, column in zip(self.context, context, strict=True):
                newest[k] = column[-1]
        return decisions

    def _with_marks(
        self, k: int, evaluations: Evaluations, context: Context, marks: Longs, taken_back: Longs
    ) -> Decisions:
        """The evaluations and these marks, in time order; a mark says what the close before it did."""
        none = np.zeros(len(marks), np.bool_)
        marked = Evaluations(
            np.full(len(marks), k),
            marks,
            np.full(len(marks), np.nan),
            none,
            ~none,
            np.isin(marks, taken_back),
        )
        ts = np.concatenate((evaluations.ts, marks))
        order = np.argsort(ts, kind="stable")
        # 0: a mark before the first of these closes
        of = np.searchsorted(evaluations.ts, ts[order], side="right")
        return Decisions(
            Evaluations._make(
                np.concatenate(columns)[order] for columns in zip(evaluations, marked, strict=True)
            ),
            Context._make(
                np.concatenate((newest[k : k + 1], column))[of]
                for newest, column in zip(self.context, context, strict=True)
            ),
        )

    def _of_pair(self, spec: AlertSpec, batch: Batch) -> Found:
        """What the pair's bars say."""
        metric, signals = METRICS[spec.metric], batch.measures.signals
        rows = batch.signals_of(spec.subject)
        own = batch.last_tests(spec.subject, spec.tested)
        may_open = ~signals.newest_incomplete[rows]
        if metric.not_while_stale:
            may_open &= ~signals.stale[rows]
        incomplete = signals.incomplete[rows]
        if spec.only_stationary:
            may_open &= batch.tested("stationary", own)
        # a pair's tests at one time have one window, whatever the method
        if spec.only_stationary or metric.tested:
            incomplete = np.fmax(incomplete, batch.tested("incomplete", own))
        if metric.tested:
            value = batch.tested(
                metric.column, own if metric.method == OLS else batch.last_tests(spec.subject, 0)
            )
        else:
            value = getattr(signals, metric.column)[rows]
        context = Context(
            batch.tested("coint_pvalue", own), incomplete == 0.0, signals.edge_bps[rows], signals.stale[rows]
        )
        return Found(
            signals.ts[rows] + self.timeframe, value, may_open & (incomplete <= self.tolerate), context
        )

    def _of_symbol(self, spec: AlertSpec, batch: Batch) -> Found:
        """What the symbol's bars say."""
        metric, bars, activity = METRICS[spec.metric], batch.measures.bars, batch.measures.activity
        rows = np.flatnonzero(bars.symbol == spec.subject)
        # bars and activity of one symbol have the same order, that of time
        of = activity.symbol == spec.subject
        close, complete, none = (
            bars.ts[rows] + self.timeframe,
            bars.complete[rows],
            np.full(len(rows), np.nan),
        )
        may_open = complete
        if metric.name == "staleness":
            value = self._staleness(spec.subject, close, bars.trades[rows] > 0)
        else:
            value = (
                getattr(bars, metric.column)[rows]
                if metric.table == BARS
                else getattr(activity, metric.column)[of]
            )
        if metric.complete == NOTHING:
            may_open = np.ones(len(rows), np.bool_)
        elif metric.complete != NEWEST_BAR:
            share = activity.incomplete[of]
            may_open, complete = complete & (share <= self.tolerate), share == 0.0
        return Found(close, value, may_open, Context(none, complete, none, activity.stale[of]))

    def _staleness(self, symbol: int, close: Longs, traded: Flags) -> Floats:
        """Seconds from the close of the last bar with a trade to each close; NaN before the first."""
        last = np.maximum.accumulate(np.concatenate(([self.traded[symbol]], np.where(traded, close, NEVER))))[
            1:
        ]
        seen = last != NEVER
        value = np.full(len(close), np.nan)
        value[seen] = (close[seen] - last[seen]) / SECOND_US
        return value

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
