"""Rolling hedge ratio by Huber regression: least squares in which rows far from the line count less.

    min Σ ρ((y − α − β·x)/σ)        ρ(u) = u²/2 up to |u| = 1.345, then 1.345·|u| − 1.345²/2
    σ = median |residual| / 0.6745

where α, β and σ hold together: Σ ψ = 0 and Σ ψ·x = 0 with ψ(u) = u up to |u| = 1.345, then ±1.345. They are
found by iteratively reweighted least squares that begins with the least-squares line. Now and then the
iteration tries Newton's steps: while the set of rows beyond 1.345·σ and the row with the median residual stay
the same, the three equations are linear, so that the last step is exact.

    se(β)² = K²·(Σψ²/(n − 2))·σ² / (mean ψ')² / Sxx        K = 1 + (2/n)·var(ψ')/(mean ψ')²

Shapes: `values` is float64 (symbols, T), f(close) with the newest column last. Task k regresses row `y[k]` on
row `x[k]` over the columns `end[k] − window[k]` (inclusive) to `end[k]` (exclusive). Results are float64
(K,), in the units of rolling_ols.

Undefined (NaN): the window begins before column 0 or has fewer than 3 rows, holds a NaN or infinity, or a leg
has no variance; or the equations do not hold after MOST_STEPS steps, to 1e-12 of their terms or the rounding
of the residuals. Windows whose rows lie on two levels far apart may take all MOST_STEPS steps, which is 12 ms
at 1,800 rows.

A window in which more than half of the rows lie on one line has σ = 0 (to within rounding). That line is the
result, unless the iteration ends elsewhere before; its standard error is undefined.

Equal to `statsmodels.RLM(y, x, M=HuberT()).fit()` iterated to its end, to 1e-9 of the coefficients' scale. A
window of 300 rows costs 0.03 ms, one of 1,800 rows 0.12 ms, one of 100,000 rows 20 ms.

References: Huber and Ronchetti, Robust Statistics (2009), ch. 7; Huber, "Robust regression" (1973), eq. 8.13.

>>> closes = np.array([[0.1, 1.0, 1.9, 3.1, 4.0, 50.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
>>> slope, *_ = rolling_huber(closes, np.array([0]), np.array([1]), np.array([6]), np.array([6]))
>>> round(float(slope[0]), 2)
1.12
"""

import numpy as np

from operators.columns import Floats, LineWithError, Longs
from operators.compiled import compiled
from operators.rounding import ROUNDING
from operators.selection import middle_two
from operators.window import both_move, centred, legs

TUNING = 1.345  # 95 % of the efficiency of least squares on normal residuals
NORMAL_MAD = 0.6744897501960817  # median |u| of a standard normal u
MOST_STEPS = 1_000  # of reweighting
# the step before which Newton's steps are first tried; then again whenever the steps have grown by half
FIRST_ATTEMPT = 3
NEWTONS_STEPS = 8
ON_A_LINE = 1e-12  # σ counts as 0 up to this share of y's standard deviation
HOLDS = 1e-12  # the equations hold when Σψ and Σψ·x are within this share of the sum of their terms' sizes


def rolling_huber(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs) -> LineWithError:
    """The line of every task, its r² on all rows, and the standard error of its slope."""
    results = np.full((4, len(y)), np.nan)
    _rolling_huber(np.ascontiguousarray(values), y, x, end, window, results)
    return LineWithError(*results)


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
def _off(residuals: Floats, xs: Floats, scale: float) -> float:
    """How far the equations are from holding, relative to the sizes of their terms.

    The result is the larger one of |Σψ| / Σ|ψ| and |Σψ·x| / Σ|ψ·x|.
    """
    sum_0, sum_1, size_0, size_1 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(xs)):
        psi = min(max(residuals[i] / scale, -TUNING), TUNING)
        sum_0 += psi
        sum_1 += psi * xs[i]
        size_0 += abs(psi)
        size_1 += abs(psi * xs[i])
    return max(abs(sum_0) / size_0, abs(sum_1) / size_1)


@compiled(error_model="numpy")
def _newton(
    ys: Floats, xs: Floats, residuals: Floats, lower: float, upper: float, scale: float
) -> tuple[float, float]:
    """Slope and constant at which the equations hold, if no row changes its place.

    `lower` and `upper` are the middle two sizes of the residuals. σ = (Y − S·α − X·β)/0.6745, with S, Y and X
    the sign, the y and the x of the median row (the mean of two for an even number of rows), is put into
    Σ_inner (y − α − βx) + 1.345·σ·Σ_outer sign = 0, and into the same equation multiplied by x.
    """
    n, sum_x, sum_y, sum_xx, sum_xy, outer, outer_x = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    at_lower, at_upper = 0, 0
    for i in range(len(xs)):
        size = abs(residuals[i])
        if size == lower:
            at_lower = i
        if size == upper:
            at_upper = i
        if size <= TUNING * scale:
            n += 1.0
            sum_x += xs[i]
            sum_y += ys[i]
            sum_xx += xs[i] * xs[i]
            sum_xy += xs[i] * ys[i]
        else:
            sign = 1.0 if residuals[i] > 0.0 else -1.0
            outer += sign
            outer_x += sign * xs[i]
    sign_l, sign_u = 1.0 if residuals[at_lower] > 0.0 else -1.0, 1.0 if residuals[at_upper] > 0.0 else -1.0
    y_m = 0.5 * (sign_l * ys[at_lower] + sign_u * ys[at_upper])
    x_m = 0.5 * (sign_l * xs[at_lower] + sign_u * xs[at_upper])
    s_m = 0.5 * (sign_l + sign_u)
    pull, pull_x = TUNING / NORMAL_MAD * outer, TUNING / NORMAL_MAD * outer_x
    a00, a01, b0 = n + pull * s_m, sum_x + pull * x_m, sum_y + pull * y_m
    a10, a11, b1 = sum_x + pull_x * s_m, sum_xx + pull_x * x_m, sum_xy + pull_x * y_m
    determinant = a00 * a11 - a01 * a10
    return (a00 * b1 - a10 * b0) / determinant, (b0 * a11 - b1 * a01) / determinant


@compiled(error_model="numpy")
def _optimum(ys: Floats, xs: Floats, least_scale: float) -> tuple[float, float, float]:
    """Slope, constant and σ at which the equations hold; NaN where they do not after MOST_STEPS steps.

    Both legs are centred on their means. A σ up to `least_scale` counts as 0.
    """
    rows = len(ys)
    weights = np.ones(rows)
    slope, constant = _fit(ys, xs, weights)
    sd = np.sqrt((ys * ys).sum() / rows)
    rounding = ROUNDING * sd  # of a residual
    least_scale = max(least_scale, ON_A_LINE * sd)
    attempt = FIRST_ATTEMPT
    # a line with more than half of the rows on it: the result, unless the steps end elsewhere
    line_slope = line_constant = line_scale = np.nan
    for step in range(MOST_STEPS):
        residuals, _, _, scale = _about(ys, xs, slope, constant)
        if scale <= least_scale:
            return slope, constant, 0.0
        holds = max(HOLDS, rounding / scale)
        if _off(residuals, xs, scale) <= holds:
            return slope, constant, scale
        if step == attempt:
            to_slope, to_constant, to_scale = _finished(ys, xs, slope, constant, holds, least_scale)
            if to_scale > 0.0:
                return to_slope, to_constant, to_scale
            if to_scale == 0.0:
                line_slope, line_constant, line_scale = to_slope, to_constant, to_scale
            attempt += max(attempt // 2, 1)
        for i in range(rows):
            u = abs(residuals[i] / scale)
            weights[i] = 1.0 if u <= TUNING else TUNING / u
        slope, constant = _fit(ys, xs, weights)
    return line_slope, line_constant, line_scale


@compiled(error_model="numpy")
def _about(ys: Floats, xs: Floats, slope: float, constant: float) -> tuple[Floats, float, float, float]:
    """Residuals of a line, the middle two of their sizes, and σ."""
    residuals = ys - constant - slope * xs
    lower, upper = middle_two(np.abs(residuals))
    return residuals, lower, upper, 0.5 * (lower + upper) / NORMAL_MAD


@compiled(error_model="numpy")
def _finished(
    ys: Floats, xs: Floats, slope: float, constant: float, holds: float, least_scale: float
) -> tuple[float, float, float]:
    """Newton's steps from this line: slope, constant and σ where the equations hold; NaN if they do not get
    there.
    """
    for _ in range(NEWTONS_STEPS):
        residuals, lower, upper, scale = _about(ys, xs, slope, constant)
        if scale <= least_scale:
            return slope, constant, 0.0
        if _off(residuals, xs, scale) <= holds:
            return slope, constant, scale
        slope, constant = _newton(ys, xs, residuals, lower, upper, scale)
    return np.nan, np.nan, np.nan


@compiled(error_model="numpy")
def _rolling_huber(values: Floats, y: Longs, x: Longs, end: Longs, window: Longs, results: Floats) -> None:
    for k in range(len(y)):
        leg_y, leg_x = legs(values, y[k], x[k], end[k], window[k], 3)
        rows = len(leg_y)
        ys, xs, level_y, level_x, syy, sxx = centred(leg_y, leg_x)
        if not both_move(syy, sxx, rows, level_y, level_x):
            continue
        slope, constant, scale = _optimum(ys, xs, ROUNDING * abs(level_y))
        residuals = ys - constant - slope * xs
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
