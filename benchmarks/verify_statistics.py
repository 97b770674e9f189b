"""`make verify-statistics`: every operator against its reference on many windows, and how often its signals
mean nothing.

Exit code 0 when every deviation is within its bound. The same seed gives the same figures.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks import calibration, references
from benchmarks.kinds import Kind, kinds
from operators.activity import Moves, activity, range_variance
from operators.adf import adf
from operators.bars import BarBuilder
from operators.coint_share import CointShares
from operators.cointegration import engle_granger
from operators.columns import SECOND_US, Floats, Line, LineWithError, Longs, Trades
from operators.correlation import rolling_correlation
from operators.edge import edge_bps
from operators.half_life import half_life
from operators.hedge_ratio import rolling_ols
from operators.huber import rolling_huber
from operators.johansen import johansen
from operators.kalman import HedgeKalman
from operators.methods import METHODS, Method
from operators.shin import shin
from operators.spread import spread_series
from operators.theil_sen import rolling_theil_sen
from operators.total_least_squares import rolling_tls
from operators.variance_ratio import variance_ratio
from operators.zscore import spread_zscore

SEED: Final = 20_240_809
ROWS: Final = 2_000
EXACT, CLOSE, PVALUE = 1e-9, 1e-8, 1e-8
# windows in bars, and on how many ends of each kind of market: where the reference is cheap, and where it
# fits a model per lag or sorts slopes
CHEAP: Final = {30: 150, 60: 150, 300: 100, 1_440: 8}
DEAR: Final = {60: 30, 300: 12, 1_440: 2}
QUICK_ENDS: Final = 10  # times fewer
RED, PLAIN = "\x1b[31m", "\x1b[0m"


@dataclass(slots=True)
class Row:
    """One line of the table: columns of an operator, and the furthest that they were from their reference."""

    operator: str
    columns: str
    reference: str
    bound: float
    deviation: float = 0.0
    windows: int = 0
    undefined: int = 0
    where: str = ""

    def hold(
        self,
        where: str,
        found: Sequence[float],
        expected: Sequence[float],
        scales: Sequence[float] | float = 0.0,
    ) -> None:
        """A window: deviations relative to the number or to its scale, whichever is larger; infinite if only
        one of the two is defined.
        """
        ours, theirs = np.array(found, np.float64), np.array(expected, np.float64)
        largest = np.maximum(np.abs(theirs), scales)
        largest[largest == 0] = 1.0
        apart = np.abs(ours - theirs) / largest
        both = np.isnan(ours) & np.isnan(theirs)
        apart[both] = 0.0
        apart[np.isnan(apart)] = np.inf
        self.windows += 1
        self.undefined += bool(both.all())
        if apart.max() > self.deviation:
            self.deviation, self.where = float(apart.max()), where

    @property
    def ok(self) -> bool:
        return self.windows > self.undefined and self.deviation <= self.bound


def windows(kind: Kind, sizes: dict[int, int], quick: bool) -> Iterator[tuple[int, Longs]]:
    """Sizes, and exclusive ends spread over the whole of the market."""
    for size, ends in sizes.items():
        count = max(ends // QUICK_ENDS, 2) if quick else ends
        if not (quick and size > 300):
            yield size, np.unique(np.linspace(size, kind.close.shape[1], count).astype(np.int64))


Tasks = tuple[Longs, Longs, Longs, Longs]


def tasks(size: int, ends: Longs) -> Tasks:
    """y, x, end and window of tasks on the two legs of a kind."""
    zeros = np.zeros(len(ends), np.int64)
    return zeros, zeros + 1, ends, zeros + size


def scales_of(y: Floats, x: Floats, slope: float) -> tuple[float, float]:
    """Of a hedge ratio: what it is between legs as spread out as these; of an intercept: what it is the
    difference of.
    """
    return float(np.std(y) / np.std(x)) if np.ptp(x) > 0 else 0.0, float(
        abs(y.mean()) + abs(slope * x.mean())
    )


def check_rolling_ols(markets: list[Kind], quick: bool) -> list[Row]:
    lines = Row("rolling_ols", "hedge_ratio, intercept, r2", "two passes, extended precision", EXACT)
    errors = Row("rolling_ols", "hedge_ratio_se", "two passes, extended precision", EXACT)
    for kind in markets:
        for size, ends in windows(kind, CHEAP, quick):
            for end, *found in zip(ends, *rolling_ols(kind.values, *tasks(size, ends)), strict=True):
                y, x = kind.values[:, end - size : end]
                expected = references.ols(y, x)
                lines.hold(kind.name, found[:3], expected[:3], (*scales_of(y, x, expected[0]), 1.0))
                errors.hold(kind.name, found[3:], expected[3:])
    return [lines, errors]


def check_kalman(markets: list[Kind], quick: bool) -> list[Row]:
    lines = Row("HedgeKalman", "hedge_ratio, intercept, r2", "textbook matrices, extended precision", EXACT)
    errors = Row(
        "HedgeKalman", "hedge_ratio_se, innovation_z", "textbook matrices, extended precision", EXACT
    )
    for kind in markets:
        for size in (60,) if quick else (60, 300):
            y, x = kind.values
            ends = np.arange(size, (size + 200 if quick else len(y)) + 1)
            ours = HedgeKalman(1, SECOND_US).update(
                kind.values, ends * 0, *tasks(size, ends), ends * SECOND_US
            )
            expected = dict(references.kalman(y[: ends[-1]], x[: ends[-1]], size))
            for end, *found in zip(ends, *ours, strict=True):
                slope, constant, r2, error, innovation = expected.get(end - 1, (np.nan,) * 5)
                rows = slice(end - size, end)
                lines.hold(
                    kind.name,
                    found[:3],
                    (slope, constant, r2),
                    (*scales_of(y[rows], x[rows], slope), max(1.0, 1.0 - r2)),
                )
                errors.hold(kind.name, found[3:], (error, innovation), (0.0, 1.0))
    return [lines, errors]


def check_huber(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row(
        "rolling_huber",
        "hedge_ratio, intercept, r2, hedge_ratio_se",
        "statsmodels.RLM, HuberT, run to its end",
        EXACT,
    )
    for kind in markets:
        for size, ends in windows(kind, DEAR, quick):
            for end, *found in zip(ends, *rolling_huber(kind.values, *tasks(size, ends)), strict=True):
                y, x = kind.values[:, end - size : end]
                expected = references.huber(y, x)
                if expected is not None:
                    row.hold(kind.name, found, expected, (*scales_of(y, x, expected[0]), 1.0, 0.0))
    return [row]


def check_theil_sen(markets: list[Kind], quick: bool) -> list[Row]:
    lines = Row("rolling_theil_sen", "hedge_ratio, intercept", "scipy.stats.theilslopes, every bit", 0.0)
    shares = Row("rolling_theil_sen", "r2", "its definition, extended precision", EXACT)
    for kind in markets:
        for size, ends in windows(kind, DEAR, quick):
            for end, *found in zip(ends, *rolling_theil_sen(kind.values, *tasks(size, ends)), strict=True):
                expected = references.theil_sen(*kind.values[:, end - size : end])
                lines.hold(kind.name, found[:2], expected[:2])
                shares.hold(kind.name, found[2:], expected[2:], 1.0)
    return [lines, shares]


def check_tls(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("rolling_tls", "hedge_ratio, intercept, r2", "principal axis, extended precision", EXACT)
    for kind in markets:
        if kind.log_prices:
            for size, ends in windows(kind, CHEAP, quick):
                for end, *found in zip(ends, *rolling_tls(kind.values, *tasks(size, ends)), strict=True):
                    y, x = kind.values[:, end - size : end]
                    expected = references.tls(y, x)
                    row.hold(kind.name, found, expected, (*scales_of(y, x, expected[0]), 1.0))
    return [row]


def check_zscore(markets: list[Kind], quick: bool) -> list[Row]:
    levels = Row("spread_zscore", "spread, spread_mean", "two passes, extended precision", EXACT)
    others = Row("spread_zscore", "spread_std, deviation, zscore", "two passes, extended precision", EXACT)
    for kind in markets:
        for size, ends in windows(kind, CHEAP, quick):
            slopes = np.array([references.ols(*kind.values[:, end - size : end])[0] for end in ends])
            of = tasks(size // 2, ends)
            for end, slope, *found in zip(
                ends, slopes, *spread_zscore(kind.values, *of, slopes), strict=True
            ):
                y, x = kind.values[:, end - size // 2 : end]
                expected = references.zscore(y, x, slope) if np.isfinite(slope) else (np.nan,) * 5
                level = scales_of(y, x, slope)[1]
                levels.hold(kind.name, found[:2], expected[:2], level)
                others.hold(
                    kind.name,
                    found[2:],
                    expected[2:],
                    (0.0, expected[2], 1.0) if np.isfinite(expected[2]) else level,
                )
    return [levels, others]


def check_edge(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("edge_bps", "edge_bps", "its definition, extended precision", EXACT)
    rng = np.random.default_rng(SEED)
    for kind in markets:
        for y, x in kind.close.T[:: 100 if quick else 10]:
            slope, deviation, costs = (
                rng.normal(0.7, 1.0),
                rng.normal(0.0, 1e-3) * (1.0 if kind.log_prices else y),
                rng.uniform(0, 20, 2),
            )
            weight = np.longdouble(1) if kind.log_prices else np.longdouble(x) / y
            gain = abs(np.longdouble(deviation)) * 10_000 / (1 if kind.log_prices else np.longdouble(y))
            paid = 2 * (np.longdouble(costs[0]) + costs[1]) * (1 + abs(np.longdouble(slope)) * weight)
            row.hold(
                kind.name,
                [float(edge_bps(deviation, slope, y, x, kind.log_prices, *costs))],
                [float(gain - paid)],
                float(gain + paid),
            )
    return [row]


def check_correlation(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("rolling_correlation", "correlation, of returns and of prices", "scipy.stats.pearsonr", EXACT)
    for kind in markets:
        for size, ends in windows(kind, CHEAP, quick):
            for of_returns in (True, False):
                ends_here = ends[ends > size]
                for end, found in zip(
                    ends_here,
                    rolling_correlation(kind.values, *tasks(size, ends_here), of_returns),
                    strict=True,
                ):
                    expected = references.correlation(
                        *kind.values[:, end - size - of_returns : end], of_returns
                    )
                    row.hold(kind.name, [found], [expected], 1.0)
    return [row]


def spreads(
    markets: list[Kind], quick: bool, sizes: dict[int, int]
) -> Iterator[tuple[Kind, Floats, Floats, Floats]]:
    """Both legs and the spread with their own least-squares line, where there is one and it is no rounding."""
    for kind in markets:
        for size, ends in windows(kind, sizes, quick):
            for end in ends:
                y, x = kind.values[:, end - size : end]
                slope, _, r2, _ = references.ols(y, x)
                if np.isfinite(slope) and r2 < references.COLLINEAR:
                    yield kind, y, x, references.spread(y, x, slope)


def check_spread_series(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("spread_series", "every row of the spread", "its definition, extended precision", EXACT)
    for kind, y, x, expected in spreads(markets, quick, CHEAP):
        row.hold(
            kind.name,
            spread_series(y, x, references.ols(y, x)[0]).tolist(),
            expected.tolist(),
            float(np.std(expected)),
        )
    return [row]


def check_adf(markets: list[Kind], quick: bool) -> list[Row]:
    rows = []
    for lags, name in ((2, "lags: 2"), ("aic", "lags: aic"), ("bic", "lags: bic")):
        row = Row("adf", f"adf_stat, adf_pvalue, adf_lags; {name}", "statsmodels.adfuller", CLOSE)
        for kind, _, _, series in spreads(markets, quick, DEAR):
            row.hold(kind.name, adf(series, lags), references.adf(series, lags), 1.0)
        rows.append(row)
    return rows


def check_engle_granger(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("engle_granger", "coint_stat, coint_pvalue, both orders", "statsmodels.coint", CLOSE)
    for kind, y, x, _ in spreads(markets, quick, DEAR):
        for one, other in ((y, x), (x, y)):
            row.hold(kind.name, engle_granger(one, other), references.engle_granger(one, other), 1.0)
    return [row]


def check_johansen(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("johansen", "johansen_trace, johansen_max_eig", "statsmodels.coint_johansen", CLOSE)
    for kind, y, x, _ in spreads(markets, quick, DEAR):
        row.hold(kind.name, johansen(y, x), references.johansen(y, x), 1.0)
    return [row]


def check_shin(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("shin", "shin_stat", "statsmodels.kpss", EXACT)
    for kind, y, x, _ in spreads(markets, quick, CHEAP):
        row.hold(kind.name, [shin(y, x)], [references.shin(y, x)])
    return [row]


def check_half_life(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("half_life", "half_life", "two passes, extended precision", EXACT)
    for kind, _, _, series in spreads(markets, quick, CHEAP):
        row.hold(kind.name, [half_life(series)], [references.half_life(series)])
    return [row]


def check_variance_ratio(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("variance_ratio", "variance_ratio", "term by term, extended precision", EXACT)
    for kind, _, _, series in spreads(markets, quick, {60: 40, 300: 20}):
        row.hold(kind.name, [variance_ratio(series)], [references.variance_ratio(series)])
    return [row]


def check_coint_shares(markets: list[Kind], quick: bool) -> list[Row]:
    row = Row("CointShares", "coint_share, stationary, broken", "counted from the beginning", 0.0)
    rng = np.random.default_rng(SEED)
    for _ in range(10 if quick else 100):
        pvalues = rng.random(120) * rng.choice([0.06, 0.1, 0.3], 120)
        ours = CointShares(1).update(np.zeros(120, np.int64), np.arange(120), pvalues)
        for found, expected in zip(
            zip(*ours, strict=True), references.coint_share(pvalues.tolist()), strict=True
        ):
            row.hold("p-values", found, expected)
    return [row]


def check_activity(markets: list[Kind], quick: bool) -> list[Row]:
    rows = {
        column: Row("activity", column, "its definition, extended precision", EXACT)
        for column in Moves._fields
    }
    scales = {"log_return": 1e-6, "volatility": 1e-6, "volatility_gk": 1e-6, "imbalance": 1.0}
    for kind in markets:
        ranges = range_variance(kind.open, kind.high, kind.low, kind.close)
        for leg in (0, 1):
            ends = np.arange(121, kind.close.shape[1] + 1, 90 if quick else 9)
            ours = activity(kind.close, kind.volume, kind.buy_volume, ranges, np.full(len(ends), leg), ends)
            for end, *found in zip(ends, *ours, strict=True):
                of = slice(end - 121, end)
                bars = (
                    column[leg, of]
                    for column in (kind.open, kind.high, kind.low, kind.close, kind.volume, kind.buy_volume)
                )
                expected = references.activity(*bars)
                for (column, row), one in zip(rows.items(), found, strict=True):
                    row.hold(kind.name, [one], [expected[column]], scales.get(column, 0.0))
    return list(rows.values())


def check_bars(markets: list[Kind], quick: bool) -> list[Row]:
    prices = Row("BarBuilder", "open, high, low, close, trades", "the trades of each bar's span", 0.0)
    sums = Row(
        "BarBuilder",
        "volume, quote_volume, buy_volume",
        "the trades of each bar's span, extended precision",
        EXACT,
    )
    rng = np.random.default_rng(SEED)
    for kind in markets:
        n, symbols = (2_000, 2) if quick else (20_000, 2)
        ts = np.sort(rng.integers(0, 900 * SECOND_US, n)) + 1_700_000_000 * SECOND_US
        symbol = rng.integers(0, symbols, n).astype(np.int32)
        price = kind.close[symbol, rng.integers(0, kind.close.shape[1], n)]
        flags, until = rng.random(n) < 0.5, (1_700_000_000 + 900) * SECOND_US
        trades = Trades(
            symbol, np.arange(n), ts, price, rng.exponential(1.0, n), flags, np.ones(n, np.int64), np.zeros(n, np.bool_),
            np.full(symbols, until),
        )  # fmt: skip
        timeframes = SECOND_US, 10 * SECOND_US, 60 * SECOND_US
        bars = BarBuilder.of(symbols, timeframes).update(trades)
        for timeframe in timeframes:
            expected, of = references.bars(trades, until, timeframe), bars.rows(bars.timeframe == timeframe)
            keys = list(zip(of.symbol.tolist(), of.ts.tolist(), strict=True))
            if sorted(keys) != sorted(expected):
                prices.deviation = np.inf
            for k, key in enumerate(keys):
                open_, high, low, close, volume, quote_volume, count, buy_volume = expected[key]
                found = of.open[k], of.high[k], of.low[k], of.close[k], of.trades[k]
                prices.hold(kind.name, found, (open_, high, low, close, count))
                sums.hold(
                    kind.name,
                    (of.volume[k], of.quote_volume[k], of.buy_volume[k]),
                    (volume, quote_volume, buy_volume),
                )
    return [prices, sums]


CHECKS: Final[dict[str, Callable[[list[Kind], bool], list[Row]]]] = {
    "rolling_ols": check_rolling_ols,
    "HedgeKalman": check_kalman,
    "rolling_huber": check_huber,
    "rolling_theil_sen": check_theil_sen,
    "rolling_tls": check_tls,
    "spread_zscore": check_zscore,
    "edge_bps": check_edge,
    "rolling_correlation": check_correlation,
    "spread_series": check_spread_series,
    "adf": check_adf,
    "engle_granger": check_engle_granger,
    "johansen": check_johansen,
    "shin": check_shin,
    "half_life": check_half_life,
    "variance_ratio": check_variance_ratio,
    "CointShares": check_coint_shares,
    "activity": check_activity,
    "BarBuilder": check_bars,
}


def check_method(name: str) -> Callable[[list[Kind], bool], list[Row]]:
    """The check of a method without an own one: against its namesake in references.py, with default options."""

    def check(markets: list[Kind], quick: bool) -> list[Row]:
        method = METHODS[name]
        columns = (Line if method.error == "–" else LineWithError)._fields
        row = Row(function_of(method), ", ".join(columns), method.equal_to.replace("`", ""), EXACT)
        for kind in markets:
            if method.log_prices_only and not kind.log_prices:
                continue
            for size, ends in windows(kind, CHEAP, quick):
                options = {
                    option.name: np.full(len(ends), option.default, option.kind) for option in method.options
                }
                ours = method.fit(kind.values, *tasks(size, ends), **options)
                for end, *found in zip(ends, *ours, strict=True):
                    y, x = kind.values[:, end - size : end]
                    expected = getattr(references, name)(y, x)
                    row.hold(
                        kind.name, found, expected, (*scales_of(y, x, expected[0]), 1.0, 0.0)[: len(found)]
                    )
        return [row]

    return check


def function_of(method: Method) -> str:
    return method.function.split(".")[1]


OTHERS: Final = {
    function_of(method): name for name, method in METHODS.items() if function_of(method) not in CHECKS
}
CHECKS |= {function: check_method(name) for function, name in OTHERS.items()}

LAYOUT: Final = "{:<20} {:<45} {:<48} {:>9} {:>8} {:>9} {:>7}  {}"


def text(row: Row, colours: bool) -> str:
    red, plain = (RED, PLAIN) if colours and not row.ok else ("", "")
    verdict = (
        "ok"
        if row.ok
        else f"FAIL ({row.where})"
        if row.windows > row.undefined
        else "FAIL (nothing to compare)"
    )
    numbers = (
        f"{row.deviation:.1e}",
        f"{row.windows:,}",
        f"{row.undefined:,}",
        f"{row.bound:.0e}" if row.bound else "0",
    )
    return red + LAYOUT.format(row.operator, row.columns, row.reference, *numbers, verdict) + plain


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.verify_statistics", description=__doc__)
    options.add_argument(
        "--quick", action="store_true", help="few windows and few simulated markets: a smoke run"
    )
    options.add_argument(
        "--only", choices=[*CHECKS, "calibration"], help="one operator, or only the calibration"
    )
    options.add_argument("--runs", type=int, default=None, help="simulated markets of each kind")
    options.add_argument("--seed", type=int, default=SEED)
    chosen = options.parse_args(arguments)
    began, failed = time.monotonic(), 0
    if chosen.only != "calibration":
        print(
            LAYOUT.format(
                "operator", "columns", "reference", "deviation", "windows", "undefined", "bound", ""
            )
        )
        markets = kinds(ROWS, chosen.seed)
        for name, check in CHECKS.items():
            if chosen.only in (None, name):
                progress(f"{name} …")
                rows = check(markets, chosen.quick)
                progress("")
                for row in rows:
                    print(text(row, sys.stdout.isatty()), flush=True)
                    failed += not row.ok
        print(
            "deviation: relative to the number, or to its natural scale where that is larger; a window counts as infinitely far if only one side is defined"
        )
    if chosen.only in (None, "calibration"):
        runs = chosen.runs or (calibration.QUICK_RUNS if chosen.quick else calibration.RUNS)
        print()
        for line in calibration.table(runs, chosen.seed, progress):
            print(line, flush=True)
    progress("")
    print(
        f"\n{failed} failed"
        if failed
        else "\nall within their bounds"
        if chosen.only != "calibration"
        else "",
        end=f" ({time.monotonic() - began:.0f} s)\n",
    )
    return 1 if failed else 0


def progress(what: str) -> None:
    """Say on a terminal what is being done; nothing takes the words away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
