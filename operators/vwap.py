"""Volume-weighted average price of a bar.

    vwap = Σ p·q / Σ q, kept within [low, high]

An average lies between the least and the largest of what it averages. Its rounding need not: of a single trade, p·q / q may be a unit in the
last place off p, and an exchange rounds the quote volume of its candles to the asset's digits.

Shapes: `quote_volume`, `volume`, `low`, `high` float64 (n,), a row a bar; the result is float64 (n,), in the quote asset.

Undefined (NaN): a volume of 0, and a quote volume or volume beyond what a double holds.

Reference: Berkowitz, Logue and Noser, "The total cost of transactions on the NYSE" (1988).

>>> price, qty = np.array([1.192e-05]), np.array([123456789012.0])
>>> float((price * qty / qty)[0]), float(vwap(price * qty, qty, price, price)[0])
(1.1920000000000001e-05, 1.192e-05)
"""

import numpy as np

from operators.columns import Floats


def vwap(quote_volume: Floats, volume: Floats, low: Floats, high: Floats) -> Floats:
    """`vwap` of every bar."""
    defined = (volume > 0) & np.isfinite(quote_volume) & np.isfinite(volume)
    average = np.divide(quote_volume, volume, out=np.full(len(volume), np.nan), where=defined)
    within: Floats = np.clip(average, low, high)
    return within
