"""Variance ratio of a spread: how far it gets in 20 bars, against what 20 independent steps would come to. 1
for a random walk, below 1 for one that turns back, above 1 for one that trends.

    VR = [Σ_{t=q..n} (s_t − s_{t−q} − q·μ)² / m] / [Σ (Δs_t − μ)² / (n − 1)]        q = 20, μ = (s_n − s_0)/n, m = q·(n − q + 1)·(1 − q/n)

over n = len(series) − 1 steps, from overlapping spans, without bias in small samples.

Shapes: `series` float64 (n + 1,), any unit. The result is a number without a unit. A walk of 300 rows lies
within 1 ± 0.6 nineteen times in twenty: this is a description, not a test.

Undefined (NaN): fewer than 2·q steps, steps that do not vary, a NaN or infinity. It costs 10 µs.

Reference: Lo and MacKinlay, "Stock market prices do not follow random walks" (1988), eq. 12.

>>> round(variance_ratio(np.array([0.0, 1.0] * 30)), 4)
0.0085
"""

import numpy as np

from operators.columns import Floats

SPAN = 20  # bars


def variance_ratio(series: Floats) -> float:
    """The ratio at `SPAN` bars."""
    series = np.asarray(series, np.float64) - series[0] if len(series) else np.zeros(0)
    steps = len(series) - 1
    if steps < 2 * SPAN:
        return float("nan")
    drift = series[-1] / steps
    short = ((np.diff(series) - drift) ** 2).sum() / (steps - 1)
    scale = SPAN * (steps - SPAN + 1) * (1.0 - SPAN / steps)
    long = ((series[SPAN:] - series[:-SPAN] - SPAN * drift) ** 2).sum() / scale
    if not (np.isfinite(long) and short > 0.0):
        return float("nan")
    return float(long / short)
