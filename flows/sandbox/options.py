"""The settings of a local exchange."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.sandbox.faults import Faults
from flows.sandbox.market import DEFAULT_SYMBOLS


@dataclass(frozen=True, kw_only=True)
class Options:
    """An exchange's settings. Times with `_s` are seconds of the wall clock, those with `_us` market time in
    µs since the epoch.
    """

    paths: Sequence[Path] = ()  # recordings to play; none: a simulated market
    venue: str = "binance"  # whose protocol it speaks
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    seed: int = 1
    speed: float = 1.0  # of a recording: market time per wall time; 0: as fast as clients read
    # begin a recording here: an absolute time, or below 10**12 so much after its first trade
    since_us: int | None = None
    # subscription | now (default: a recording and a market with history wait for the first subscription)
    begin: str = ""
    audience: int = 1  # subscribed connections that "subscription" waits for
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS  # of the simulated market
    rate: float = 40.0  # simulated trades a second and symbol, on average
    start_us: int | None = None  # when the simulated market begins (default: `history_s` ago)
    history_s: float = 0.0
    catch_up: float = 90.0  # market time per wall time until the simulated market has come to the present
    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    lifetime_s: float = 86_400.0
    notice_s: float = 600.0  # serverShutdown before the end of a connection's lifetime
    budget: int = 6_000  # request weight per `budget_window_s`
    budget_window_s: float = 60.0
    incoming_per_s: int = 5
    most_streams: int = 1_024
    faults: Faults = field(default_factory=Faults)
