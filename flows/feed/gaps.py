"""What is missing in the ids of a symbol: a `Hole` while it is open, a `Gap` once it is in the ledger."""

from dataclasses import dataclass
from typing import Final

# `last` of a symbol without any id so far. Not -1: that is `last` of a symbol that begins with the id 0, as a
# new listing does.
NONE: Final = -2
LOST, DISCONNECT, RESTART, RECORDING = "lost", "disconnect", "restart", "recording"
CAUSES: Final = (LOST, DISCONNECT, RESTART, RECORDING)
OPEN, FILLED, UNFILLABLE = "open", "filled", "unfillable"
STATUSES: Final = (OPEN, FILLED, UNFILLABLE)


@dataclass(frozen=True, slots=True)
class Gap:
    """A line of the ledger. The caller adds `filled_at`, because it has a clock."""

    # Time of the trade before the gap, µs since the epoch.
    ts: int
    # Code of the symbol.
    symbol: int
    # The missing ids, both ends included.
    first_id: int
    last_id: int
    # One of CAUSES.
    cause: str
    # One of STATUSES.
    status: str
    # Filled: how many trades the exchange had. Else: how many ids are missing.
    trades: int


@dataclass(slots=True)
class Hole:
    """Ids that the socket did not bring, or may not have brought."""

    # The first id that may be missing.
    first_id: int
    # The last one. None after a connect, until the first message shows where the hole ends, if there is one.
    last_id: int | None
    # Time of the trade before the hole, µs since the epoch.
    ts: int
    # One of CAUSES.
    cause: str
    # Whether the ledger already has it as open.
    shown: bool = False
    # The smallest id that the socket brought since then: the hole ends before it.
    stream_id: int | None = None
