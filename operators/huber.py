"""Rolling hedge ratio by Huber regression: least squares, but that a row far from the line counts as if it were nearer.

    min Σ ρ((y − α − β·x)/σ)        ρ(u) = u²/2 up to |u| = 1.345, then 1.345·|u| − 1.345²/2        σ = median |residual| / 0.6745

by iteratively reweighted least squares from the least-squares line, σ estimated anew at each step.

    se(β)² = K²·(Σψ²/(n − 2))·σ² / (mean ψ')² / Sxx        K = 1 + (2/n)·var(ψ')/(mean ψ')²

Shapes: `values` float64 (symbols, T), f(close) with the newest column last; a task k regresses row `y[k]` on row `x[k]` over the columns
`end[k] − window[k]` (inclusive) to `end[k]` (exclusive). Results are float64 (K,), in the units of rolling_ols.

Undefined (NaN): the window begins before column 0 or has fewer than 3 rows, holds a NaN or infinity, or a leg has no variance. A window in
which more than half of the rows lie on one line has σ = 0: that line is the result, its standard error is undefined.

Equal to `statsmodels.RLM(y, x, M=HuberT()).fit()` to 1e-9 of the coefficients' scale: the same steps and the same end of them. A window of
300 rows costs about 0.1 ms, one of 1,800 rows 0.6 ms.

References: Huber and Ronchetti, Robust Statistics (2009), ch. 7; Huber, "Robust regression" (1973), eq. 8.13.

>>> closes = np.array([[0.1, 1.0, 1.9, 3.1, 4.0, 50.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
>>> slope, *_ = rolling_huber(closes, np.array([0]), np.array([1]), np.array([6]), np.array([6]))
>>> round(float(slope[0]), 2)
1.12
"""

import numpy as np

from operators.columns import Floats, Longs
from operators.compiled import compiled
from operators.rounding import ROUNDING, mean_of

TUNING = 1.345  # 95 % of the efficiency of least squares on normal residuals
NORMAL_MAD = 0.6744897501960817  # median |u| of a standard normal u
MOST_STEPS = 50
TOLERANCE = 1e-8  # change of Σρ that ends the steps


def rolling_huber(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs) -> tuple[Floats, Floats, Floats, Floats]:
    """`hedge_ratio`, `intercept`, `r2` (that of the line on all rows) and `hedge_ratio_se` of every task."""
    results = np.full((4, len(y)), np.nan)
    _rolling_huber(np.ascontiguousarray(values), y, x, end, window, results)
    return results[0], results[1], results[2], results[3]


@compiled(error_model="numpy")
def _fit(ys: Floats, xs: Floats, weights: Floats) -> tuple[float, float]:
    """Weighted least squares: slope and constant."""
    total = weights.sum()
    mean_y = (weights * ys).sum() / total
    mean_x = (weights * xs).sum() / total
    sxx = 0.0
    sxy = 0.0
    for i in range(len(ys)):
        dx = xs[i] - mean_x
        sxx += weights[i] * dx * dx
        sxy += weights[i] * dx * (ys[i] - mean_y)
    slope = sxy / sxx
    return slope, mean_y - slope * mean_x


@compiled(error_model="numpy")
def _rho(residuals: Floats, scale: float) -> float:
    total = 0.0
    for residual in residuals:
        u = abs(residual / scale)
        total += 0.5 * u * u if u <= TUNING else TUNING * u - 0.5 * TUNING * TUNING
    return total


@compiled(error_model="numpy")
def _rolling_huber(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs, results: Floats) -> None:
    for k in range(len(y)):
        rows = window[k]
        start = end[k] - rows
        if rows < 3 or start < 0 or end[k] > values.shape[1]:
            continue
        level_y, level_x = mean_of(values[y[k], start : end[k]]), mean_of(values[x[k], start : end[k]])
        ys = values[y[k], start : end[k]] - level_y
        xs = values[x[k], start : end[k]] - level_x
        syy, sxx = (ys * ys).sum(), (xs * xs).sum()
        if not (np.sqrt(syy / rows) > ROUNDING * abs(level_y) and np.sqrt(sxx / rows) > ROUNDING * abs(level_x)):
            continue
        weights = np.ones(rows)
        slope, constant = _fit(ys, xs, weights)
        residuals = ys - constant - slope * xs
        scale = np.median(np.abs(residuals)) / NORMAL_MAD
        before = np.inf
        cost = _rho(residuals, (residuals * residuals).sum() / (rows - 2))  # over the variance, not its root: statsmodels' own criterion
        step = 1
        while scale > 0.0:
            for i in range(rows):
                u = abs(residuals[i] / scale)
                weights[i] = 1.0 if u <= TUNING else TUNING / u
            slope, constant = _fit(ys, xs, weights)
            residuals = ys - constant - slope * xs
            scale = np.median(np.abs(residuals)) / NORMAL_MAD
            before, cost = cost, _rho(residuals, (weights * residuals * residuals).sum() / (rows - 2))
            step += 1
            if not abs(cost - before) > TOLERANCE or step >= MOST_STEPS:
                break
        results[0, k] = slope
        results[1, k] = level_y + constant - slope * level_x
        results[2, k] = 1.0 - (residuals * residuals).sum() / syy
        if scale > 0.0:
            inner = 0
            squares = 0.0
            for residual in residuals:
                u = abs(residual / scale)
                inner += u <= TUNING
                squares += min(u, TUNING) ** 2
            share = inner / rows
            correction = 1.0 + 2.0 / rows * share * (1.0 - share) / share**2
            results[3, k] = correction * np.sqrt(squares / (rows - 2) / sxx) * scale / share
