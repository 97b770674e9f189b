"""Whether the exchange gives a run what it needs: every path that a run asks is asked once, before it starts."""

import math
import random
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from flows.errors import UserError
from flows.feed.inbox import Inbox, Subscribed
from flows.feed.proxies import Proxy, proxy_for
from flows.venues.binance.klines import INTERVALS_US, first_aggregate_from, klines, server_time_us
from flows.venues.binance.names import grouped
from flows.venues.binance.refusals import BAD_REQUEST, Failed, Refused, of_another_kind
from flows.venues.binance.rest import Api, Limits, trades_from
from flows.venues.binance.stream import Stream, Timing
from flows.venues.binance.subscriptions import TRADES

EXCHANGE_INFO: Final = "/api/v3/exchangeInfo"
EXCHANGE_INFO_WEIGHT: Final = 20
HELD: Final = 100_000  # messages while a socket is tried
LOOK_S: Final = 0.02
LINGER_S: Final = 0.5  # for a refusal of the streams in the address, which comes by itself
MOST: Final = 100  # symbols of one request
SHORTEST: Final = min(INTERVALS_US, key=INTERVALS_US.__getitem__)  # the candles that every run asks for


def refuse_unready(
    base_url: str, symbols: Sequence[str], stream: str, limits: Limits | None = None
) -> Proxy | None:
    """Raise UserError unless the exchange trades all these symbols and answers all that a run asks.

    Returns the proxy that it was asked through.
    """
    api = Api(base_url, limits)
    try:
        wanted = list(dict.fromkeys(symbols))
        unknown = [symbol for group in grouped(wanted, MOST) for symbol in _untraded(api, group)]
        if unknown:
            raise UserError(
                f"exchange: {api.base_url} does not trade {', '.join(unknown)}; correct pairs, alerts or source.symbols"
            )
        _ask_all(api, wanted[0], stream)
    except Failed as error:
        raise UserError(f"exchange: {api.base_url}: {error}; {error.advice}") from None
    finally:
        api.close()
    return api.proxy


def refuse_unstreamed(ws_url: str, streams: Sequence[str], within_s: float) -> Proxy | None:
    """Raise UserError unless a websocket opens and brings these streams. Returns the proxy that it went
    through.

    The socket of a run tries, for as long as it may take to send its requests and to wait for their answers.
    """
    proxy = proxy_for(ws_url)
    timing = Timing(connect_s=within_s)
    trial = _Trial(ws_url, streams, Inbox(HELD), random.Random(), timing)
    requests = len(trial.requests) - 1
    until = (
        time.monotonic()
        + 2 * within_s
        + requests * timing.subscribe_s
        + (timing.answers.answer_s if requests else 0.0)
    )
    trial.start()
    try:
        while not trial.complaints and not trial.streams():
            if time.monotonic() > until:
                trial.complain("it opens, but brings nothing and says nothing", "")
            time.sleep(LOOK_S)
    finally:
        trial.stop()
    if trial.complaints:
        raise UserError(
            f"source.ws_url: {ws_url}: {trial.complaints[0]}; check the network, or correct source.ws_url"
        )
    return proxy


class _Trial(Stream):
    """A stream whose first complaint decides."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.complaints: list[str] = []
        self._open_until = math.inf

    def complain(self, why: str, then: str) -> None:
        self.complaints.append(why)

    def streams(self) -> bool:
        """Whether the streams come: some did, or for a while nothing was said against those in the address."""
        for entry in self.inbox.drain(0.0, HELD):
            if entry == Subscribed():
                self._open_until = time.monotonic() + LINGER_S
            elif isinstance(entry, bytes) and entry.startswith(TRADES) and self._open_until < math.inf:
                return True
        return time.monotonic() > self._open_until


def _ask_all(api: Api, symbol: str, stream: str) -> None:
    """Ask once what a run asks: the clock, candles, where trades begin after a time, trades from an id on."""
    now_us = server_time_us(api)
    interval_us = INTERVALS_US[SHORTEST]
    klines(api, symbol, interval_us, now_us - interval_us, now_us)
    first_aggregate_from(api, symbol, now_us - interval_us)
    _, newest = trades_from(api, stream, symbol, None, 1)
    trades_from(api, stream, symbol, int(newest[-1]) if len(newest) else 0, 1)


def _untraded(api: Api, symbols: Sequence[str]) -> list[str]:
    """Which of these symbols the exchange does not trade: one request when it knows them all, else halves."""
    query = (
        {"symbol": symbols[0]} if len(symbols) == 1 else {"symbols": msgspec.json.encode(symbols).decode()}
    )
    try:
        body = api.get(EXCHANGE_INFO, query, EXCHANGE_INFO_WEIGHT)
    except Refused as error:
        if error.status != BAD_REQUEST:
            raise
        if len(symbols) == 1:
            return list(symbols)
        half = len(symbols) // 2
        return _untraded(api, symbols[:half]) + _untraded(api, symbols[half:])
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
        listed = {entry["symbol"]: entry["status"] for entry in answer["symbols"]}
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        raise of_another_kind(EXCHANGE_INFO, body, "list of symbols") from None
    return [symbol for symbol in symbols if listed.get(symbol) != "TRADING"]
