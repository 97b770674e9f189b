"""The batch that every source, live or recorded, hands to the dataflow."""

from dataclasses import dataclass
from typing import Final

from flows.database.columns import Rows
from operators.columns import Bars, Trades

WAIT_S: Final = 0.05  # next_batch waits so long for the first message


@dataclass(frozen=True, slots=True)
class Feed:
    """What a source partition gives at a time: trades, and rows about itself."""

    trades: Trades
    gaps: Rows
    health: Rows
    bars: Bars | None = None  # closed ones of the time before the first trades
    seconds: Bars | None = None  # with the last of them: what the bars in progress are made of so far
