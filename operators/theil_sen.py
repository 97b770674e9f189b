"""Rolling hedge ratio by Theil and Sen: the median of the slopes between all pairs of rows; 29 % of the rows
may be anything at all.

    β = median { (y_i − y_j) / (x_i − x_j) : x_i ≠ x_j }        α = median y − β·median x        r² = 1 − Σ(y − α − βx)² / Syy

Shapes: `values` float64 (symbols, T), f(close) with the newest column last; a task k takes rows `y[k]`,
`x[k]` over the columns `end[k] − window[k]` (inclusive) to `end[k]` (exclusive). Results are float64 (K,), in
the units of rolling_ols. r² may be negative.

Undefined (NaN): the window begins before column 0 or has fewer than 2 rows, holds a NaN or infinity, or a leg
has no variance.

Equal to `scipy.stats.theilslopes(y, x)` to the last bit: no slope is left out (see median_slope.py, which
does not compute them all). A window of 300 rows costs 0.1 ms, one of 1,800 rows 0.7 ms, one of 30,000 rows
20 ms: the longest that is accepted (methods.py).

Reference: Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968).

>>> closes = np.array([[0.0, 1.0, 2.0, 3.0, 90.0], [0.0, 1.0, 2.0, 3.0, 4.0]])
>>> slope, constant, _ = rolling_theil_sen(closes, np.array([0]), np.array([1]), np.array([5]), np.array([5]))
>>> float(slope[0]), float(constant[0])
(1.0, 0.0)
"""

import numpy as np

from operators.columns import Floats, Line, Longs
from operators.compiled import compiled
from operators.median_slope import median_slope
from operators.rounding import mean_of
from operators.window import legs, moves


def rolling_theil_sen(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs) -> Line:
    """The line of every task."""
    results = np.full((3, len(y)), np.nan)
    _rolling_theil_sen(np.ascontiguousarray(values), y, x, end, window, results)
    return Line(*results)


@compiled(error_model="numpy")
def _rolling_theil_sen(
    values: Floats, y: Longs, x: Longs, end: Longs, window: Longs, results: Floats
) -> None:
    for k in range(len(y)):
        ys, xs = legs(values, y[k], x[k], end[k], window[k], 2)
        rows = len(ys)
        if rows == 0:
            continue
        level_y, level_x = mean_of(ys), mean_of(xs)
        syy, sxx = ((ys - level_y) ** 2).sum(), ((xs - level_x) ** 2).sum()
        if not (moves(syy, rows, level_y) and moves(sxx, rows, level_x)):
            continue
        slope = median_slope(ys, xs)
        constant = np.median(ys) - slope * np.median(xs)
        results[0, k] = slope
        results[1, k] = constant
        results[2, k] = 1.0 - ((ys - constant - slope * xs) ** 2).sum() / syy
