"""The spread of a pair over a window, row by row, with one hedge ratio: what the tests for a return to the
mean look at.

    s_t = (f(y_t) − f(y_1)) − β·(f(x_t) − f(x_1))

The first row is the origin: neither its level nor α matters to a test with a constant, and differences keep
the digits that levels lose.

Shapes: `y`, `x` float64 (n,), f(close) of the two legs; the result is float64 (n,), in the units of f(y).

Undefined (all NaN): the hedge ratio is; a NaN or infinity in either leg; the spread is flat, that is, its
standard deviation is within what rounding of the levels and of β can make of a spread without any (the bound
of zscore.py). Tests would find that noise perfectly stationary.

Reference: Vidyamurthy, Pairs Trading (2004), ch. 7.

>>> spread_series(np.array([2.0, 4.0, 9.0]), np.array([1.0, 1.0, 2.0]), 2.0).tolist()
[0.0, 2.0, 5.0]
>>> spread_series(np.array([2.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0]), 2.0).tolist()
[nan, nan, nan]
"""

import numpy as np

from operators.columns import Floats
from operators.zscore import spread_zscore


def spread_series(y: Floats, x: Floats, hedge_ratio: float) -> Floats:
    """The spread with `hedge_ratio`, from its first row on."""
    legs = np.stack((y, x)).astype(np.float64, copy=False)
    first = np.zeros(1, np.int64)
    found = spread_zscore(
        legs, first, first + 1, first + len(y), first + len(y), np.array([hedge_ratio], np.float64)
    )
    if np.isnan(found.spread_std[0]):
        return np.full(len(y), np.nan)
    return np.asarray((legs[0] - legs[0, 0]) - hedge_ratio * (legs[1] - legs[1, 0]), dtype=np.float64)
