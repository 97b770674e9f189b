"""A market of about a minute, and an exchange with an unreliable websocket and REST API.

All is in virtual time, and all random choices come from one seed.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import numpy as np

from flows.feed.asking import Page, Request
from flows.feed.frames import Frames
from flows.feed.http import Budget, Limits
from flows.feed.refusals import BANNED, OK, TOO_MANY, Failed
from flows.live.rest import Rest
from flows.live.socket import Inbox, Stream
from flows.markets import TRADE
from flows.sandbox.messages import encode_rest_trades, encode_trades
from flows.venues.binance.api import BinanceApi
from flows.venues.binance.venue import VENUE
from operators.columns import SECOND_US
from tests.simulation.clock import START_US, Clock

MILLISECOND_US = 1_000
DENIED = 210  # missing ids of a symbol, in a few gaps. Each gap takes several requests, one after the other
OVERLAP_S = 0.5
SUBSCRIBE_S = 0.1
GARBAGE = (b"", b'{"stream":"btcusdt@tr', b"[]", b'{"e":"trade"}', b"\xff\xfe", b'{"result":null,"id":1}')


class Market:
    """Trades of all symbols in the order of their time.

    The ids of each symbol count up. Some do not exist (`denied`), others are not a trade (`void`).
    """

    def __init__(
        self,
        chance: Random,
        symbols: Sequence[str],
        seconds: float,
        denied: bool,
        void: bool,
        together_us: int,
    ) -> None:
        """Where ids do not exist, the trades on both sides are at most `together_us` apart."""
        self.symbols = tuple(symbols)
        # ts, symbol, id, price, qty, is_buyer_maker
        rows: list[tuple[int, int, int, float, float, bool]] = []
        self.first = [chance.choice((0, 1, 7, 10**9)) for _ in symbols]
        self.denied = [set[int]() for _ in symbols]
        self.void = [set[int]() for _ in symbols]
        for s in range(len(symbols)):
            quiet = s == len(symbols) - 1
            price = float(chance.choice((10, 500, 60_000)))
            times = self._times(
                chance, seconds, chance.choice((0.1, 0.4)) if quiet else chance.choice((2, 5, 10)), not quiet
            )
            id_ = self.first[s]
            for k, ts in enumerate(times):
                if (
                    denied
                    and k
                    and ts - times[k - 1] < together_us
                    and len(self.denied[s]) < DENIED
                    and chance.random() < 0.02
                ):
                    skipped = chance.choice((1, 1, 3, 200))
                    self.denied[s].update(range(id_, id_ + skipped))
                    id_ += skipped
                price = round(price * (1 + chance.gauss(0, 3e-4)), 2)
                is_void = void and k > 0 and chance.random() < 0.01
                if is_void:
                    self.void[s].add(id_)
                rows.append(
                    (
                        ts,
                        s,
                        id_,
                        0.0 if is_void else price,
                        chance.randint(1, 9_999) / 1_000,
                        chance.random() < 0.5,
                    )
                )
                id_ += 1
        rows.sort(key=lambda row: row[:3])
        ts, symbol, ids, prices, qty, maker = (np.array(column) for column in zip(*rows, strict=True))
        n = len(rows)
        self.frames = Frames(
            symbol.astype(np.int32),
            ids,
            ts,
            prices,
            qty,
            maker,
            np.ones(n, np.int64),
            ts,
            np.zeros(len(symbols), np.int64),
        )
        of = [np.flatnonzero(symbol == s) for s in range(len(symbols))]
        self.of = [self.frames.rows(rows_of) for rows_of in of]
        self.bytes: list[bytes] = [b""] * n
        self.next_ts = np.full(n, np.iinfo(np.int64).max)  # of the symbol's next trade
        for s, rows_of in enumerate(of):
            for row, frame in zip(
                rows_of.tolist(), encode_trades(symbols[s], self.of[s], in_microseconds=True), strict=True
            ):
                self.bytes[row] = frame
            self.next_ts[rows_of[:-1]] = ts[rows_of[1:]]
        self.made = {
            (self.symbols[s], id_): (ts, price, qty, "sell" if m else "buy")
            for ts, s, id_, price, qty, m in rows
            if price > 0
        }

    @staticmethod
    def _times(chance: Random, seconds: float, rate: float, bursts: bool) -> list[int]:
        times = []
        at = chance.expovariate(rate)
        while at < seconds:
            ts = START_US + int(at * 1_000) * MILLISECOND_US
            times += [ts] * (1 if not bursts or chance.random() < 0.97 else chance.randint(2, 60))
            at += chance.expovariate(rate)
        return times or [START_US + int(seconds * 500) * MILLISECOND_US]


@dataclass(slots=True)
class Weather:
    """What goes wrong between Pairflow and the exchange, and how often.

    Values are shares, times in seconds, or the mean time between two events in seconds (inf: never).
    """

    until: float = np.inf  # from then on nothing goes wrong
    loss: float = 0.0
    double: float = 0.0
    garbage: float = 0.0
    latency_s: float = 0.02
    jitter_s: float = 0.0
    reorder_s: float = 0.0
    drop_every: float = np.inf
    drop_s: float = 0.0
    silence_every: float = np.inf
    silence_s: float = 3.0  # after this time the watchdog replaces a silent connection
    stall_every: float = np.inf
    stall_s: float = 0.0
    shutdown_every: float = np.inf
    rest_s: float = 0.05
    lag_s: float = 0.0  # how late REST knows a trade
    failure: float = 0.0
    refusal: float = 0.0
    outage_every: float = np.inf  # REST is not reachable
    outage_s: float = 0.0


class Exchange:
    """Sends each trade to all open links at its time, and lists those that its database has on request."""

    def __init__(
        self,
        clock: Clock,
        chance: Random,
        market: Market,
        weather: Weather,
        lossy_us: int,
        crash: Callable[[str], None],
    ) -> None:
        """A message is lost only if the symbol's next message follows within `lossy_us`.

        Otherwise nothing could show the loss in time.
        """
        self.clock, self.chance, self.market, self.weather, self.lossy_us, self.crash = (
            clock,
            chance,
            market,
            weather,
            lossy_us,
            crash,
        )
        self.links: list[Link] = []
        self.banned_until = -np.inf
        self._unreachable_until = self._outage_until = -np.inf
        for row, ts in enumerate(market.frames.ts.tolist()):
            clock.at((ts - START_US) / SECOND_US, partial(self._tell, row))
        self._plan(weather.drop_every, self._drop)
        self._plan(weather.silence_every, self._fall_silent)
        self._plan(weather.stall_every, self._stall)
        self._plan(weather.shutdown_every, self._shut_down)
        self._plan(weather.outage_every, self._outage)

    @property
    def calm(self) -> bool:
        return self.clock.now >= self.weather.until

    @property
    def reachable(self) -> bool:
        return self.clock.now >= self._unreachable_until

    def _plan(self, every: float, fault: Callable[[], None]) -> None:
        at = self.chance.expovariate(1 / every) if every < np.inf else np.inf
        while at < self.weather.until:
            self.clock.at(at, fault)
            at += self.chance.expovariate(1 / every)

    def _tell(self, row: int) -> None:
        for link in self.links:
            link.send(row)

    # faults

    def _drop(self) -> None:
        seconds = self.chance.uniform(0, self.weather.drop_s)
        self._unreachable_until = min(self.clock.now + seconds, self.weather.until)
        self.clock.note(f"socket drops, back in {seconds:.1f} s")
        for link in list(self.links):
            link.close()

    def _fall_silent(self) -> None:
        self.clock.note("socket falls silent")
        for link in self.links:
            link.silent = True
            self.clock.after(self.weather.silence_s, link.close)

    def _stall(self) -> None:
        seconds = self.chance.uniform(0, self.weather.stall_s)
        self.clock.note(f"socket stalls for {seconds:.1f} s")
        for link in self.links:
            link.stalled_until = max(link.stalled_until, self.clock.now + seconds)

    def _shut_down(self) -> None:
        self.clock.note("serverShutdown")
        for link in self.links:
            link.arrive(b'{"e":"serverShutdown","E":1}')
            link.silent |= (
                self.chance.random() < 0.4
            )  # from now on, so the next connection must not rely on this one
            self.clock.after(self.chance.uniform(0.1, 8), link.close)

    def _outage(self) -> None:
        seconds = self.chance.uniform(0, self.weather.outage_s)
        self._outage_until = min(self.clock.now + seconds, self.weather.until)
        self.clock.note(f"REST away for {seconds:.1f} s")

    # REST

    def get(self, budget: Budget, path: str, query: Mapping[str, str]) -> bytes:
        assert path == "/api/v3/historicalTrades"
        weather, now = self.weather, self.clock.now
        assert now >= self.banned_until, "asked before Retry-After"
        if not self.calm:
            if now < self._outage_until or self.chance.random() < weather.failure:
                raise Failed(self.chance.choice(("no answer in time", "HTTP 502", "connection refused")))
            if self.chance.random() < weather.refusal:
                status, seconds = self.chance.choice((TOO_MANY, BANNED)), self.chance.randint(1, 4)
                budget.heed(status, {"Retry-After": str(seconds)}, False)
                self.banned_until = now + seconds
                self.clock.note(f"REST: HTTP {status}, Retry-After: {seconds}")
                raise Failed(f"HTTP {status}")
        budget.heed(OK, {}, False)
        s = self.market.symbols.index(query["symbol"])
        told = self.market.of[s]
        known = self.clock.market_us() - int(
            (0.0 if self.calm else self.chance.uniform(0, weather.lag_s)) * SECOND_US
        )
        start = int(np.searchsorted(told.id, int(query["fromId"])))
        end = min(int(np.searchsorted(told.ts, known, side="right")), start + int(query["limit"]))
        return encode_rest_trades(told.rows(slice(start, max(end, start))), in_microseconds=True)


class Flag:
    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


@dataclass(slots=True, eq=False)
class Link:
    """One connection to the exchange."""

    exchange: Exchange
    socket: "Socket"
    alive: bool = True
    silent: bool = False
    stalled_until: float = 0.0
    ready: Flag = field(default_factory=Flag)
    sure_ts: list[int] = field(
        default_factory=list
    )  # by symbol: the time of the last trade that was not lost
    newest: float = 0.0  # when the last message sent so far arrives

    def __post_init__(self) -> None:
        self.sure_ts = [self.exchange.clock.market_us()] * len(self.exchange.market.symbols)

    def send(self, row: int) -> None:
        exchange, market = self.exchange, self.exchange.market
        weather, chance = exchange.weather, exchange.chance
        s = int(market.frames.symbol[row])
        body = market.bytes[row]
        times = 1
        if not exchange.calm:
            if (
                int(market.next_ts[row]) - self.sure_ts[s] < exchange.lossy_us
                and chance.random() < weather.loss
            ):
                times = 0
            elif chance.random() < weather.double:
                times = chance.choice((2, 2, 3))
            if chance.random() < weather.garbage:
                self._later(chance.choice(GARBAGE))
        if times and market.frames.price[row] > 0:
            self.sure_ts[s] = int(market.frames.ts[row])
        for _ in range(times):
            self._later(body)

    def _later(self, body: bytes) -> None:
        exchange = self.exchange
        weather, chance = exchange.weather, exchange.chance
        arrival = exchange.clock.now + weather.latency_s + chance.random() * weather.jitter_s
        if exchange.calm or not weather.reorder_s or chance.random() < 0.7:
            arrival = self.newest = max(arrival, self.newest)
        else:
            arrival += chance.random() * weather.reorder_s
        exchange.clock.at(arrival, partial(self.arrive, body))

    def arrive(self, body: bytes) -> None:
        clock = self.exchange.clock
        if not self.alive or self.silent:
            return
        if clock.now < self.stalled_until:
            clock.at(self.stalled_until, partial(self.arrive, body))
            return
        self.socket.inbox.put(body)
        if self.socket.inbox.full:
            clock.note("the inbox is full: hanging up")
            self.close()

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self.exchange.links.remove(self)
            self.socket.lost(self)


class Socket(Stream):
    """The stream without sockets and threads. It reports its links to the inbox with the real code."""

    def __init__(self, exchange: Exchange, inbox: Inbox) -> None:
        self._exchange, self.inbox = exchange, inbox
        self._links: list[Any] = []
        self._again = self._renewing = False
        self._alive = True

    def start(self) -> None:
        self._exchange.clock.after(self._exchange.chance.uniform(0.05, 0.5), self._open)

    def stop(self) -> None:
        """The process ends or has ended."""
        self._alive = False
        for link in self._links:
            link.alive = False
            self._exchange.links.remove(link)

    def renew(self) -> None:
        if not self._renewing:
            self._renewing = True
            self._exchange.clock.after(self._exchange.chance.uniform(0.05, 4), self._open)

    def lost(self, link: Link) -> None:
        """A link was closed, by either side."""
        self.closed(link)
        if not self._links:
            self._reopen()

    def _reopen(self) -> None:
        self._exchange.clock.after(self._exchange.chance.uniform(0.1, 1), self._open)

    def _open(self) -> None:
        exchange = self._exchange
        if not self._alive or (self._links and not self._renewing):
            return
        if not exchange.reachable or len(self.inbox) > self.inbox.limit // 2:
            self._reopen()
            return
        old = list(self._links)
        link = Link(exchange, self)
        exchange.links.append(link)
        self.opened(link)
        exchange.clock.after(
            0.0 if old else exchange.chance.uniform(0, SUBSCRIBE_S), partial(self._stream, link, old)
        )

    def _stream(self, link: Link, old: list[Link]) -> None:
        self._renewing = False
        if link.alive and self._alive:
            self.subscribed(link)
            for each in old:
                self._exchange.clock.after(OVERLAP_S, each.close)


class SimulatedApi(BinanceApi):
    """Binance's REST without HTTP."""

    def __init__(self, exchange: Exchange, budget: Budget) -> None:
        self._exchange, self._budget = exchange, budget

    def get(self, path: str, query: Mapping[str, str], weight: int) -> bytes:
        return self._exchange.get(self._budget, path, query)


class SimulatedRest(Rest):
    """REST without HTTP and threads: one request at a time.

    The real code makes the requests and processes the answers.
    """

    def __init__(
        self, exchange: Exchange, symbols: Sequence[str], answer: Callable[[Request, Page | None], None]
    ) -> None:
        self._exchange, self._symbols, self._answer, self._stream = exchange, tuple(symbols), answer, TRADE
        self._budget = Budget(Limits(), lambda: exchange.clock.now)
        self._venue, self._api = VENUE, SimulatedApi(exchange, self._budget)
        self._queue: deque[Request] = deque()
        self._busy = False
        self._alive = True

    def start(self) -> None:
        # A new process does not know of a ban, and learns of it from its first answer.
        self._exchange.banned_until = -np.inf

    def stop(self) -> None:
        self._alive = False

    def ask(self, request: Request) -> None:
        self._queue.append(request)
        self._next()

    def _next(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            self._exchange.clock.after(self._budget.wait_s() + self._delay_s(), self._serve)

    def _delay_s(self) -> float:
        return self._exchange.chance.uniform(0, self._exchange.weather.rest_s)

    def _serve(self) -> None:
        if not self._alive:
            return
        request = self._queue.popleft()
        page = None
        try:
            page = self._page(request)
        except Failed as error:
            self._exchange.clock.note(f"REST {request.symbol} from {request.from_id}: {error}")
        else:
            self._exchange.clock.note(f"REST {request.symbol} from {request.from_id}: {len(page.ids)} ids")
        self._exchange.clock.after(self._delay_s(), partial(self._give, request, page))

    def _give(self, request: Request, page: Page | None) -> None:
        if self._alive:
            self._busy = False
            self._answer(request, page)
            self._next()
            self._exchange.crash("told")


def first_ids(text: str) -> dict[str, int]:
    return {symbol: first_id for symbol, (first_id, *_) in json.loads(text).items()}
