"""What operators are held against: the textbook's formulas, anew on each window, in extended precision; or
statsmodels and scipy.

Undefined is NaN, by what the documentation says of each number and not by what a library makes of it.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy import stats
from statsmodels.tsa.stattools import adfuller, coint, kpss
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from operators.columns import Floats, Trades

Wide = npt.NDArray[np.longdouble]
NOTHING = float("nan")
COLLINEAR = 1.0 - 1.5e-6  # r² above which residuals are called rounding
HUBERS_STEPS = 300
HUBERS_EQUATIONS = 1e-11


@contextmanager
def quietly() -> Iterator[None]:
    """Libraries warn of what is not looked at: p-values out of a table, confidence intervals, collinear lags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def wide(values: Floats) -> Wide:
    return np.asarray(values, np.longdouble)


def about(values: Floats) -> Wide:
    """Deviations from the mean; in two steps, so that the mean's own rounding is gone."""
    left = wide(values) - wide(values)[0]
    left = left - left.mean()
    return left - left.mean()


def flat(*legs: Floats) -> bool:
    return any(np.ptp(leg) == 0 for leg in legs)


def ols(y: Floats, x: Floats) -> tuple[float, float, float, float]:
    """Slope, constant, r² and the slope's standard error."""
    if flat(y, x):
        return (NOTHING,) * 4
    dy, dx = about(y), about(x)
    slope = (dx @ dy) / (dx @ dx)
    residuals = dy - slope * dx
    error = np.sqrt(residuals @ residuals / (len(y) - 2) / (dx @ dx))
    constant = wide(y).mean() - slope * wide(x).mean()
    return float(slope), float(constant), float(1 - (residuals @ residuals) / (dy @ dy)), float(error)


def share_explained(y: Floats, x: Floats, slope: float, constant: float) -> float:
    residuals, dy = wide(y) - constant - slope * wide(x), about(y)
    return float(1 - (residuals @ residuals) / (dy @ dy))


def huber(y: Floats, x: Floats) -> tuple[float, float, float, float] | None:
    """None where the steps do not end: more than half of the rows lie on a line, say, and the scale goes to
    0, slower and slower.
    """
    if flat(y, x):
        return (NOTHING,) * 4
    with quietly():
        fit = sm.RLM(y - y.mean(), sm.add_constant(x - x.mean()), M=sm.robust.norms.HuberT()).fit(
            maxiter=HUBERS_STEPS, tol=1e-14, conv="coefs"
        )
        psi = np.clip(fit.resid / fit.scale, -1.345, 1.345)
        off = abs((psi * (x - x.mean())).sum()) / np.abs(psi * (x - x.mean())).sum()
        if not (off < HUBERS_EQUATIONS and fit.scale > 1e-9 * np.std(y)):
            return None
        slope, error = float(fit.params[1]), float(fit.bse[1])
    constant = float(y.mean() + fit.params[0] - slope * x.mean())
    return slope, constant, share_explained(y, x, slope, constant), error


def ewls(y: Floats, x: Floats, half_life: float = 300.0) -> tuple[float, float, float, float]:
    """About the newest row, which counts most: there statsmodels keeps its digits."""
    if flat(y, x):
        return (NOTHING,) * 4
    weights = 0.5 ** (np.arange(len(y) - 1, -1, -1) / half_life)
    with quietly():
        fit = sm.WLS(
            (wide(y) - y[-1]).astype(float), sm.add_constant((wide(x) - x[-1]).astype(float)), weights=weights
        ).fit()
    slope = float(fit.params[1])
    return slope, float(y[-1] + fit.params[0] - slope * x[-1]), float(fit.rsquared), float(fit.bse[1])


def theil_sen(y: Floats, x: Floats) -> tuple[float, float, float]:
    if flat(y, x):
        return (NOTHING,) * 3
    with quietly():
        fit = stats.theilslopes(y, x)
    return float(fit.slope), float(fit.intercept), share_explained(y, x, fit.slope, fit.intercept)


def tls(y: Floats, x: Floats) -> tuple[float, float, float]:
    """The first principal axis, its angle φ by tan 2φ = 2·Sxy/(Sxx − Syy)."""
    if flat(y, x):
        return (NOTHING,) * 3
    dy, dx = about(y), about(x)
    slope = np.tan(np.arctan2(2 * (dx @ dy), dx @ dx - dy @ dy) / 2)
    return (
        float(slope),
        float(wide(y).mean() - slope * wide(x).mean()),
        float((dx @ dy) ** 2 / (dx @ dx) / (dy @ dy)),
    )


def kalman(
    y: Floats, x: Floats, window: int
) -> Iterator[tuple[int, tuple[float, float, float, float, float]]]:
    """Row, and slope, constant, r², standard error and innovation, with the textbook's matrices."""
    begin = next(
        (t for t in range(window, len(y) + 1) if not flat(y[t - window : t], x[t - window : t])), len(y) + 1
    )
    if begin > len(y):
        return
    first = slice(begin - window, begin)
    slope, _, _, error = ols(y[first], x[first])
    centre = np.array([wide(y[first]).mean(), wide(x[first]).mean()])
    dx = about(x[first])
    noise = wide(np.array(error)) ** 2 * (dx @ dx)
    state, covariance = np.array([0, slope], np.longdouble), np.diag([noise / window, noise / (dx @ dx)])
    pace = (np.longdouble(2) / window) ** 2 * np.diag([noise, noise / (dx @ dx / (window - 1))])
    innovation_z = NOTHING
    for t in range(begin - 1, len(y)):
        if t >= begin:
            covariance = covariance + pace
            row = np.array([np.longdouble(1), x[t] - centre[1]])
            variance = row @ covariance @ row + noise
            innovation = y[t] - centre[0] - row @ state
            gain = covariance @ row / variance
            state = state + gain * innovation
            covariance = (np.eye(2, dtype=np.longdouble) - np.outer(gain, row)) @ covariance
            innovation_z = float(innovation / np.sqrt(variance))
        rows = slice(t + 1 - window, t + 1)
        dy = about(y[rows])
        residuals = wide(y[rows]) - centre[0] - state[0] - state[1] * (wide(x[rows]) - centre[1])
        r2 = float(1 - residuals @ residuals / (dy @ dy)) if np.ptp(y[rows]) > 0 else NOTHING
        yield (
            t,
            (
                float(state[1]),
                float(centre[0] + state[0] - state[1] * centre[1]),
                r2,
                float(np.sqrt(covariance[1, 1])),
                innovation_z,
            ),
        )


def zscore(y: Floats, x: Floats, slope: float) -> tuple[float, float, float, float, float]:
    """Spread, mean, standard deviation, deviation and z."""
    series = wide(y) - np.longdouble(slope) * wide(x)
    deviations = about(y) - np.longdouble(slope) * about(x)
    std = np.sqrt(deviations @ deviations / (len(y) - 1))
    mean = float(series.mean())
    if not std > 0:
        return float(series[-1]), mean, NOTHING, float(deviations[-1]), NOTHING
    return float(series[-1]), mean, float(std), float(deviations[-1]), float(deviations[-1] / std)


def correlation(y: Floats, x: Floats, of_returns: bool) -> float:
    a, b = ((np.diff(wide(leg)) if of_returns else about(leg)).astype(float) for leg in (y, x))
    if flat(y, x):
        return NOTHING
    with quietly():
        return float(stats.pearsonr(a, b).statistic)


def spread(y: Floats, x: Floats, slope: float) -> Floats:
    """In extended precision, rounded at the end."""
    return np.asarray((wide(y) - y[0]) - np.longdouble(slope) * (wide(x) - x[0]), np.float64)


def adf(series: Floats, lags: int | str) -> tuple[float, float, int]:
    fixed = isinstance(lags, int)
    with quietly():
        stat, pvalue, used, *_ = adfuller(
            about(series).astype(float),
            lags if fixed else None,
            "c",
            None if fixed else lags,
            result_object=False,
        )
    return float(stat), float(pvalue), int(used)


def engle_granger(y: Floats, x: Floats) -> tuple[float, float]:
    if flat(y, x) or ols(y, x)[2] > COLLINEAR:
        return NOTHING, NOTHING
    with quietly():
        stat, pvalue, _ = coint(about(y).astype(float), about(x).astype(float), trend="c", autolag="aic")
    return float(stat), float(pvalue)


def johansen(y: Floats, x: Floats) -> tuple[float, float]:
    if flat(y, x):
        return NOTHING, NOTHING
    with quietly():
        legs = np.column_stack([about(leg).astype(float) / np.std(leg) for leg in (y, x)])
        found = coint_johansen(legs, 0, 1)
    return float(found.lr1[0]), float(found.lr2[0])


def shin(y: Floats, x: Floats) -> float:
    slope, _, r2, _ = ols(y, x)
    if not r2 < COLLINEAR:
        return NOTHING
    with quietly():
        residuals = (about(y) - np.longdouble(slope) * about(x)).astype(float)
        return float(kpss(residuals, regression="c", nlags="auto", result_object=False)[0])


def half_life(series: Floats) -> float:
    slope = ols(np.diff(series), series[:-1])[0]
    return float(-np.log(np.longdouble(2)) / np.log1p(np.longdouble(slope))) if -1 < slope < 0 else NOTHING


def variance_ratio(series: Floats, span: int = 20) -> float:
    """Lo and MacKinlay's, term by term."""
    walk = wide(series)
    steps = len(walk) - 1
    drift = (walk[-1] - walk[0]) / steps
    short = sum((walk[t] - walk[t - 1] - drift) ** 2 for t in range(1, steps + 1)) / (steps - 1)
    long = sum((walk[t] - walk[t - span] - span * drift) ** 2 for t in range(span, steps + 1))
    return float(long / (span * (steps - span + 1) * (1 - np.longdouble(span) / steps)) / short)


def coint_share(pvalues: Sequence[float]) -> Iterator[tuple[float, bool, float]]:
    """Share, stationary and broken after each test, counted from the beginning each time."""
    proven, failed = False, 0
    for n in range(1, len(pvalues) + 1):
        failed = 0 if pvalues[n - 1] < 0.05 else failed + 1
        share = sum(p < 0.05 for p in pvalues[n - 20 : n]) / 20 if n >= 20 else NOTHING
        proven |= share >= 0.5
        yield share, share >= 0.5, float(failed) if proven else NOTHING


def activity(
    open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, buy_volume: Floats
) -> dict[str, float]:
    """The columns of the newest of these bars, by name; at least 121."""
    returns = np.diff(np.log(wide(close)))

    def sd(last: int) -> float:
        return 0.0 if np.ptp(close[-last - 1 :]) == 0 else float(about(returns[-last:]).std(ddof=1))

    mean, traded = float(wide(volume)[-121:-1].mean()), wide(volume)[-20:].sum()
    ranges, moves = np.log(wide(high) / wide(low))[-60:], np.log(wide(close) / wide(open_))[-60:]
    variance = (ranges**2 / 2 - (2 * np.log(np.longdouble(2)) - 1) * moves**2).mean()
    return {
        "log_return": float(returns[-1]),
        "volatility": sd(60),
        "volatility_ratio": sd(20) / sd(120) if sd(120) > 0 else NOTHING,
        "volume_ratio": float(volume[-1] / mean) if mean > 0 else NOTHING,
        "volatility_gk": float(np.sqrt(variance)) if variance >= 0 else NOTHING,
        "imbalance": float((2 * wide(buy_volume)[-20:].sum() - traded) / traded) if traded > 0 else NOTHING,
        "taker_ratio": float(wide(buy_volume)[-1] / wide(volume)[-1]) if volume[-1] > 0 else NOTHING,
    }


def bars(trades: Trades, until: int, timeframe: int) -> dict[tuple[int, int], tuple[float, ...]]:
    """Prices and sums by symbol and opening time, of trades whose times follow their ids: each bar from the
    trades of its span.
    """
    found = {}
    for symbol in np.unique(trades.symbol).tolist():
        mine = trades.symbol == symbol
        ts, price, qty, sold = (
            trades.ts[mine],
            trades.price[mine],
            wide(trades.qty[mine]),
            trades.is_buyer_maker[mine],
        )
        close = float(price[0])
        for begin in range(int(ts[0]) // timeframe * timeframe, until - timeframe + 1, timeframe):
            of = (ts >= begin) & (ts < begin + timeframe)
            prices = price[of] if of.any() else np.array([close])
            close = float(prices[-1])
            sums = qty[of].sum(), (qty[of] * price[of]).sum(), of.sum(), qty[of & ~sold].sum()
            found[symbol, begin] = (
                float(prices[0]),
                float(prices.max()),
                float(prices.min()),
                close,
                *map(float, sums),
            )
    return found
