"""How often signals say something where there is nothing to say: a Monte Carlo at the default windows.

Log prices of unrelated random walks, and of pairs whose spread loses half of itself in 5, 20 and 60 bars: x a
walk, y = 0.7·x + spread, all shocks of one size. Each run is a market of its own that lasts a window and then
TESTS tests; rates are over all tests (or bars) of all runs, and since windows overlap, their error is that of
the runs, not of the tests.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.kinds import reverting
from operators.adf import adf
from operators.coint_share import CointShares
from operators.cointegration import engle_granger
from operators.columns import Floats
from operators.half_life import half_life
from operators.hedge_ratio import rolling_ols
from operators.johansen import CRITICAL_MAX_EIG, CRITICAL_TRACE, johansen
from operators.shin import CRITICAL_5, shin
from operators.spread import spread_series
from operators.variance_ratio import variance_ratio
from operators.zscore import spread_zscore

RUNS: Final = 400
QUICK_RUNS: Final = 3
TESTS: Final = 40  # the last 20 of which have a `coint_share`
THREADS: Final = 2
LEVEL: Final = 0.05
SHOCK: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Timeframe:
    """pipeline.yaml's defaults, in bars."""

    name: str
    hedge: int
    zscore: int
    adf: int
    every: int


TIMEFRAMES: Final = (Timeframe("1s", 1_800, 300, 1_800, 60), Timeframe("1m", 1_440, 240, 1_440, 15))
# half-lives of the spread; None: unrelated
MARKETS: Final[tuple[float | None, ...]] = (None, 5.0, 20.0, 60.0)

# Of each: its line in the table, and how the runs' figures become one
SHARES: Final = {
    "abs z > 2": "\\|z\\| > 2, of bars",
    "abs z > 3": "\\|z\\| > 3, of bars",
    "abs z > 2 and stationary": "\\|z\\| > 2, of bars while `stationary`",
    "adf": "`adf_pvalue` < 0.05",
    "engle_granger": "`coint_pvalue` < 0.05",
    "better": "the better of both orders < 0.05",
    "adjusted": "min(1, 2·min p) < 0.05",
    "trace": "`johansen_trace` > 15.49",
    "max_eig": "`johansen_max_eig` > 14.26",
    "shin": "`shin_stat` > 0.314 (cointegration rejected)",
    "once": "a `coint_pvalue` < 0.05 within 40 tests, of runs",
    "stationary": "`stationary`, of tests",
    "ever": "`stationary` at any of 21 tests, of runs",
}
MEDIANS: Final = {
    "variance_ratio": "`variance_ratio`: median (5 % to 95 %)",
    "half_life": "`half_life`: median (5 % to 95 %)",
}


def market(rng: np.random.Generator, rows: int, spread_half_life: float | None) -> Floats:
    """Log prices (2, rows) of y and x."""
    x = np.cumsum(rng.normal(0.0, SHOCK, rows))
    y = (
        np.cumsum(rng.normal(0.0, SHOCK, rows))
        if spread_half_life is None
        else 0.7 * x + reverting(rng, rows, spread_half_life, SHOCK)
    )
    return np.stack((8.0 + y, 11.0 + x))


def run(seed: tuple[int, ...], timeframe: Timeframe, spread_half_life: float | None) -> dict[str, Floats]:
    """Figures of one market: what was seen at each test, or bar."""
    window, every = max(timeframe.hedge, timeframe.adf), timeframe.every
    values = market(np.random.default_rng(seed), window + TESTS * every, spread_half_life)
    ends = np.arange(window + 1, values.shape[1] + 1)
    y = np.zeros(len(ends), np.int64)
    slopes = rolling_ols(values, y, y + 1, ends, y + timeframe.hedge)[0]
    z = np.abs(spread_zscore(values, y, y + 1, ends, y + timeframe.zscore, slopes)[4])
    found: dict[str, list[float]] = {
        name: [] for name in ("adf", "one", "other", "trace", "max_eig", "shin", *MEDIANS)
    }
    tested = ends[every - 1 :: every]
    for end, slope in zip(tested, slopes[every - 1 :: every], strict=True):
        ys, xs = values[:, end - timeframe.adf : end]
        series = spread_series(ys, xs, slope)
        trace, max_eig = johansen(ys, xs)
        numbers = (
            adf(series)[1],
            engle_granger(ys, xs)[1],
            engle_granger(xs, ys)[1],
            trace,
            max_eig,
            shin(ys, xs),
        )
        for name, number in zip(found, (*numbers, variance_ratio(series), half_life(series)), strict=True):
            found[name].append(number)
    seen = {name: np.array(numbers) for name, numbers in found.items()}
    share, stationary, _ = CointShares(1).update(np.zeros(TESTS, np.int64), np.arange(TESTS), seen["one"])
    held = np.repeat(stationary, every)  # from a test to the next
    least = np.minimum(seen["one"], seen["other"])
    defined = np.isfinite(share)
    return {
        "abs z > 2": z > 2,
        "abs z > 3": z > 3,
        "abs z > 2 and stationary": z[held] > 2,
        "adf": seen["adf"] < LEVEL,
        "engle_granger": seen["one"] < LEVEL,
        "better": least < LEVEL,
        "adjusted": np.minimum(1.0, 2.0 * least) < LEVEL,
        "trace": seen["trace"] > CRITICAL_TRACE,
        "max_eig": seen["max_eig"] > CRITICAL_MAX_EIG,
        "shin": seen["shin"] > CRITICAL_5,
        "once": np.array([(seen["one"] < LEVEL).any()]),
        "stationary": stationary[defined],
        "ever": np.array([stationary.any()]),
        "variance_ratio": seen["variance_ratio"],
        "half_life": seen["half_life"],
    }


def calibrate(
    timeframe: Timeframe,
    spread_half_life: float | None,
    runs: int,
    seed: int,
    progress: Callable[[str], None],
) -> dict[str, str]:
    """Each figure as it stands in the table."""
    number = MARKETS.index(spread_half_life)
    of = [(seed, TIMEFRAMES.index(timeframe), number, k) for k in range(runs)]
    results = []
    with ThreadPoolExecutor(THREADS) as threads:  # the kernels hold no lock
        for k, result in enumerate(threads.map(lambda one: run(one, timeframe, spread_half_life), of)):
            results.append(result)
            progress(f"calibrating {timeframe.name}, {column(spread_half_life)}: {k + 1:,} of {runs:,} …")
    together = {name: np.concatenate([result[name] for result in results]) for name in results[0]}
    shares = {name: f"{100 * together[name].mean():.1f} %" if len(together[name]) else "–" for name in SHARES}
    return shares | {name: _spread_of(together[name]) for name in MEDIANS}


def _spread_of(numbers: Floats) -> str:
    defined = numbers[np.isfinite(numbers)]
    if not len(defined):
        return "–"
    low, middle, high = np.quantile(defined, [0.05, 0.5, 0.95])
    places = 2 if high < 10 else 0
    return f"{middle:.{places}f} ({low:.{places}f} to {high:.{places}f})"


def column(spread_half_life: float | None) -> str:
    return "unrelated" if spread_half_life is None else f"half-life {spread_half_life:.0f}"


def table(runs: int, seed: int, progress: Callable[[str], None]) -> Iterator[str]:
    """Lines of a Markdown table of each timeframe."""
    yield f"Calibration: {runs:,} simulated markets a column, seed {seed}, {TESTS} tests each"
    for timeframe in TIMEFRAMES:
        columns = [calibrate(timeframe, each, runs, seed, progress) for each in MARKETS]
        progress("")
        yield ""
        title = f"{timeframe.name}: hedge {timeframe.hedge}, zscore {timeframe.zscore}, adf {timeframe.adf} every {timeframe.every}"
        yield f"| {title} | {' | '.join(column(each) for each in MARKETS)} |"
        yield "|---" * (len(MARKETS) + 1) + "|"
        for name, label in (SHARES | MEDIANS).items():
            yield f"| {label} | {' | '.join(each[name] for each in columns)} |"
