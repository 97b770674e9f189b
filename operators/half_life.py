"""Half-life of a spread's return to its mean, in bars.

    Δs_t = α + λ·s_{t−1} + u_t        half-life = −ln 2 / ln(1 + λ)

Shapes: `series` float64 (n,), any unit.

Undefined (NaN): λ outside −1 < λ < 0 (no return to the mean, or one that overshoots it at every bar); a
short, constant or straight series; a NaN or infinity. It means something only while the pair is cointegrated:
unrelated walks have one of about n/11. It costs 4 µs at n = 300, 15 µs at n = 1,800.

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
