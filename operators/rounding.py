"""How little a number may differ from another with nothing behind it.

    ROUNDING = 2ε, ε = 2⁻⁵²

A logarithm or product is rounded to within one ε of itself, and so is the one that it is held against: a
standard deviation of no more than ROUNDING times the level (of logarithms' differences: than ROUNDING itself)
may be that of a series that does not move at all. A variance of that size is treated as none, because what is
divided by it would be noise that looks like a number.

Reference: Goldberg, "What every computer scientist should know about floating-point arithmetic" (1991).
"""

import numpy as np

from operators.columns import Floats
from operators.compiled import compiled

ROUNDING = 2.0 * float(np.finfo(np.float64).eps)


@compiled(error_model="numpy")
def mean_of(values: Floats) -> float:
    """The mean, summed from the first value on: that of equal values is that value, whose plain sum over n of
    them rounds n times.

    >>> mean_of(np.full(1_800, 0.1)) == 0.1
    True
    """
    first = values[0]
    total = 0.0
    for value in values:
        total += value - first
    return float(first + total / len(values))
