"""Binance spot as a venue."""

from collections.abc import Mapping, Sequence

from flows.feed.frames import Frames
from flows.feed.http import Budget, Limits
from flows.feed.venue import Answer
from flows.markets import BINANCE
from flows.venues.binance import names
from flows.venues.binance.answers import answer_in
from flows.venues.binance.api import INTERVALS_US, PAGE, BinanceApi
from flows.venues.binance.messages import decode


class BinanceConversation:
    """Requests carry a number, which their answers repeat."""

    def subscribe(self, streams: Sequence[str], number: int) -> str:
        listed = ",".join(f'"{name}"' for name in streams)
        return f'{{"method":"SUBSCRIBE","params":[{listed}],"id":{number}}}'

    def answer_in(self, message: bytes) -> Answer | None:
        return answer_in(message)


class Binance:
    """Spot. Trade ids are contiguous in every recording seen, though Binance does not promise it."""

    market = BINANCE
    streams_per_connection = 1_024
    streams_per_request = 200  # an address has a length limit
    streams_in_address = True
    page = PAGE
    candles: Mapping[str, int] = INTERVALS_US
    candles_page = PAGE

    def streams(self, symbol: str, stream: str) -> tuple[str, ...]:
        return (names.stream_name(symbol, stream),)

    def symbols_of(self, streams: Sequence[str]) -> str:
        return names.symbols_of(streams)

    def address(self, ws_url: str, streams: Sequence[str]) -> str:
        first = f"streams={names.escaped(streams)}&" if streams else ""
        return f"{ws_url}/stream?{first}timeUnit=MICROSECOND"

    def grouped(self, names_: Sequence[str], most: int) -> list[tuple[str, ...]]:
        return names.grouped(names_, most)

    def conversation(self) -> BinanceConversation:
        return BinanceConversation()

    def decode(
        self, messages: Sequence[bytes], codes: Mapping[str, int], stream: str, symbols: int
    ) -> Frames:
        return decode(messages, codes, stream, symbols)

    def api(self, base_url: str, limits: Limits | None = None, budget: Budget | None = None) -> BinanceApi:
        return BinanceApi(base_url, limits, budget)


VENUE = Binance()
