"""Whether a venue gives a run what it needs: every path that a run asks is asked once, before it starts."""

import math
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from flows.errors import UserError
from flows.feed.http import Limits
from flows.feed.inbox import Inbox, Subscribed
from flows.feed.proxies import Proxy, proxy_for
from flows.feed.refusals import Failed
from flows.feed.venue import Venue, VenueApi
from flows.live.socket import Stream, Timing

HELD: Final = 100_000  # messages while a socket is tried
LOOK_S: Final = 0.02
LINGER_S: Final = 0.5  # for a refusal of the streams in the address, which comes by itself


def refuse_unready(
    venue: Venue, base_url: str, symbols: Sequence[str], stream: str, limits: Limits | None = None
) -> Proxy | None:
    """Raise UserError unless the venue trades all these symbols and answers all that a run asks.

    Returns the proxy that it was asked through.
    """
    api = venue.api(base_url, limits)
    try:
        wanted = list(dict.fromkeys(symbols))
        if unknown := api.untraded(wanted):
            raise UserError(
                f"exchange: {api.base_url} does not trade {', '.join(unknown)}; correct pairs, alerts or source.symbols"
            )
        _ask_all(venue, api, wanted[0], stream)
    except Failed as error:
        raise UserError(f"exchange: {api.base_url}: {error}; {error.advice}") from None
    finally:
        api.close()
    return api.proxy


def refuse_unstreamed(venue: Venue, ws_url: str, streams: Sequence[str], within_s: float) -> Proxy | None:
    """Raise UserError unless a websocket opens and brings these streams. Returns the proxy that it went
    through.

    The socket of a run tries, for as long as it may take to send its requests and to wait for their answers.
    """
    proxy = proxy_for(ws_url)
    timing = Timing(connect_s=within_s)
    trial = _Trial(venue, ws_url, streams, Inbox(HELD), random.Random(), timing)
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
        words = self.venue.conversation()
        for entry in self.inbox.drain(0.0, HELD):
            if entry == Subscribed():
                self._open_until = time.monotonic() + LINGER_S
            elif isinstance(entry, bytes) and self._open_until < math.inf and words.answer_in(entry) is None:
                return True
        return time.monotonic() > self._open_until


def _ask_all(venue: Venue, api: VenueApi, symbol: str, stream: str) -> None:
    """Ask once what a run asks: the clock, candles, where trades begin after a time, trades from an id on."""
    now = api.clock_us()
    shortest = min(venue.candles.values())
    api.klines(symbol, shortest, now - shortest, now)
    api.first_id_from(stream, symbol, now - shortest)
    _, newest = api.trades(stream, symbol, None, 1)
    api.trades(stream, symbol, int(newest[-1]) if len(newest) else 0, 1)
