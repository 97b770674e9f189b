"""The columns that flow between operators: structs of numpy arrays with one row per trade, bar or pair.

Fields marked `UNSTORED` are for operators only. Every other field is a column of the database table that
holds these rows.
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

UNKNOWN = -1  # the taker's side is not known
# no watermark yet, no open episode, or a count that is NULL
NEVER = np.iinfo(np.int64).min
LATEST = np.iinfo(np.int64).max  # the start value of a search for the earliest time
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 1440 * MINUTE_US
# The stage of a batch of bars. LIVE: new bars. The others are history from before the first live bar.
# WARMING: the bars only fill windows and nothing is measured on them. WARM: the windows are full.
# RESUMED: the windows are full, and the rows measured on these bars are in the database already.
LIVE, WARMING, WARM, RESUMED = range(4)


class Line(NamedTuple):
    """y = intercept + hedge_ratio·x, with its r². Shapes (K,); NaN where undefined."""

    hedge_ratio: Floats
    intercept: Floats
    r2: Floats


class LineWithError(NamedTuple):
    """A line, and the standard error of its slope. Shapes (K,); NaN where undefined."""

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
    """A batch of trades of one source partition: each symbol in id order, each id once.

    All arrays have shape (n,), except `watermark`, which has one entry per symbol of the universe.
    """

    symbol: Codes  # index into the universe of symbols
    id: Longs
    ts: Longs  # µs since the epoch, UTC
    price: Floats
    qty: Floats
    # True: the taker sold. As int8 it may also be UNKNOWN
    is_buyer_maker: Annotated[Flags | Sides, UNSTORED]
    count: Annotated[Longs, UNSTORED]  # trades in this row: 1, or the number in an aggregate trade
    after_hole: Annotated[Flags, UNSTORED]  # the ids right before this trade are missing for good
    # (symbols,) no trade of the symbol before this time will follow; NEVER where unknown
    watermark: Annotated[Longs, UNSTORED]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars of one or more timeframes: each symbol and timeframe in time order without holes.

    A bar may replace one that came before (see bars.py). All arrays have shape (n,), except `watermark`
    (symbols,).
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
    buy_volume: Floats  # volume of the trades whose taker bought
    complete: Flags  # every trade of the bar was seen
    # (symbols,) all bars of the symbol that end at or before this time are closed
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
