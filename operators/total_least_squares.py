"""Rolling hedge ratio by total least squares: the line with the least perpendicular distances to the rows.

    β = (Syy − Sxx + √((Syy − Sxx)² + 4·Sxy²)) / (2·Sxy)        α = ȳ − β·x̄        r² = Sxy² / (Sxx·Syy)

Both legs may be noisy: swapping the legs inverts β, which least squares does not do. Distances mix the units
of both legs, so the method is for log prices only; on raw prices the result would depend on the unit.

Shapes: `values` is float64 (symbols, T), log closes with the newest column last. Task k takes rows `y[k]` and
`x[k]` over the columns `end[k] − window[k]` (inclusive) to `end[k]` (exclusive). Results are float64 (K,).

Undefined (NaN, all three): the window begins before column 0 or has fewer than 2 rows, holds a NaN or
infinity, a leg has no variance (its standard deviation is within the rounding of its level), or the legs are
uncorrelated to within rounding and y varies as much as x or more.

Every result is computed on its own window (window.py): exact, without drift, and two starts agree bit for
bit. A window of 300 rows costs 0.2 µs, one of 1,800 rows 1 µs.

Reference: Golub and Van Loan, "An analysis of the total least squares problem" (1980); Deming regression with
equal variances.

>>> closes = np.array([[1.0, 3.0, 2.0], [0.0, 1.0, 2.0]])
>>> line = rolling_tls(closes, np.array([0]), np.array([1]), np.array([3]), np.array([3]))
>>> [round(float(column[0]), 6) for column in line]
[1.0, 1.0, 0.25]
"""

import numpy as np

from operators.columns import Floats, Line, Longs
from operators.compiled import compiled
from operators.rounding import ROUNDING
from operators.window import both_move, legs, moments, put_line


def rolling_tls(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs) -> Line:
    """The line of every task."""
    results = np.full((3, len(y)), np.nan)
    _rolling_tls(np.ascontiguousarray(values), y, x, end, window, results)
    return Line(*results)


# reassoc lets the sums run in vector lanes. The rest of fastmath stays off, so that NaN stays NaN
@compiled(error_model="numpy", fastmath={"reassoc"})
def _rolling_tls(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs, results: Floats) -> None:
    for k in range(len(y)):
        ys, xs = legs(values, y[k], x[k], end[k], window[k], 2)
        _, _, level_y, level_x, syy, sxx, sxy = moments(ys, xs)
        if not both_move(syy, sxx, len(ys), level_y, level_x):
            continue
        more = syy - sxx
        root = np.hypot(more, 2.0 * sxy)
        uncorrelated = abs(sxy) <= ROUNDING * np.sqrt(syy) * np.sqrt(sxx)
        if uncorrelated and more >= -ROUNDING * sxx:
            continue  # a vertical line, or no direction at all
        # of the two forms of the root the one that adds terms of the same sign: nothing cancels
        slope = (more + root) / (2.0 * sxy) if more >= 0 else 2.0 * sxy / (root - more)
        constant = level_y - slope * level_x
        share = min((sxy / sxx) * (sxy / syy), 1.0)
        put_line(results, k, slope, constant, share)
