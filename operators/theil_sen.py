"""Rolling hedge ratio by Theil and Sen: the median of the slopes between all pairs of rows.

    β = median { (y_i − y_j) / (x_i − x_j) : x_i ≠ x_j }
    α = median y − β·median x        r² = 1 − Σ(y − α − βx)² / Syy

Up to 29 % of the rows may be arbitrarily wrong.

Shapes: `values` is float64 (symbols, T), f(close) with the newest column last. Task k takes rows `y[k]` and
`x[k]` over the columns `end[k] − window[k]` (inclusive) to `end[k]` (exclusive). Results are float64 (K,), in
the units of rolling_ols. r² may be negative.

Undefined (NaN): the window begins before column 0 or has fewer than 2 rows, holds a NaN or infinity, or a leg
has no variance.

Equal to `scipy.stats.theilslopes(y, x)` to the last bit: the median is that of all slopes, although
median_slope.py does not compute them all. A window of 300 rows costs 0.1 ms, one of 1,800 rows 0.7 ms, and
one of 30,000 rows, the longest that is accepted (methods.py), 20 ms.

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
from operators.window import both_move, centred, legs


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
        _, _, level_y, level_x, syy, sxx = centred(ys, xs)
        if not both_move(syy, sxx, len(ys), level_y, level_x):
            continue
        slope = median_slope(ys, xs)
        constant = np.median(ys) - slope * np.median(xs)
        results[0, k] = slope
        results[1, k] = constant
        results[2, k] = 1.0 - ((ys - constant - slope * xs) ** 2).sum() / syy
