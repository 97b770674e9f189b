"""Everything that is measured on one timeframe's panel: pair signals, cointegration tests, activity of
symbols.

    a pair's row at t = f(columns t − window + 1 … t of the panel, of its two legs), for each window of its own

The formulas are those of the methods (methods.py) and of zscore.py, correlation.py, edge.py, adf.py,
cointegration.py, coint_share.py, johansen.py, shin.py, variance_ratio.py, half_life.py and activity.py. A
pair has a row as soon as both its legs have the bar, for each of its methods; a test where t / timeframe is a
multiple of its `adf_every`; a symbol has a row for every bar. Every number but those of a method that
remembers is computed on its window itself, so a row depends on the bars of its windows alone: not on batch
sizes, not on when the measuring began.

A leg is stale in a row when more than its last `stale_after` bars were without a trade: what the row says of
it is an old price.

A bar that comes again (see bars.py) is measured again, and so is every later row that looks back to it, as
far as the last REWIND bars; rows before those stay as they are.

Shapes: bars of one timeframe in, columns with one row per measurement out; times are opening times in µs
since the epoch, windows in bars.

Undefined (NaN; lags of NEVER; not stationary): each number by itself, where its own file says so; above all,
while its window is not full.

Reference: those of the files above.

>>> second = np.arange(3) * 1_000_000
>>> def bars(symbol, closes):
...     ones, close = np.ones(3), np.array(closes)
...     return Bars(np.full(3, symbol, np.int32), second, second, close, close, close, close, ones, ones, second, ones, ones > 0, second)
>>> pair = PairSpec(0, 1, False, (OLS,), hedge=3, zscore=3, correlation=2, correlation_of_returns=True, adf=9, adf_every=9, adf_lags="aic",
...                 fee_bps=0.0, slippage_bps=0.0)
>>> measurer = Measurer(symbols=2, timeframe=1_000_000, pairs=[pair])
>>> len(measurer.update(bars(0, [1.0, 3.0, 5.0])).signals.ts)  # the other leg has no bars yet
0
>>> measurer.update(bars(1, [1.0, 2.0, 3.0])).signals.hedge_ratio.tolist()
[nan, nan, 2.0]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from operators.activity import LONG_WINDOW, Activity, activity
from operators.adf import adf
from operators.coint_share import CointShares
from operators.cointegration import engle_granger
from operators.columns import LATEST, NEVER, WARMING, Bars, Flags, Floats, Longs
from operators.compiled import compiled
from operators.correlation import rolling_correlation
from operators.edge import edge_bps
from operators.half_life import half_life
from operators.johansen import johansen
from operators.kalman import Filtered
from operators.methods import METHODS, OLS
from operators.panel import Panel
from operators.results import Cointegration, Measures, Signals
from operators.shin import shin
from operators.spread import spread_series
from operators.variance_ratio import variance_ratio
from operators.zscore import spread_zscore

NAMES = tuple(METHODS)
TESTED = (
    *(
        "adf_stat",
        "adf_pvalue",
        "coint_stat",
        "coint_pvalue",
        "coint_pvalue_reversed",
        "half_life",
        "variance_ratio",
    ),
    *("johansen_trace", "johansen_max_eig", "shin_stat"),
)
STALE_AFTER = 60
# bars that are measured again when they come again: five minutes at 1s, the longest that a hole waits for the
# exchange
REWIND = 300


@dataclass(frozen=True, slots=True)
class PairSpec:
    """What to measure on one pair and timeframe; windows in bars."""

    y: int  # symbol codes
    x: int
    log_prices: bool
    methods: tuple[str, ...]
    hedge: int
    zscore: int
    correlation: int
    correlation_of_returns: bool
    adf: int
    adf_every: int
    adf_lags: str | int
    fee_bps: float
    slippage_bps: float
    # of its methods, by name; what is missing has its default
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the panel that its longest window needs."""
        return max(self.hedge, self.zscore, self.adf, self.correlation + 1)


@dataclass(slots=True)
class Measurer:
    """Bars of one timeframe in, measures out. State: the panel, each pair's newest row, and its last test
    results. Pickles.
    """

    symbols: int
    timeframe: int  # µs
    pairs: Sequence[PairSpec]
    stale_after: int = STALE_AFTER  # bars
    panel: Panel = field(init=False)
    done: Longs = field(init=False)  # (pairs,) ts of each pair's newest measured row; NEVER before the first
    shares: CointShares = field(init=False)
    memories: dict[str, Any] = field(init=False)  # of the methods that have one, by name
    spec: dict[str, Any] = field(init=False, repr=False)  # (pairs,) columns of the pairs
    # (pairs,) columns of the methods' options, by name
    options: dict[str, Any] = field(init=False, repr=False)
    # (pairs, methods) which of METHODS each one is; −1 beyond a pair's last
    fits: Longs = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._arrange()
        keep = max([LONG_WINDOW + 1, self.stale_after + 1, *(pair.rows for pair in self.pairs)])
        self.panel = Panel(self.symbols, self.timeframe, keep + REWIND, recent=LONG_WINDOW + 1 + REWIND)
        self.done = np.full(len(self.pairs), NEVER)
        self.shares = CointShares(
            len(self.pairs), max((REWIND // pair.adf_every + 1 for pair in self.pairs), default=0)
        )
        self.memories = {
            name: method.fit(len(self.pairs), self.timeframe)
            for name, method in METHODS.items()
            if method.remembers
        }

    def __getstate__(self) -> tuple[Any, ...]:
        return (
            self.symbols,
            self.timeframe,
            self.pairs,
            self.stale_after,
            self.panel,
            self.done,
            self.shares,
            self.memories,
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (
            self.symbols,
            self.timeframe,
            self.pairs,
            self.stale_after,
            self.panel,
            self.done,
            self.shares,
            self.memories,
        ) = state
        self._arrange()

    def _arrange(self) -> None:
        """Columns of the pairs: a loop over thousands of them at every bar would cost more than what is
        measured.
        """
        names = [
            column.name
            for column in fields(PairSpec)
            if column.name not in ("methods", "adf_lags", "options")
        ]
        self.spec = {name: np.array([getattr(pair, name) for pair in self.pairs]) for name in names}
        self.spec = {
            name: column if len(column) else np.zeros(0, np.int64) for name, column in self.spec.items()
        }
        self.fits = np.full((len(self.pairs), max((len(pair.methods) for pair in self.pairs), default=1)), -1)
        for p, pair in enumerate(self.pairs):
            self.fits[p, : len(pair.methods)] = [NAMES.index(method) for method in pair.methods]
        self.options = {
            option.name: np.array(
                [pair.options.get(option.name, option.default) for pair in self.pairs], option.kind
            )
            for method in METHODS.values()
            for option in method.options
        }

    def update(self, bars: Bars) -> Measures:
        """Measure what these bars make measurable."""
        # (symbols,) where each one's bars ended
        had = np.where(self.panel.seen(), self.panel.ts(self.panel.filled), NEVER)
        again = np.full(self.symbols, LATEST)
        np.minimum.at(again, bars.symbol, bars.ts)
        again = np.where(again < had, again, LATEST)
        if (again != LATEST).any():
            recent = had - np.where(had != NEVER, REWIND * self.timeframe, 0)
            measured = bars.rows(bars.ts >= recent[bars.symbol])
        else:
            measured = bars
        self.panel.append(bars)
        pair, end = self._ready_pairs(again)
        if bars.stage == WARMING:
            pair, end, measured = pair[:0], end[:0], bars.rows(np.zeros(len(bars), np.bool_))
        signals = self._signals(pair, end)
        return Measures(
            self.timeframe, measured, signals, self._tests(signals), self._activity(measured), self._settled()
        )

    def resume(self, before: "Measurer") -> None:
        """Take over the state of a measurer of the same pairs and windows; costs may differ."""
        self.panel, self.done, self.shares, self.memories = (
            before.panel,
            before.done,
            before.shares,
            before.memories,
        )

    def _settled(self) -> int:
        """The opening time before which nothing will be measured again."""
        seen = self.panel.seen()
        return int(self.panel.ts(self.panel.filled[seen].min() - REWIND)) if seen.any() else NEVER

    def _ready_pairs(self, again: Longs) -> tuple[Longs, Longs]:
        """Pair and exclusive end column of every row to measure, in time order.

        Those that both legs have reached and that are not measured yet, and those from a bar on that came
        again; `again` (symbols,): the time of the oldest of these.
        """
        panel, seen = self.panel, self.panel.seen()
        y, x = self.spec["y"], self.spec["x"]
        ready = np.minimum(panel.filled[y], panel.filled[x])
        start = np.maximum(panel.begun[y], panel.begun[x])
        known = self.done != NEVER
        new = self.done[known] + self.timeframe
        rewritten = np.maximum(np.minimum(again[y], again[x])[known], new - REWIND * self.timeframe)
        start[known] = (np.minimum(new, rewritten) - panel.origin) // self.timeframe
        count = np.where(seen[y] & seen[x], np.maximum(ready - start, 0), 0)
        pair, end = _spans(start, count)
        self.done = np.where(count > 0, panel.ts(ready - 1), self.done)
        order = np.argsort(end, kind="stable")
        return pair[order], end[order]

    def _signals(self, pair: Longs, end: Longs) -> Signals:
        panel, spec = self.panel, self.spec
        method = np.zeros(len(pair), np.int64)
        width = (self.fits >= 0).sum(axis=1)
        if (width > 1).any():  # a row per method of the pair
            pair, method, end = _per_method(pair, end, width)
        raw = ~spec["log_prices"].astype(np.bool_)[pair]
        legs = spec["y"][pair], spec["x"][pair]
        y, x = (leg + raw * self.symbols for leg in legs)
        hedge, zscore = spec["hedge"][pair], spec["zscore"][pair]
        line = self._fit(self.fits[pair, method], pair, y, x, end, hedge)
        spread = spread_zscore(panel.values, y, x, end, zscore, line.hedge_ratio)
        returns = spec["correlation_of_returns"].astype(np.bool_)[pair]
        span = spec["correlation"][pair]
        closes = panel.values[legs[0] + self.symbols, end - 1], panel.values[legs[1] + self.symbols, end - 1]
        costs = spec["fee_bps"][pair], spec["slippage_bps"][pair]
        incomplete = _incomplete_share(
            panel.incomplete, *legs, end, np.stack((hedge, zscore, span + returns))
        )
        return Signals(
            pair=pair.astype(np.int32),
            method=method.astype(np.int32),
            ts=panel.ts(end - 1),
            **line._asdict(),
            **spread._asdict(),
            edge_bps=edge_bps(spread.deviation, line.hedge_ratio, *closes, ~raw, *costs),
            correlation=rolling_correlation(panel.values, y, x, end, span, returns),
            complete=incomplete == 0,
            incomplete=incomplete,
            newest_incomplete=panel.incomplete[legs[0], end - 1] | panel.incomplete[legs[1], end - 1],
            stale=self._stale(legs[0], end) | self._stale(legs[1], end),
        )

    def _stale(self, symbol: Longs, end: Longs) -> Flags:
        """Whether the symbol is stale in the last column before `end`."""
        stale: Flags = self.panel.untraded[symbol, end - 1] > self.stale_after
        return stale

    def _fit(self, which: Longs, pair: Longs, y: Longs, x: Longs, end: Longs, window: Longs) -> Filtered:
        """What each row's method finds; NaN where a method has no such number."""
        found = Filtered(*np.full((len(Filtered._fields), len(which)), np.nan))
        values = self.panel.values
        for code, method in enumerate(METHODS.values()):
            of = np.flatnonzero(which == code)
            if not len(of):
                continue
            tasks = y[of], x[of], end[of], window[of]
            options = {option.name: self.options[option.name][pair[of]] for option in method.options}
            if method.remembers:
                line = self.memories[method.name].update(
                    values, pair[of], *tasks, self.panel.ts(end[of] - 1), **options
                )
            else:
                line = method.fit(values, *tasks, **options)
            for name, column in line._asdict().items():
                getattr(found, name)[of] = column
        return found

    def _tests(self, signals: Signals) -> Cointegration:
        """Tests on the rows whose bar index is a multiple of the pair's `adf_every`."""
        number = signals.ts // self.timeframe
        every = self.spec["adf_every"][signals.pair]
        rows = np.flatnonzero(number % every == 0)
        pair, method, end = (
            signals.pair[rows],
            signals.method[rows],
            (signals.ts[rows] - self.panel.origin) // self.timeframe + 1,
        )
        own = self.fits[pair, method] == NAMES.index(OLS)
        found = {name: np.full(len(rows), np.nan) for name in TESTED}
        lags = np.full(len(rows), NEVER)
        for k, row in enumerate(rows):
            spec = self.pairs[pair[k]]
            ys, xs = (self._window(leg, int(end[k]), spec) for leg in (spec.y, spec.x))
            if len(ys) < spec.adf:
                continue
            spread = spread_series(ys, xs, signals.hedge_ratio[row])
            found["adf_stat"][k], found["adf_pvalue"][k], used = adf(spread, spec.adf_lags)
            lags[k] = used if used >= 0 else NEVER
            found["half_life"][k], found["variance_ratio"][k] = half_life(spread), variance_ratio(spread)
            if own[k]:
                found["coint_stat"][k], found["coint_pvalue"][k] = engle_granger(ys, xs)
                found["coint_pvalue_reversed"][k] = engle_granger(xs, ys)[1]
                found["johansen_trace"][k], found["johansen_max_eig"][k] = johansen(ys, xs)
                found["shin_stat"][k] = shin(ys, xs)
        at = (number[rows] // every[rows])[own]  # one more with each test of a pair
        shares = self.shares.update(pair[own].astype(np.int64), at, found["coint_pvalue"][own])
        coint_share, stationary, broken = (
            np.full(len(rows), np.nan),
            np.zeros(len(rows), np.bool_),
            np.full(len(rows), np.nan),
        )
        coint_share[own], stationary[own], broken[own] = shares
        return Cointegration(
            pair=pair,
            method=method,
            ts=signals.ts[rows],
            adf_lags=lags,
            coint_share=coint_share,
            stationary=stationary,
            broken=broken,
            **found,
            incomplete=_incomplete_share(
                self.panel.incomplete,
                self.spec["y"][pair],
                self.spec["x"][pair],
                end,
                self.spec["adf"][pair][None],
            ),
        )

    def _window(self, leg: int, end: int, spec: PairSpec) -> Floats:
        """The leg's last `adf` prices before column `end`; empty when the panel does not reach back that far."""
        window: Floats = self.panel.values[
            leg + (not spec.log_prices) * self.symbols, max(end - spec.adf, 0) : end
        ]
        return window if len(window) == spec.adf else window[:0]

    def _activity(self, bars: Bars) -> Activity:
        symbol, column = bars.symbol.astype(np.int64), (bars.ts - self.panel.origin) // self.timeframe
        order = np.argsort(column, kind="stable")
        symbol, end = symbol[order], column[order] + 1
        panel = self.panel
        numbers = activity(
            panel.values[self.symbols :], panel.volume, panel.buy_volume, panel.range_variance, symbol, end
        )
        share = _incomplete_share(
            self.panel.incomplete, symbol, symbol, end, np.full((1, len(end)), LONG_WINDOW + 1)
        )
        return Activity(
            bars.symbol[order],
            bars.ts[order],
            **numbers._asdict(),
            incomplete=share,
            stale=self._stale(symbol, end),
        )


def _spans(start: Longs, count: Longs) -> tuple[Longs, Longs]:
    """For every i, `count[i]` consecutive columns from `start[i]`: the i of each, and its exclusive end."""
    owner = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, start[owner] + within + 1


def _per_method(pair: Longs, end: Longs, width: Longs) -> tuple[Longs, Longs, Longs]:
    """Repeat each row once for every method of its pair."""
    repeats = width[pair]
    row = np.repeat(np.arange(len(pair)), repeats)
    method = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return pair[row], method, end[row]


@compiled()
def _incomplete_share(incomplete: Flags, y: Longs, x: Longs, end: Longs, windows: Longs) -> Floats:
    """Share of a task's window in which the bar of either leg is incomplete, of its (windows, tasks) the one
    that has the largest.

    Rows before the panel count as complete.
    """
    share = np.zeros(len(end))
    for k in range(len(end)):
        for window in windows[:, k]:
            found = 0
            for j in range(max(end[k] - window, 0), end[k]):
                found += incomplete[y[k], j] | incomplete[x[k], j]
            share[k] = max(share[k], found / window)
    return share
