"""Everything that is measured on one timeframe's panel: pair signals, cointegration tests, activity of symbols."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numba
import numpy as np

from operators.activity import LONG_WINDOW, activity
from operators.adf import adf
from operators.cointegration import CointShares, engle_granger
from operators.columns import NEVER, Bars, Codes, Flags, Floats, Longs
from operators.correlation import rolling_correlation
from operators.edge import edge_bps
from operators.half_life import half_life
from operators.hedge_ratio import rolling_ols
from operators.panel import Panel
from operators.spread import spread_series
from operators.zscore import spread_zscore

OLS = "ols"  # the method whose residuals the Engle–Granger test has its critical values for
HEDGE_RATIOS = {OLS: rolling_ols}


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

    @property
    def rows(self) -> int:
        """Rows of the panel that its longest window needs."""
        return max(self.hedge, self.zscore, self.adf, self.correlation + 1)


@dataclass(frozen=True, slots=True)
class Signals:
    """One row per panel row where both legs have a close, and method. Shapes (n,); NaN where undefined."""

    pair: Codes
    method: Codes  # index into the pair's methods
    ts: Longs
    hedge_ratio: Floats
    intercept: Floats
    r2: Floats
    spread: Floats
    spread_mean: Floats
    spread_std: Floats
    deviation: Floats
    zscore: Floats
    edge_bps: Floats
    correlation: Floats
    incomplete: Floats  # share of rows in the windows in which a leg's bar is incomplete
    newest_incomplete: Flags  # the newest bar of a leg is incomplete


@dataclass(frozen=True, slots=True)
class Tests:
    """One row per test and method. Shapes (n,); NaN and −1 lags where undefined."""

    pair: Codes
    method: Codes
    ts: Longs
    adf_stat: Floats
    adf_pvalue: Floats
    adf_lags: Longs
    coint_stat: Floats
    coint_pvalue: Floats
    coint_share: Floats
    half_life: Floats
    stationary: Flags


@dataclass(frozen=True, slots=True)
class Activity:
    """One row per bar. Shapes (n,); NaN where undefined."""

    symbol: Codes
    ts: Longs
    log_return: Floats
    volatility: Floats
    volatility_ratio: Floats
    volume_ratio: Floats


@dataclass(frozen=True, slots=True)
class Measures:
    """What one batch of bars of one timeframe led to."""

    timeframe: int  # µs
    bars: Bars
    signals: Signals
    tests: Tests
    activity: Activity


@dataclass(slots=True)
class Measurer:
    """Bars of one timeframe in, measures out: each pair's rows as soon as both its legs have the bar.

    Every number is computed on its window itself, so a row depends on the bars of its windows alone: not on batch sizes, not on when
    the measuring began. State: the panel, each pair's next row, and its last test results.
    """

    symbols: int
    timeframe: int  # µs
    pairs: Sequence[PairSpec]
    panel: Panel = field(init=False)
    done: Longs = field(init=False)  # (pairs,) ts of each pair's last measured row; NEVER before the first
    shares: CointShares = field(init=False)

    def __post_init__(self) -> None:
        keep = max([LONG_WINDOW + 1, *(pair.rows for pair in self.pairs)])
        self.panel = Panel(self.symbols, self.timeframe, keep)
        self.done = np.full(len(self.pairs), NEVER)
        self.shares = CointShares(len(self.pairs))

    def update(self, bars: Bars) -> Measures:
        """Measure what these bars make measurable."""
        self.panel.append(bars)
        pair, end = self._ready_pairs()
        signals = self._signals(pair, end)
        return Measures(self.timeframe, bars, signals, self._tests(signals), self._activity(bars))

    def resume(self, before: "Measurer") -> None:
        """Take over the state of a measurer of the same pairs and windows; costs may differ."""
        self.panel, self.done, self.shares = before.panel, before.done, before.shares

    def _ready_pairs(self) -> tuple[Longs, Longs]:
        """Pair and exclusive end column of every row that both legs have reached and that is not measured yet, in time order."""
        panel, seen = self.panel, self.panel.seen()
        y, x = self._column("y"), self._column("x")
        ready = np.minimum(panel.filled[y], panel.filled[x])
        start = np.maximum(panel.begun[y], panel.begun[x])
        known = self.done != NEVER
        start[known] = (self.done[known] - panel.origin) // self.timeframe + 1
        count = np.where(seen[y] & seen[x], np.maximum(ready - start, 0), 0)
        pair, end = _spans(start, count)
        self.done = np.where(count > 0, panel.ts(ready - 1), self.done)
        order = np.argsort(end, kind="stable")
        return pair[order], end[order]

    def _signals(self, pair: Longs, end: Longs) -> Signals:
        panel = self.panel
        method = np.zeros(len(pair), np.int64)
        width = np.array([len(spec.methods) for spec in self.pairs], np.int64)
        if (width > 1).any():  # a row per method of the pair
            pair, method, end = _per_method(pair, end, width)
        raw = ~self._column("log_prices").astype(np.bool_)[pair]
        legs = self._column("y")[pair], self._column("x")[pair]
        y, x = (leg + raw * self.symbols for leg in legs)
        hedge, zscore = self._column("hedge")[pair], self._column("zscore")[pair]
        fits = np.full((3, len(pair)), np.nan)
        names = np.array([self.pairs[p].methods[m] for p, m in zip(pair, method, strict=True)], dtype=object)
        for name, fit in HEDGE_RATIOS.items():
            of = np.flatnonzero(names == name)
            fits[:, of] = fit(panel.values, y[of], x[of], end[of], hedge[of])
        hedge_ratio, intercept, r2 = fits
        spread, spread_mean, spread_std, deviation, z = spread_zscore(panel.values, y, x, end, zscore, hedge_ratio)
        returns = self._column("correlation_of_returns").astype(np.bool_)[pair]
        span = self._column("correlation")[pair]
        closes = panel.values[legs[0] + self.symbols, end - 1], panel.values[legs[1] + self.symbols, end - 1]
        costs = self._floats("fee_bps")[pair], self._floats("slippage_bps")[pair]
        windows = np.maximum(np.maximum(hedge, zscore), span + returns)
        newest = panel.incomplete[legs[0], end - 1] | panel.incomplete[legs[1], end - 1]
        return Signals(
            pair=pair.astype(np.int32),
            method=method.astype(np.int32),
            ts=panel.ts(end - 1),
            hedge_ratio=hedge_ratio,
            intercept=intercept,
            r2=r2,
            spread=spread,
            spread_mean=spread_mean,
            spread_std=spread_std,
            deviation=deviation,
            zscore=z,
            edge_bps=edge_bps(deviation, hedge_ratio, *closes, ~raw, *costs),
            correlation=rolling_correlation(panel.values, y, x, end, span, returns),
            incomplete=_incomplete_share(panel.incomplete, legs[0], legs[1], end, windows),
            newest_incomplete=newest,
        )

    def _tests(self, signals: Signals) -> Tests:
        """Tests on the rows whose bar index is a multiple of the pair's `adf_every`."""
        every = self._column("adf_every")[signals.pair]
        rows = np.flatnonzero(signals.ts // self.timeframe % every == 0) if len(every) else np.zeros(0, np.int64)
        results = np.full((6, len(rows)), np.nan)
        lags = np.full(len(rows), -1)
        stationary = np.zeros(len(rows), np.bool_)
        for k, row in enumerate(rows):
            p = int(signals.pair[row])
            spec = self.pairs[p]
            end = (signals.ts[row] - self.panel.origin) // self.timeframe + 1
            ys, xs = (self._window(leg, end, spec) for leg in (spec.y, spec.x))
            if len(ys) < spec.adf:
                continue
            spread = spread_series(ys, xs, signals.hedge_ratio[row])
            results[0, k], results[1, k], lags[k] = adf(spread, spec.adf_lags)
            results[5, k] = half_life(spread)
            if spec.methods[signals.method[row]] == OLS:
                results[2:4, k] = engle_granger(ys, xs)
        own = np.array([self.pairs[p].methods[m] == OLS for p, m in zip(signals.pair[rows], signals.method[rows], strict=True)], np.bool_)
        results[4, own], stationary[own] = self.shares.update(signals.pair[rows[own]].astype(np.int64), results[3, own])
        adf_stat, adf_pvalue, coint_stat, coint_pvalue, coint_share, bars_to_half = results
        return Tests(
            pair=signals.pair[rows],
            method=signals.method[rows],
            ts=signals.ts[rows],
            adf_stat=adf_stat,
            adf_pvalue=adf_pvalue,
            adf_lags=lags,
            coint_stat=coint_stat,
            coint_pvalue=coint_pvalue,
            coint_share=coint_share,
            half_life=bars_to_half,
            stationary=stationary,
        )

    def _window(self, leg: int, end: int, spec: PairSpec) -> Floats:
        """The leg's last `adf` prices before column `end`; empty when the panel does not reach back that far."""
        window: Floats = self.panel.values[leg + (not spec.log_prices) * self.symbols, max(end - spec.adf, 0) : end]
        return window if len(window) == spec.adf else window[:0]

    def _activity(self, bars: Bars) -> Activity:
        symbol, column = bars.symbol.astype(np.int64), (bars.ts - self.panel.origin) // self.timeframe
        order = np.argsort(column, kind="stable")
        symbol, end = symbol[order], column[order] + 1
        numbers = activity(self.panel.values[self.symbols :], self.panel.volume, symbol, end)
        return Activity(bars.symbol[order], bars.ts[order], *numbers)

    def _column(self, name: str) -> Longs:
        return np.array([getattr(spec, name) for spec in self.pairs], np.int64)

    def _floats(self, name: str) -> Floats:
        return np.array([getattr(spec, name) for spec in self.pairs], np.float64)


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


@numba.njit(cache=True, nogil=True)
def _incomplete_share(incomplete: Flags, y: Longs, x: Longs, end: Longs, window: Longs) -> Floats:
    """Share of each task's window in which the bar of either leg is incomplete; rows before the panel count as complete."""
    share = np.zeros(len(end))
    for k in range(len(end)):
        found = 0
        for j in range(max(end[k] - window[k], 0), end[k]):
            found += incomplete[y[k], j] | incomplete[x[k], j]
        share[k] = found / window[k]
    return share
