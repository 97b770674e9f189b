"""What kernels over rolling windows share: the rows of a task, their moments, whether a leg moves.

    mean = first row + Σ(row − first row)/n        Syy, Sxx, Sxy = sums of products of deviations from the means

Two passes over the window itself, shifted by its first row: no running sums, so nothing drifts, a bad tick is
forgotten the moment it leaves, and two starts agree bit for bit.

Shapes: `values` float64 (symbols, T), newest column last; `ys` and `xs` float64 (n,), the rows of the two
legs.

Undefined: the legs are empty when the window has fewer than `least` rows or does not lie within the columns.
NaN and infinity pass through.

Reference: Chan, Ho and Levy, "Algorithms for computing the sample variance" (1983).

>>> ys, xs = legs(np.array([[1.0, 3.0, 5.0], [0.0, 1.0, 2.0]]), 0, 1, 3, 3, 2)
>>> [float(number) for number in moments(ys, xs)]
[2.0, 1.0, 3.0, 1.0, 8.0, 2.0, 4.0]
"""

from typing import NamedTuple

import numpy as np

from operators.columns import Floats
from operators.compiled import compiled
from operators.rounding import ROUNDING


class Moments(NamedTuple):
    """Of the two legs of a window."""

    mean_y: float  # from the first row
    mean_x: float
    level_y: float  # from zero
    level_x: float
    syy: float
    sxx: float
    sxy: float


@compiled(error_model="numpy")
def legs(values: Floats, y: int, x: int, end: int, window: int, least: int) -> tuple[Floats, Floats]:
    """The rows of a task: of legs `y` and `x`, the `window` columns before `end`; empty where they do not
    exist.
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
    """Means and sums of products of both legs."""
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
def moves(squares: float, rows: float, level: float) -> bool:
    """Whether a leg has variance: its standard deviation exceeds the rounding of its level. False for NaN.

    `squares` is the sum of its squared deviations from the mean.

    >>> moves(1.0, 4, 1e9), moves(1e-20, 4, 1e9)
    (True, False)
    """
    return bool(np.sqrt(squares / rows) > ROUNDING * abs(level))
