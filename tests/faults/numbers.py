"""Closes measured as the dataflow measures them, and the textbook formulas in extended precision."""

import pickle

import numpy as np

from operators.columns import SECOND_US, Bars, Floats
from operators.measures import Measurer, PairSpec

HEDGE, WINDOW, ADF = 120, 60, 120
SPEC = PairSpec(
    y=0,
    x=1,
    log_prices=True,
    methods=("ols",),
    hedge=HEDGE,
    zscore=WINDOW,
    correlation=WINDOW,
    correlation_of_returns=True,
    adf=ADF,
    adf_every=60,
    adf_lags="aic",
    fee_bps=10.0,
    slippage_bps=1.0,
)
MEASURED = (
    "hedge_ratio",
    "intercept",
    "r2",
    "spread",
    "spread_mean",
    "spread_std",
    "deviation",
    "zscore",
    "edge_bps",
    "correlation",
)


def walks(seed: int, rows: int, sd: float = 1e-4, price: float = 1e5) -> Floats:
    """Closes (2, rows) of two legs that move together."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return price * np.exp(np.stack([0.7 * x + rng.normal(0, sd, rows), x]))


def bars(closes: Floats, start: int = 0) -> Bars:
    """The closes as bars: one bar a second for each leg."""
    rows = closes.shape[1]
    symbol = np.tile(np.arange(2, dtype=np.int32), rows)
    ts = np.repeat(np.arange(start, start + rows) * SECOND_US, 2)
    close = closes.T.ravel()
    ones = np.ones(2 * rows)
    whole = np.ones(2 * rows, np.bool_)
    ends = np.full(2, (start + rows) * SECOND_US)
    counts = np.ones(2 * rows, np.int64)
    return Bars(
        symbol,
        np.full(2 * rows, SECOND_US),
        ts,
        close,
        close,
        close,
        close,
        ones,
        close,
        counts,
        ones,
        whole,
        ends,
    )


def measured(closes: Floats, restarts: tuple[int, ...] = ()) -> dict[str, Floats]:
    """Every column of the signals. At each restart the state is pickled and loaded."""
    measurer = Measurer(2, SECOND_US, [SPEC])
    parts = []
    for start, end in zip((0, *restarts), (*restarts, closes.shape[1]), strict=True):
        resumed = Measurer(2, SECOND_US, [SPEC])
        resumed.resume(pickle.loads(pickle.dumps(measurer)))
        measurer = resumed
        parts.append(measurer.update(bars(closes[:, start:end], start)).signals)
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in MEASURED}


def two_pass(closes: Floats) -> dict[str, float]:
    """The expected last row, by the textbook formulas in two passes over the window."""
    y, x = np.log(closes).astype(np.longdouble)
    ys, xs = y[-HEDGE:], x[-HEDGE:]
    dy, dx = ys - ys.mean(), xs - xs.mean()
    slope = (dx @ dy) / (dx @ dx)
    spread = (y - slope * x)[-WINDOW:]
    deviation, std = spread[-1] - spread.mean(), spread.std(ddof=1)
    ry, rx = np.diff(y[-WINDOW - 1 :]), np.diff(x[-WINDOW - 1 :])
    ry, rx = ry - ry.mean(), rx - rx.mean()
    found = {"hedge_ratio": slope, "deviation": deviation, "spread_std": std, "zscore": deviation / std}
    return {name: float(number) for name, number in found.items()} | {
        "correlation": float((ry @ rx) / np.sqrt((ry @ ry) * (rx @ rx)))
    }
