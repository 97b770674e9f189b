"""The columns that flow between operators: structs of numpy arrays, one row per trade, bar or pair.

Fields that are marked `UNSTORED` are for operators alone; every other one is a column of the database's table
of such rows.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Sides = npt.NDArray[np.int8]

UNSTORED: Final = "unstored"  # Annotated[Floats, UNSTORED]: a field without a column

UNKNOWN = -1  # a taker's side that nothing says
# a watermark that has not begun, an episode that has not opened, a count that is NULL
NEVER = np.iinfo(np.int64).min
LATEST = np.iinfo(np.int64).max  # a time that has not been found, where the least is looked for
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 1440 * MINUTE_US
# What bars are: as they come, or a history before the first of those. WARMING: it only fills windows, nothing
# is measured on it; WARM: its windows are full; RESUMED: they are, and what is measured on it is in the
# database already.
LIVE, WARMING, WARM, RESUMED = range(4)


class Line(NamedTuple):
    """y = intercept + hedge_ratio·x, and how much of y's variance it explains. Shapes (K,), NaN where
    undefined.
    """

    hedge_ratio: Floats
    intercept: Floats
    r2: Floats


class LineWithError(NamedTuple):
    """A line, and the standard error of its slope. Shapes (K,), NaN where undefined."""

    hedge_ratio: Floats
    intercept: Floats
    r2: Floats
    hedge_ratio_se: Floats


def stored(rows: type[Any]) -> tuple[str, ...]:
    """The fields of a struct that are columns of its table.

    >>> stored(Trades)
    ('symbol', 'id', 'ts', 'price', 'qty')
    """
    return tuple(
        column.name for column in fields(rows) if UNSTORED not in getattr(column.type, "__metadata__", ())
    )


@dataclass(frozen=True, slots=True)
class Trades:
    """A batch of one source partition's trades, each symbol in id order, each id once.

    All arrays have shape (n,) but `watermark`, which has one entry per symbol of the universe.
    """

    symbol: Codes  # index into the universe of symbols
    id: Longs
    ts: Longs  # µs since the epoch, UTC
    price: Floats
    qty: Floats
    # True: the taker sold; or as int8, with UNKNOWN where nothing says it
    is_buyer_maker: Annotated[Flags | Sides, UNSTORED]
    count: Annotated[Longs, UNSTORED]  # trades in this row: 1, or those of an aggregate trade
    after_hole: Annotated[Flags, UNSTORED]  # the ids right before this trade were not seen and never will be
    # (symbols,) no trade of the symbol before this time is still to come; NEVER where unknown
    watermark: Annotated[Longs, UNSTORED]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars of one or more timeframes, each symbol and timeframe in time order without holes; some may
    have come before (bars.py).

    All arrays have shape (n,) but `watermark` (symbols,).
    """

    symbol: Codes
    timeframe: Longs  # µs
    ts: Longs  # opening time, µs since the epoch
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats  # in the base asset
    quote_volume: Floats  # Σ price · quantity, in the quote asset
    trades: Longs
    buy_volume: Floats  # volume of trades whose taker bought
    complete: Flags  # every trade of the bar was seen
    # (symbols,) every bar of the symbol that ends at or before this time is closed
    watermark: Annotated[Longs, UNSTORED]
    stage: Annotated[int, UNSTORED] = LIVE

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, chosen: Flags) -> "Bars":
        """The chosen rows."""
        columns = {
            name: getattr(self, name)[chosen] for name in Bars.__slots__ if name not in ("watermark", "stage")
        }
        return Bars(**columns, watermark=self.watermark, stage=self.stage)
