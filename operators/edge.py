"""What the spread's return to its mean would earn after costs, in basis points of y.

    edge = |deviation| (in bp of y) − 2·(fee + slippage)·(1 + notional of x per notional of y)

|deviation| in bp is 10⁴·|deviation| for log prices and 10⁴·|deviation|/y for raw ones. The factor 2 is for
opening and closing. Both legs are traded: per unit of y's notional, |β| of x's where f is the logarithm, and
|β|·x/y where f is the identity.

Shapes: all arrays are float64 (K,), or numbers. Closes are in the quote asset; `fee_bps` and `slippage_bps`
are in basis points per fill.

Undefined (NaN): the deviation or the hedge ratio is undefined, or, for raw prices, a close is not above 0.

Reference: Gatev, Goetzmann and Rouwenhorst, "Pairs trading" (2006), on transaction costs.

>>> round(float(edge_bps(0.01, 0.5, 100.0, 10.0, True, 10.0, 1.0)), 6)
67.0
>>> round(float(edge_bps(-1.0, 5.0, 100.0, 10.0, False, 10.0, 1.0)), 6)
67.0
"""

import numpy as np

from operators.columns import Flags, Floats

BASIS_POINTS = 1e4


def edge_bps(
    deviation: Floats | float,
    hedge_ratio: Floats | float,
    y_close: Floats | float,
    x_close: Floats | float,
    log_prices: Flags | bool,
    fee_bps: Floats | float,
    slippage_bps: Floats | float,
) -> Floats:
    """The edge of every row after a round trip's costs; negative where costs exceed the deviation."""
    y_close, x_close = np.asarray(y_close, dtype=np.float64), np.asarray(x_close, dtype=np.float64)
    priced = (y_close > 0) & (x_close > 0)
    y_price, x_price = np.where(priced, y_close, np.nan), np.where(priced, x_close, np.nan)
    gain = np.abs(deviation) * np.where(log_prices, BASIS_POINTS, BASIS_POINTS / y_price)
    x_per_y = np.abs(hedge_ratio) * np.where(log_prices, 1.0, x_price / y_price)
    return np.asarray(gain - 2.0 * (np.asarray(fee_bps) + slippage_bps) * (1.0 + x_per_y), dtype=np.float64)
