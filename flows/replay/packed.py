"""Trades as rows of fixed size, which are sorted, written to temporary files and read back."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flows.feed.frames import COLUMNS, Frames
from operators.columns import UNKNOWN, Longs

Packed = npt.NDArray[np.void]  # of dtype ROW

ROW: Final = np.dtype(  # the columns of Frames: 53 bytes a trade
    [
        ("symbol", np.int32),
        ("id", np.int64),
        ("ts", np.int64),
        ("price", np.float64),
        ("qty", np.float64),
        ("is_buyer_maker", np.int8),
        ("count", np.int64),
        ("event_ts", np.int64),
    ]
)
OPAQUE: Final = np.dtype((np.void, ROW.itemsize))  # a row as plain bytes: copied five times as fast
CONTENT: Final = ("ts", "price", "qty", "is_buyer_maker", "count")  # what makes two trades of one id the same


def pack(frames: Frames) -> Packed:
    """The rows of these frames, without the counts of rejected messages."""
    rows = np.empty(len(frames), ROW)
    for name in COLUMNS:
        rows[name] = getattr(frames, name)
    return rows


def unpack(rows: Packed, symbols: int) -> Frames:
    """Frames of these rows; `symbols` is the number of symbols."""
    columns: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in COLUMNS}
    if (columns["is_buyer_maker"] != UNKNOWN).all():
        columns["is_buyer_maker"] = columns["is_buyer_maker"].view(np.bool_)
    return Frames(**columns, rejected=np.zeros(symbols, np.int64))


def select(rows: Packed, chosen: Any) -> Packed:
    """The chosen rows: a mask, an index array or a slice."""
    found: Packed = rows.view(OPAQUE)[chosen].view(ROW)
    return found


def join(parts: Sequence[Packed]) -> Packed:
    """The parts one after the other."""
    found: Packed = np.concatenate([part.view(OPAQUE) for part in parts]).view(ROW)
    return found


def by_content(rows: Packed) -> Packed:
    """The rows sorted by symbol, id and content, so that equal ids, and equal rows, are neighbours."""
    order = np.lexsort((rows["id"], rows["symbol"]))
    ids, symbols = rows["id"][order], rows["symbol"][order]
    if len(rows) > 1 and ((ids[1:] == ids[:-1]) & (symbols[1:] == symbols[:-1])).any():
        order = np.lexsort((*_content(rows), rows["id"], rows["symbol"]))
    return select(rows, order)


def by_time(rows: Packed) -> Packed:
    """The rows sorted by symbol, time and content: the order of trades without ids."""
    return select(rows, np.lexsort((*_content(rows), rows["symbol"])))


def _content(rows: Packed) -> list[npt.NDArray[Any]]:
    """The columns of CONTENT for np.lexsort: the last one first, and unknown sides behind known ones."""
    columns = {name: np.ascontiguousarray(rows[name]) for name in CONTENT}
    columns["is_buyer_maker"] = columns["is_buyer_maker"].view(np.uint8)  # UNKNOWN is negative
    return list(columns.values())[::-1]


def turn(symbol: npt.NDArray[np.int32], ids: Longs, reached: Longs) -> Longs | None:
    """The order in which trades are replayed, as indices; None if they have it already. Shapes (n,).

    They are sorted by `reached`, the newest time of the symbol so far. Trades with the same time keep their
    order, but each symbol's are sorted by id.
    """
    order = np.argsort(reached, kind="stable") if (reached[1:] < reached[:-1]).any() else None
    if order is not None:
        symbol, ids = symbol[order], ids[order]
    of_symbol = grouped(symbol)
    symbol, ids = symbol[of_symbol], ids[of_symbol]
    if not ((symbol[1:] == symbol[:-1]) & (ids[1:] <= ids[:-1])).any():
        return order
    if order is not None:  # one file of a symbol ends at the time at which the next one begins
        reached = reached[order]
    of_one_time = np.lexsort((ids, symbol, reached[of_symbol]))
    found = of_symbol[of_one_time]
    return found if order is None else order[found]


def grouped(symbol: npt.NDArray[np.int32]) -> Longs:
    """(n,) indices that bring the rows of each symbol together, in their order."""
    # numpy sorts 16 bits in one pass
    keys = symbol.astype(np.int16) if symbol.max(initial=0) < 2**15 else symbol
    order: Longs = np.argsort(keys, kind="stable")
    return order
