"""What kernels over rolling windows share: a task's rows, their moments, and whether each leg varies.

    mean = first row + Σ(row − first row)/n
    Syy, Sxx, Sxy = sums of products of deviations from the means

A kernel that fits a line begins with `legs`, `moments` or `centred`, and `both_move`, and ends with
`put_line`. Each window is computed by itself in two passes, shifted by its first row. There are no running
sums: nothing drifts, a bad tick has no effect once it has left the window, and two starts agree bit for bit.

Shapes: `values` is float64 (symbols, T), with the newest column last; `ys` and `xs` are float64 (n,), the
rows of the two legs.

Undefined: the legs are empty when the window has fewer than `least` rows or does not lie within the columns.
The moments of empty legs are NaN. NaN and infinity in a row pass through to the moments.

Reference: Chan, Ho and Levy, "Algorithms for computing the sample variance" (1983).

>>> ys, xs = legs(np.array([[1.0, 3.0, 5.0], [0.0, 1.0, 2.0]]), 0, 1, 3, 3, 2)
>>> [float(number) for number in moments(ys, xs)]
[2.0, 1.0, 3.0, 1.0, 8.0, 2.0, 4.0]
"""

from typing import NamedTuple

import numpy as np

from operators.columns import Floats
from operators.compiled import compiled
from operators.rounding import ROUNDING, mean_of


class Moments(NamedTuple):
    """Means and sums of products of the two legs of a window."""

    mean_y: float  # distance from the first row
    mean_x: float
    level_y: float  # the mean itself
    level_x: float
    syy: float
    sxx: float
    sxy: float


class Centred(NamedTuple):
    """Both legs of a window as deviations from their means."""

    dy: Floats  # (n,)
    dx: Floats  # (n,)
    level_y: float  # the means
    level_x: float
    syy: float
    sxx: float


@compiled(error_model="numpy")
def legs(values: Floats, y: int, x: int, end: int, window: int, least: int) -> tuple[Floats, Floats]:
    """The rows of a task: the `window` columns before `end` of legs `y` and `x`.

    Empty where the window does not exist or is too short.
    """
    start = end - window
    if window < least or start < 0 or end > values.shape[1]:
        return values[0, :0], values[0, :0]
    return values[y, start:end], values[x, start:end]


# reassoc lets the sums run in vector lanes; nothing else of fastmath is allowed, so NaN stays NaN
@compiled(error_model="numpy", fastmath={"reassoc"})
def means(ys: Floats, xs: Floats) -> tuple[float, float]:
    """The means of both legs, as distances from their first rows: prices far from zero keep their digits."""
    y0 = ys[0]
    x0 = xs[0]
    mean_y = 0.0
    mean_x = 0.0
    for i in range(len(ys)):
        mean_y += ys[i] - y0
        mean_x += xs[i] - x0
    return mean_y / len(ys), mean_x / len(ys)


@compiled(error_model="numpy", fastmath={"reassoc"})
def moments(ys: Floats, xs: Floats) -> Moments:
    """Means and sums of products of both legs; NaN when they are empty."""
    if len(ys) == 0:
        return Moments(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    mean_y, mean_x = means(ys, xs)
    y0 = ys[0]
    x0 = xs[0]
    syy = 0.0
    sxx = 0.0
    sxy = 0.0
    for i in range(len(ys)):
        dy = ys[i] - y0 - mean_y
        dx = xs[i] - x0 - mean_x
        syy += dy * dy
        sxx += dx * dx
        sxy += dx * dy
    return Moments(mean_y, mean_x, y0 + mean_y, x0 + mean_x, syy, sxx, sxy)


@compiled(error_model="numpy")
def centred(ys: Floats, xs: Floats) -> Centred:
    """Both legs about their means, which are exact for a leg that does not move (see `mean_of`)."""
    if len(ys) == 0:
        return Centred(ys, xs, np.nan, np.nan, np.nan, np.nan)
    level_y, level_x = mean_of(ys), mean_of(xs)
    dy, dx = ys - level_y, xs - level_x
    return Centred(dy, dx, level_y, level_x, (dy * dy).sum(), (dx * dx).sum())


@compiled(error_model="numpy")
def moves(squares: float, rows: float, level: float) -> bool:
    """Whether a leg varies: its standard deviation exceeds the rounding of its level. False for NaN.

    `squares` is the sum of its squared deviations from the mean.

    >>> moves(1.0, 4, 1e9), moves(1e-20, 4, 1e9)
    (True, False)
    """
    return bool(np.sqrt(squares / rows) > ROUNDING * abs(level))


@compiled(error_model="numpy")
def both_move(syy: float, sxx: float, rows: float, level_y: float, level_x: float) -> bool:
    """Whether both legs vary (see `moves`). False for NaN, and so for empty legs."""
    both: bool = moves(syy, rows, level_y) and moves(sxx, rows, level_x)
    return both


@compiled(error_model="numpy")
def put_line(results: Floats, k: int, hedge_ratio: float, intercept: float, r2: float) -> bool:
    """Store a line as the first three results of task `k`, if it is finite; return whether it is."""
    if not (np.isfinite(hedge_ratio) and np.isfinite(intercept) and np.isfinite(r2)):
        return False
    results[0, k] = hedge_ratio
    results[1, k] = intercept
    results[2, k] = r2
    return True
