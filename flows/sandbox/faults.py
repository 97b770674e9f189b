"""What can go wrong at the local exchange."""

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Amount = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Ids(msgspec.Struct, frozen=True):
    symbol: str
    first: int
    last: int


class Misreport(msgspec.Struct, frozen=True):
    symbol: str
    interval: str
    open_us: int
    field: str  # of flows.sandbox.tape.Kline.FIELDS
    value: float


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong. Probabilities are per message and connection, drawn from the exchange's seed."""

    drop: Share = 0.0  # messages never sent
    duplicate: Share = 0.0  # messages sent twice
    shuffle: Count = 0  # messages change places within so many
    junk: Share = 0.0  # messages preceded by one that is none
    half: Share = 0.0  # messages of which only the first half comes
    zero: Share = 0.0  # messages whose price is 0
    silent: bool = False  # connections stay open, but nothing comes
    paused: bool = False  # the market clock stands still
    no_pings: bool = False
    handshake_delay_s: Amount = 0.0
    ws_status: Count = 0  # connections are refused with this HTTP status (503, 451 …)
    skew_us: int = 0  # the exchange's clock: event times and /api/v3/time, not trade times
    rest_delay_s: Amount = 0.0
    rest_lag_us: Count = 0  # REST knows trades only so much market time later
    rest_status: Count = 0  # what the next `rest_failures` requests are answered with: 429, 418, 500 …
    rest_failures: int = -1  # -1: all of them
    rest_endpoint: str = ""  # only those to this one, such as historicalTrades
    subscribe_failures: int = 0  # so many SUBSCRIBE requests are refused; -1: all of them
    mute_refusals: bool = False  # what is refused gets no answer at all
    unstreamed: list[str] = []  # symbols: a SUBSCRIBE with one of them is refused
    retry_after_s: Count = 7  # the Retry-After of an injected 429 or 418
    lost: list[Ids] = []
    denied: list[Ids] = []
    misreports: list[Misreport] = []
    delisted: list[str] = []
