"""What a trade on the spread's return to its mean would leave after its costs, in basis points of y.

    edge = |deviation| (in bp of y) − 2·(fee + slippage)·(1 + notional of x per notional of y)

|deviation| in bp is 10⁴·|deviation| for log prices and 10⁴·|deviation|/y for raw ones. Opening and closing (2) trades both legs: for one
unit of y's notional, |β| of x's where f is the logarithm, |β|·x/y where it is the identity.

Shapes: all arrays float64 (K,), or numbers; closes in the quote asset, `fee_bps` and `slippage_bps` per fill
in basis points.

Undefined (NaN): the deviation or the hedge ratio is, or, for raw prices, a close is not above 0.

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
    """Edge of every row after a round trip's costs; negative where costs eat more than the whole deviation."""
    y_close, x_close = np.asarray(y_close, dtype=np.float64), np.asarray(x_close, dtype=np.float64)
    priced = (y_close > 0) & (x_close > 0)
    y_price, x_price = np.where(priced, y_close, np.nan), np.where(priced, x_close, np.nan)
    gain = np.abs(deviation) * np.where(log_prices, BASIS_POINTS, BASIS_POINTS / y_price)
    x_per_y = np.abs(hedge_ratio) * np.where(log_prices, 1.0, x_price / y_price)
    return np.asarray(gain - 2.0 * (np.asarray(fee_bps) + slippage_bps) * (1.0 + x_per_y), dtype=np.float64)
