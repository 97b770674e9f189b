"""Trades as rows of fixed size: what is sorted, written to a temporary file and read back."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flows.binance.messages import COLUMNS, Frames

Packed = npt.NDArray[np.void]  # of dtype ROW
Longs = npt.NDArray[np.int64]

ROW: Final = np.dtype(  # the columns of Frames: 53 bytes a trade
    [
        ("symbol", np.int32),
        ("id", np.int64),
        ("ts", np.int64),
        ("price", np.float64),
        ("qty", np.float64),
        ("is_buyer_maker", np.bool_),
        ("count", np.int64),
        ("event_ts", np.int64),
    ]
)
CONTENT: Final = ("ts", "price", "qty", "is_buyer_maker", "count")  # what makes two trades of one id the same


def pack(frames: Frames) -> Packed:
    """The rows of these frames, without their counts."""
    rows = np.empty(len(frames), ROW)
    for name in COLUMNS:
        rows[name] = getattr(frames, name)
    return rows


def unpack(rows: Packed, symbols: int) -> Frames:
    """Frames of these rows; `symbols` is the size of the universe."""
    columns: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in COLUMNS}
    return Frames(**columns, rejected=np.zeros(symbols, np.int64))


def by_content(rows: Packed) -> Packed:
    """The rows by symbol, id and content: the order in which equal ids, and then equal rows, are neighbours."""
    order = np.lexsort((rows["id"], rows["symbol"]))
    ids, symbols = rows["id"][order], rows["symbol"][order]
    if len(rows) > 1 and ((ids[1:] == ids[:-1]) & (symbols[1:] == symbols[:-1])).any():
        order = np.lexsort((*(rows[name] for name in reversed(CONTENT)), rows["id"], rows["symbol"]))
    return rows[order]


def by_time(rows: Packed) -> Packed:
    """The rows by symbol, time and content: the order of trades that have no ids."""
    return rows[np.lexsort((*(rows[name] for name in reversed(CONTENT)), rows["symbol"]))]


def in_turn(rows: Packed, reached: Longs) -> Packed:
    """The rows by `reached`, (n,) the newest time of the symbol so far; of one time by symbol and id."""
    symbol, ids = rows["symbol"], rows["id"]
    rising = reached[1:] > reached[:-1]
    level = reached[1:] == reached[:-1]
    after = (symbol[1:] > symbol[:-1]) | ((symbol[1:] == symbol[:-1]) & (ids[1:] > ids[:-1]))
    if (rising | (level & after)).all():
        return rows
    return rows[np.lexsort((ids, symbol, reached))]
