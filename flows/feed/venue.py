"""What Pairflow needs of a venue. Everything outside `flows/venues/` knows a venue by these protocols alone.

A venue is an object of three parts: facts about its websocket, the words of its protocol (`Conversation`),
and its REST interface (`VenueApi`). Names of symbols are the venue's own throughout (`BTCUSDT`, not
`BTCUSDT.usdm`); times are µs since the epoch.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flows.feed.frames import Frames
from flows.feed.http import Budget, Limits
from flows.feed.proxies import Proxy
from flows.markets import Market
from operators.candles import Candles
from operators.columns import Longs


@dataclass(frozen=True, slots=True)
class Answer:
    """A venue's answer to a request for streams, by the request's `number` (None: the answer does not say).

    `why`: the reason why the venue refuses; None: it agrees.
    """

    number: int | None
    why: str | None


class Conversation(Protocol):
    """The words on one websocket connection. A venue makes one for each connection."""

    def subscribe(self, streams: Sequence[str], number: int) -> str:
        """The message that asks for these streams."""

    def answer_in(self, message: bytes) -> Answer | None:
        """The answer that a message holds; None for any other message, above all for trades."""


class VenueApi(Protocol):
    """A venue's REST interface, for one thread. Every question raises `Failed` unless it is answered."""

    base_url: str

    @property
    def proxy(self) -> Proxy | None: ...

    @property
    def stopped(self) -> bool: ...

    def clock_us(self) -> int:
        """The venue's clock."""

    def untraded(self, symbols: Sequence[str]) -> list[str]:
        """Which of these symbols it does not trade."""

    def trades(
        self, stream: str, symbol: str, from_id: int | None, limit: int, code: int = 0, symbols: int = 1
    ) -> tuple[Frames, Longs]:
        """The symbol's trades from an id on (None: the newest ones), by id, and the ids of all that the
        answer lists, those that are no trades too. `code` is the symbol's code among so many `symbols`.
        """

    def first_id_from(self, stream: str, symbol: str, ts: int) -> int | None:
        """The id of the first trade at or after a time, known to the venue or still to come.

        None where the venue knows of no trade at all.
        """

    def klines(self, symbol: str, length: int, start: int, end: int) -> Candles:
        """The symbol's candles of a length in µs that open within [start, end), those before its first trade
        left out.
        """

    def pause(self, seconds: float) -> None:
        """Wait so long, or until `stop`."""

    def stop(self, thread: threading.Thread, within_s: float = ...) -> None:
        """End what is under way on the thread that asks; called from another one."""

    def close(self) -> None: ...


class Venue(Protocol):
    """One venue."""

    market: Market
    streams_per_connection: int
    streams_per_request: int  # in an address and in a request
    streams_in_address: bool  # whether the address of a connection can name streams
    page: int  # trades in one answer at most
    candles: Mapping[str, int]  # lengths in µs, by their words, of the candles that our bars can be made of
    candles_page: int  # candles in one answer at most

    def streams(self, symbol: str, stream: str) -> tuple[str, ...]:
        """The streams of a symbol: first that of its trades (`trade` or `aggTrade`)."""

    def symbols_of(self, streams: Sequence[str]) -> str:
        """The symbols of these streams, for a message."""

    def address(self, ws_url: str, streams: Sequence[str]) -> str:
        """Where to connect for these streams; without any, for a connection that asks for streams later."""

    def grouped(self, names: Sequence[str], most: int) -> list[tuple[str, ...]]:
        """Streams, or symbols, in groups of at most so many, each short enough for an address."""

    def conversation(self) -> Conversation: ...

    def decode(
        self, messages: Sequence[bytes], codes: Mapping[str, int], stream: str, symbols: int
    ) -> Frames:
        """The trades in messages, in their order, and counts of what is no trade. Nothing raises.

        `codes` has the codes of the venue's symbols among so many `symbols` of all venues.
        """

    def api(self, base_url: str, limits: Limits | None = None, budget: Budget | None = None) -> VenueApi: ...


def length_for(venue: Venue, timeframe: int) -> int | None:
    """The longest candle of the venue that bars of a timeframe can be made of, both in µs; None: it has none."""
    return max((us for us in venue.candles.values() if timeframe % us == 0), default=None)
