"""A local exchange that speaks Binance's protocol: websocket streams and REST on one port, from recordings or a simulated market.

It shows only what has happened by its market clock. By default a recording begins when the first client subscribes, so that a client misses
nothing; after its end the exchange stays up, idle. Faults are injected on request: at the start, in Python through `Exchange.faults`, or at
`GET /control/…` from the same machine:

    /control/stats                           what was asked and sent so far
    /control/clock                           the market clock
    /control/begin                           begin without waiting for a client
    /control/faults?drop=0.1&rest_lag_us=…   set faults (any field of `Faults`), shows all; `reset=true` clears them first
    /control/disconnect?seconds=90           cut every connection and refuse new ones for so long
    /control/shutdown?notice_s=5             announce serverShutdown, then close
    /control/lose?symbol=…&first=…&last=…    never stream these trade ids
    /control/deny?symbol=…&first=…&last=…    never tell these ids over REST
    /control/misreport?symbol=…&interval=1m&open_us=…&field=close&value=…    one wrong kline
    /control/delist?symbol=…                 from now on unknown
    /control/mute?symbol=…                   open connections bring nothing of it any more, new ones do
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import numpy as np
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from flows.errors import UserError
from flows.feed.frames import AGG_TRADE, MICROSECONDS_FROM, STREAMS, TRADE, join
from flows.replay.recordings import Progress, symbols_in
from flows.replay.recordings import Recording as Recorded
from flows.sandbox.market import DEFAULT_SYMBOLS, Market
from flows.sandbox.tape import INTERVALS_US, Kline, Tape
from flows.venues.binance import messages
from flows.venues.binance.names import stream_name

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())

TICK_S: Final = 0.005  # how often what has happened is sent
IDLE_TICK_S: Final = 0.05
LONGEST_STEP_S: Final = 0.25  # of the clock after a pause of this process
CHUNK: Final = 2_000  # messages per step at full speed
FULL_BYTES: Final = 4 << 20  # unsent bytes of a client at which the market clock waits for it
PATIENCE_S: Final = 15.0  # for such a client, but at full speed
SHUFFLE_HOLD_S: Final = 0.2  # how long messages wait for others to be shuffled with
REMEMBERED: Final = 50_000  # requests kept for /control/stats
LIMIT: Final = 500
MOST: Final = 1_000
WEIGHTS: Final = {"ping": 1, "time": 1, "exchangeInfo": 20, "trades": 25, "historicalTrades": 25, "aggTrades": 4, "klines": 2}
BANNED_AFTER: Final = 10  # requests after a 429 that make it a 418
BAN_S: Final = 120
POLICY: Final = 1008
JUNK: Final = (
    b"",
    b"{",
    b"null",
    b"[1,2",
    b"not json",
    b"\xc3\xa9\xc3\xa9",
    b'{"e":"trade"}',
    b'{"stream":"x@trade","data":{"e":"news","s":"X"}}',
)


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


Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Amount = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


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


@dataclass(frozen=True, kw_only=True)
class Options:
    """An exchange's settings. Times with `_s` are seconds of the wall clock, those with `_us` market time in µs since the epoch."""

    paths: Sequence[Path] = ()  # recordings to play; none: a simulated market
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    seed: int = 1
    speed: float = 1.0  # of a recording: market time per wall time; 0: as fast as clients read
    since_us: int | None = None  # begin a recording here: an absolute time, or below 10**12 so much after its first trade
    begin: str = ""  # subscription | now (default: a recording and a market with history wait for the first subscription)
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


class Source(Protocol):
    """Where an exchange's trades come from."""

    tapes: dict[str, Tape]
    first_us: int

    def reach(self, now_us: int) -> None:
        """See to it that the tapes hold everything until then."""

    def advance(self, now_us: int, wall_s: float) -> int:
        """The market time after so much wall time."""

    @property
    def unpaced(self) -> bool:
        """Whether the market runs as fast as the clients read."""


class Recording:
    """Recorded trades, all in memory: about 100 bytes each."""

    def __init__(self, paths: Sequence[Path], speed: float, progress: Progress | None = None) -> None:
        look = symbols_in(paths)
        self.tapes = {symbol: Tape() for symbol in look.symbols}
        self.speed = speed if np.isfinite(speed) else 0.0
        whole = join(list(Recorded(look, look.symbols, reading=progress)), len(look.symbols))
        if whole.is_buyer_maker.dtype != np.bool_:
            raise UserError("exchange: the recordings do not say who took each trade, which every message must: add a column side")
        for code, tape in enumerate(self.tapes.values()):
            turn = np.flatnonzero(whole.symbol == code)
            turn = turn[np.unique(whole.id[turn], return_index=True)[1]]  # in id order, each once
            (tape.append if look.stream == TRADE else tape.append_aggregates)(whole.rows(turn), turn)
        self._timeline = np.sort(np.concatenate([tape.rows(look.stream)["at"] for tape in self.tapes.values()]))
        self.first_us, self.end_us = int(self._timeline[0]), int(self._timeline[-1])

    @property
    def unpaced(self) -> bool:
        return self.speed == 0

    def reach(self, now_us: int) -> None:
        pass

    def advance(self, now_us: int, wall_s: float) -> int:
        if self.speed:
            return min(self.end_us, now_us + int(wall_s * self.speed * 1e6))
        k = int(np.searchsorted(self._timeline, now_us, side="right")) + CHUNK
        return int(self._timeline[k]) if k < len(self._timeline) else self.end_us


class Simulation:
    """The simulated market: its clock runs `catch_up` times as fast until it has come to the present, and then with it."""

    unpaced = False

    def __init__(self, options: Options, wall_us: Callable[[], int]) -> None:
        self.first_us = wall_us() - int(options.history_s * 1e6) if options.start_us is None else options.start_us
        self.first_us -= self.first_us % 1_000_000
        self.tapes = {symbol: Tape() for symbol in options.symbols}
        self._market = Market(options.seed, options.symbols, self.first_us, options.rate)
        self._catch_up, self._wall_us = options.catch_up, wall_us

    def reach(self, now_us: int) -> None:
        while self._market.next_us <= now_us:
            trades = self._market.second()
            for code, tape in enumerate(self.tapes.values()):
                turn = np.flatnonzero(trades.symbol == code)
                tape.append(trades.rows(turn), turn)

    def advance(self, now_us: int, wall_s: float) -> int:
        return max(now_us, min(self._wall_us(), now_us + int(wall_s * self._catch_up * 1e6)))


class _Connection(ServerConnection):
    """A server connection that tells of each frame that comes in."""

    on_frame: Callable[[Frame], None] | None = None

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and self.on_frame is not None:
            self.on_frame(event)
        super().process_event(event)


class _Client:
    """One websocket connection: what it is subscribed to and what went wrong on its way."""

    def __init__(self, connection: _Connection, combined: bool, in_microseconds: bool, rng: random.Random) -> None:
        self.connection, self.combined, self.in_microseconds = connection, combined, in_microseconds
        self.streams: dict[str, None] = {}
        self.rng = rng
        self.incoming: deque[float] = deque()
        self.held: list[bytes] = []
        self.held_since = 0.0
        self.full_since: float | None = None

    def unsent(self) -> int:
        transport = self.connection.transport
        return transport.get_write_buffer_size() if self.connection.state is State.OPEN else 0

    def write(self, frames: bytes) -> None:
        # The library's send() costs 30 µs a message. Frames of ready bytes go straight to its transport: whole and uncompressed, they may.
        if self.connection.state is State.OPEN and not self.connection.transport.is_closing():
            self.connection.transport.write(frames)

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)


def _framed(text: bytes) -> bytes:
    """A whole text frame of a server."""
    n = len(text)
    if n < 126:
        return bytes((0x81, n)) + text
    if n < 65_536:
        return b"\x81\x7e" + n.to_bytes(2) + text
    return b"\x81\x7f" + n.to_bytes(8) + text


class _Refusal(Exception):
    """An error as Binance answers it."""

    def __init__(self, status: int, code: int, msg: str, retry_after_s: float | None = None) -> None:
        super().__init__(msg)
        self.status, self.body, self.retry_after_s = status, {"code": code, "msg": msg}, retry_after_s


class Exchange:
    """The exchange: `async with Exchange(Options(…)) as exchange: exchange.port`."""

    def __init__(self, options: Options, source: Source | None = None, wall_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self.options = options
        self.faults = msgspec.convert(msgspec.to_builtins(options.faults), Faults)  # a copy: it is changed at run time
        if source is None:
            source = Recording(options.paths, options.speed) if options.paths else Simulation(options, wall_us)
        self.source = source
        self.now_us = source.first_us - 1  # nothing has happened yet
        if options.since_us is not None:
            self.now_us = options.since_us if options.since_us > 10**12 else source.first_us + options.since_us
        self.counts: Counter[str] = Counter()
        self.connects: deque[float] = deque(maxlen=REMEMBERED)
        self.requests: deque[tuple[float, str, int]] = deque(maxlen=REMEMBERED)
        self.asked: deque[tuple[float, str, list[str]]] = deque(maxlen=REMEMBERED)  # over websockets: when, method, streams
        self._sent: dict[tuple[str, str], int] = {}
        self._clients: dict[_Connection, _Client] = {}
        self._begun = asyncio.Event()
        self._refuse_until = 0.0
        self._used, self._window_began, self._over, self._banned_until = 0, -np.inf, 0, 0.0
        self._born = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = contextlib.AsyncExitStack()
        self.port = 0

    @property
    def ws_url(self) -> str:
        return f"ws://{self.options.host}:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://{self.options.host}:{self.port}"

    async def __aenter__(self) -> "Exchange":
        quiet = logging.getLogger("flows.sandbox.exchange.websockets")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        try:
            server: Server = await serve_websockets(
                self._converse,
                self.options.host,
                self.options.port,
                process_request=self._answer,
                create_connection=_Connection,
                compression=None,
                ping_interval=None,  # an own one, whose pongs are counted
                open_timeout=None,  # a delayed answer is a fault to be injected, not one of ours
                close_timeout=1,
                server_header=None,
                logger=quiet,
            )
        except OSError as e:
            raise UserError(
                f"exchange: port {self.options.port} on {self.options.host}: {e.strerror or e}: choose another with --port"
            ) from e
        self.port = server.sockets[0].getsockname()[1]
        self.source.reach(self.now_us)
        for symbol, tape in self.source.tapes.items():
            for stream in STREAMS:
                self._sent[symbol, stream] = tape.happened(stream, self.now_us)
        waits = self.options.begin or ("subscription" if self.options.paths or self.options.history_s else "now")
        if waits == "now":
            self._begun.set()
        self._server = server
        self._start(self._play())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # the market

    async def _play(self) -> None:
        await self._begun.wait()
        last = time.monotonic()
        while True:
            now = time.monotonic()
            step, last = min(now - last, LONGEST_STEP_S), now
            waits = await self._full()
            if not waits and not self.faults.paused:
                self.now_us = self.source.advance(self.now_us, step)
                self.source.reach(self.now_us)
            self._send()
            ended = self.now_us >= getattr(self.source, "end_us", self.now_us + 1)
            if self.source.unpaced and not ended:
                await asyncio.sleep(0.001 if waits else 0)
            else:
                await asyncio.sleep(TICK_S if self._clients else IDLE_TICK_S)

    async def _full(self) -> bool:
        """Whether a client has so much before it that the market has to wait. One that does not read for long is cut off."""
        full = False
        now = time.monotonic()
        for client in list(self._clients.values()):
            if client.unsent() < FULL_BYTES:
                client.full_since = None
                continue
            full = True
            client.full_since = client.full_since or now
            if not self.source.unpaced and now - client.full_since > PATIENCE_S:
                self.counts["slow_clients_cut"] += 1
                client.connection.transport.abort()
        return full

    def _send(self) -> None:
        news: dict[str, tuple[Tape, str, str, int, int]] = {}
        for symbol, tape in self.source.tapes.items():
            for stream in STREAMS:
                upto = tape.happened(stream, self.now_us)
                begin = self._sent[symbol, stream]
                if upto > begin and symbol not in self.faults.delisted:
                    news[stream_name(symbol, stream)] = (tape, symbol, stream, begin, upto)
                self._sent[symbol, stream] = upto
        encoded: dict[tuple[frozenset[str], bool, bool], list[bytes]] = {}
        for client in list(self._clients.values()):
            names = frozenset(name for name in news if name in client.streams)
            key = (names, client.combined, client.in_microseconds)
            if names and key not in encoded:
                encoded[key] = self._encoded([news[name] for name in news if name in names], client.combined, client.in_microseconds)
            self._push(client, encoded[key] if names else [])

    def _encoded(self, news: list[tuple[Tape, str, str, int, int]], combined: bool, in_microseconds: bool) -> list[bytes]:
        texts: list[bytes] = []
        times = []
        for tape, symbol, stream, begin, upto in news:
            rows = tape.rows(stream)
            chosen: Any = slice(begin, upto)
            lost = [ids for ids in self.faults.lost if ids.symbol == symbol]
            if lost:
                first, last = rows["first"][chosen], rows["last"][chosen]
                kept = ~np.logical_or.reduce([(last >= ids.first) & (first <= ids.last) for ids in lost])
                self.counts["lost"] += int(np.count_nonzero(~kept))
                chosen = begin + np.flatnonzero(kept)
            frames = rows.frames(chosen)
            frames = replace(frames, event_ts=frames.event_ts + self.faults.skew_us)
            if stream == TRADE:
                texts += messages.encode_trades(symbol, frames, combined, in_microseconds)
            else:
                first, last = rows["first"][chosen], rows["last"][chosen]
                texts += messages.encode_agg_trades(symbol, frames, first, last, combined=combined, in_microseconds=in_microseconds)
            times.append(np.stack([rows["turn"][chosen], rows["at"][chosen]]))
        if len(news) == 1:
            return texts
        return [texts[k] for k in np.lexsort(np.concatenate(times, axis=1)).tolist()]

    def _push(self, client: _Client, texts: list[bytes]) -> None:
        faults = self.faults
        if faults.silent:
            self.counts["silenced"] += len(texts)
            return
        if faults.drop or faults.duplicate or faults.junk or faults.half or faults.zero:
            texts = list(self._spoiled(client, texts))
        if faults.shuffle > 1 or client.held:
            client.held += texts
            now = time.monotonic()
            if len(client.held) < faults.shuffle and now - client.held_since < SHUFFLE_HOLD_S:
                return
            client.held_since = now
            places = [k + client.rng.random() * max(faults.shuffle, 1) for k in range(len(client.held))]
            texts = [client.held[k] for k in sorted(range(len(places)), key=places.__getitem__)]
            client.held = []
        if texts:
            self.counts["messages"] += len(texts)
            client.write(b"".join(map(_framed, texts)))

    def _spoiled(self, client: _Client, texts: list[bytes]) -> Iterator[bytes]:
        faults, chance = self.faults, client.rng.random
        for text in texts:
            if faults.junk and chance() < faults.junk:
                self.counts["junk"] += 1
                yield client.rng.choice(JUNK)
            if faults.drop and chance() < faults.drop:
                self.counts["dropped"] += 1
            elif faults.half and chance() < faults.half:
                self.counts["halved"] += 1
                yield text[: len(text) // 2]
            elif faults.zero and chance() < faults.zero:
                self.counts["zeroed"] += 1
                before, _, after = text.partition(b'"p":"')
                yield before + b'"p":"0.00000000' + after[after.index(b'"') :]
            else:
                yield text
                if faults.duplicate and chance() < faults.duplicate:
                    self.counts["duplicated"] += 1
                    yield text

    # websockets

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection) and connection.request is not None
        url = urlsplit(connection.request.path)
        query = dict(parse_qsl(url.query))
        combined = url.path.startswith("/stream")
        self.connects.append(time.monotonic() - self._born)
        self.counts["connects"] += 1
        rng = random.Random(self.options.seed * 1_000_003 + self.counts["connects"])
        client = _Client(connection, combined, query.get("timeUnit", "").upper() == "MICROSECOND", rng)
        streams = query.get("streams", "").split("/") if combined else unquote(url.path).removeprefix("/ws").strip("/").split("/")
        connection.on_frame = lambda frame: self._came(client, frame)
        self._clients[connection] = client
        company = [asyncio.create_task(self._ping(client)), asyncio.create_task(self._end(client))]
        try:
            await self._subscribe(client, [stream for stream in streams if stream])
            async for message in connection:
                await self._told(client, message)
        except ConnectionClosed:
            pass
        finally:
            del self._clients[connection]
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)

    def _came(self, client: _Client, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.counts["pongs"] += 1
        if frame.opcode not in (
            Opcode.TEXT,
            Opcode.PING,
        ):  # pongs, which answer our pings however often a test makes us send them, are free
            return
        self.counts["incoming"] += 1
        now = time.monotonic()
        client.incoming.append(now)
        while client.incoming[0] <= now - 1:
            client.incoming.popleft()
        if len(client.incoming) > self.options.incoming_per_s:
            self.counts["too_many_incoming"] += 1
            self._start(client.close(POLICY, "Too many requests"))

    async def _subscribe(self, client: _Client, streams: list[str]) -> None:
        client.streams |= dict.fromkeys(streams)
        if len(client.streams) > self.options.most_streams:
            await client.close(POLICY, "Too many streams")
        if sum(bool(c.streams) for c in self._clients.values()) >= self.options.audience:
            self._begun.set()

    async def _told(self, client: _Client, message: str | bytes) -> None:
        try:
            request = json.loads(message)
            method, number = request["method"], request.get("id")
            params = request.get("params") or []
        except (ValueError, KeyError, TypeError, AttributeError):
            self._reply(client, {"error": {"code": 3, "msg": "Invalid JSON: expected a request with method, params and id"}})
            return
        self.counts[str(method)] += 1
        self.asked.append((time.monotonic() - self._born, str(method), params))
        if method in ("SUBSCRIBE", "UNSUBSCRIBE") and not (isinstance(params, list) and all(isinstance(p, str) for p in params)):
            self._reply(client, {"error": {"code": 2, "msg": "Invalid request: params must be a list of streams"}, "id": number})
        elif method == "SUBSCRIBE" and self._refuses(params):
            if not self.faults.mute_refusals:
                self._reply(client, {"error": {"code": 2, "msg": "Invalid request: injected"}, "id": number})
        elif method == "SUBSCRIBE":
            self._reply(client, {"result": None, "id": number})
            await self._subscribe(client, params)
        elif method == "UNSUBSCRIBE":
            for stream in params:
                client.streams.pop(stream, None)
            self._reply(client, {"result": None, "id": number})
        elif method == "LIST_SUBSCRIPTIONS":
            self._reply(client, {"result": list(client.streams), "id": number})
        else:
            expected = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
            self._reply(client, {"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`, {expected}"}, "id": number})

    def _refuses(self, streams: list[str]) -> bool:
        faults = self.faults
        if faults.subscribe_failures:
            faults.subscribe_failures -= faults.subscribe_failures > 0
            return True
        return any(stream.partition("@")[0].upper() in faults.unstreamed for stream in streams)

    @staticmethod
    def _reply(client: _Client, reply: Any) -> None:
        client.write(_framed(_json(reply)))

    async def _ping(self, client: _Client) -> None:
        while True:
            await asyncio.sleep(self.options.ping_every_s)
            if self.faults.no_pings:
                continue
            try:
                pong = await client.connection.ping(str(time.time_ns() // 1_000_000))
                self.counts["pings"] += 1
                await asyncio.wait_for(asyncio.shield(pong), self.options.pong_within_s)
            except TimeoutError:
                self.counts["pong_timeouts"] += 1
                await client.close(POLICY, "Pong timeout")
            except ConnectionClosed:
                return

    async def _end(self, client: _Client) -> None:
        notice = min(self.options.notice_s, self.options.lifetime_s / 2)
        await asyncio.sleep(self.options.lifetime_s - notice)
        await self._shut(client, notice)

    async def _shut(self, client: _Client, notice_s: float) -> None:
        shutdown: dict[str, Any] = {"e": "serverShutdown", "E": self._exchange_us() // (1 if client.in_microseconds else 1000)}
        self._reply(client, {"stream": "!serverShutdown", "data": shutdown} if client.combined else shutdown)
        self.counts["shutdowns"] += 1
        await asyncio.sleep(notice_s)
        await client.close(1001, "serverShutdown")

    def _exchange_us(self) -> int:
        return self.now_us + self.faults.skew_us

    # faults that are acts

    def begin(self) -> None:
        """Begin without waiting for a subscription."""
        self._begun.set()

    def disconnect(self, seconds: float = 0.0) -> None:
        """Cut every connection and refuse new ones for so long."""
        self._refuse_until = time.monotonic() + seconds
        for client in self._clients.values():
            self.counts["cut"] += 1
            client.connection.transport.abort()

    def shutdown(self, notice_s: float = 1.0) -> None:
        """Announce serverShutdown to every connection, and close it after the notice."""
        for client in self._clients.values():
            self._start(self._shut(client, notice_s))

    def mute(self, symbol: str) -> None:
        """Let the symbol's streams fall silent on the connections that are open."""
        for client in self._clients.values():
            for stream in STREAMS:
                client.streams.pop(stream_name(symbol, stream), None)

    def stats(self) -> dict[str, Any]:
        """What was asked and sent. Times are seconds since the exchange was made."""
        return {
            "counts": dict(self.counts),
            "connects": list(self.connects),
            "requests": list(self.requests),
            "connected": len(self._clients),
            "streams": sum(len(client.streams) for client in self._clients.values()),
            "used_weight": self._used,
        } | self.clock()

    def clock(self) -> dict[str, Any]:
        """The market clock; `ended` when a recording has been played and everything sent."""
        ended = self.now_us >= getattr(self.source, "end_us", self.now_us + 1) and not any(
            c.unsent() or c.held for c in self._clients.values()
        )
        return {"now_us": self.now_us, "first_us": self.source.first_us, "begun": self._begun.is_set(), "ended": ended}

    # HTTP

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        path = url.path.rstrip("/")
        if path in ("/ws", "/stream") or path.startswith("/ws/"):
            await asyncio.sleep(self.faults.handshake_delay_s)
            if self.faults.ws_status or time.monotonic() < self._refuse_until:
                self.counts["refused"] += 1
                self.connects.append(time.monotonic() - self._born)
                return _response(self.faults.ws_status or HTTPStatus.SERVICE_UNAVAILABLE, {"code": 0, "msg": "refused"})
            return None
        if path.startswith("/control/"):
            return self._control(connection, path.removeprefix("/control/"), query)
        came = time.monotonic() - self._born
        headers = Headers()
        try:
            endpoint = path.removeprefix("/api/v3/")
            if endpoint == path or endpoint not in WEIGHTS:
                raise _Refusal(HTTPStatus.NOT_FOUND, -1, f"{path}: no such path")
            self._spend(endpoint)
            await asyncio.sleep(self.faults.rest_delay_s)
            in_microseconds = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
            response = _response(HTTPStatus.OK, getattr(self, f"_get_{endpoint}")(query, in_microseconds), headers)
        except _Refusal as refusal:
            if refusal.retry_after_s is not None:
                headers["Retry-After"] = str(max(1, int(np.ceil(refusal.retry_after_s))))
            response = _response(refusal.status, refusal.body, headers)
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = str(self._used)
        self.counts[f"http_{response.status_code}"] += 1
        self.requests.append((came, request.path, response.status_code))
        return response

    def _spend(self, endpoint: str) -> None:
        """Account for a request; refuse it when the budget of the window is spent, or a fault says so."""
        faults, now = self.faults, time.monotonic()
        window_s = self.options.budget_window_s
        if now - self._window_began >= window_s:
            self._used, self._window_began, self._over = 0, now, 0
        self._used += WEIGHTS[endpoint]
        if faults.rest_status and faults.rest_failures and faults.rest_endpoint in ("", endpoint):
            faults.rest_failures -= faults.rest_failures > 0
            limited = faults.rest_status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)
            raise _Refusal(faults.rest_status, -1003 if limited else -1000, "injected", faults.retry_after_s if limited else None)
        if now < self._banned_until:
            raise _Refusal(HTTPStatus.IM_A_TEAPOT, -1003, "Way too much request weight used; IP banned.", self._banned_until - now)
        if self._used > self.options.budget:
            self._over += 1
            if self._over > BANNED_AFTER:
                self._banned_until = now + BAN_S
            msg = f"Too much request weight used; current limit is {self.options.budget} request weight per 1 MINUTE."
            raise _Refusal(HTTPStatus.TOO_MANY_REQUESTS, -1003, msg, self._window_began + window_s - now)

    def _get_ping(self, _query: dict[str, str], _us: bool) -> Any:
        return {}

    def _get_time(self, _query: dict[str, str], us: bool) -> Any:
        return {"serverTime": self._exchange_us() // (1 if us else 1000)}

    def _get_exchangeInfo(self, query: dict[str, str], us: bool) -> Any:
        listed = [symbol for symbol in self.source.tapes if symbol not in self.faults.delisted]
        if "symbol" in query or "symbols" in query:
            try:
                asked = [query["symbol"]] if "symbol" in query else msgspec.json.decode(query["symbols"], type=list[str])
            except msgspec.MsgspecError:
                raise _Refusal(HTTPStatus.BAD_REQUEST, -1100, "Illegal characters found in parameter 'symbols'.") from None
            if not set(asked) <= set(listed):
                raise _Refusal(HTTPStatus.BAD_REQUEST, -1121, "Invalid symbol.")
            listed = asked
        minute = {"interval": "MINUTE", "intervalNum": 1, "limit": self.options.budget}
        return {
            "timezone": "UTC",
            "serverTime": self._exchange_us() // (1 if us else 1000),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT"} | minute],
            "exchangeFilters": [],
            "symbols": [_symbol_info(symbol) for symbol in listed],
        }

    def _tape(self, query: dict[str, str]) -> tuple[str, Tape]:
        symbol = query.get("symbol", "")
        if not symbol:
            raise _Refusal(HTTPStatus.BAD_REQUEST, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self.source.tapes or symbol in self.faults.delisted:
            raise _Refusal(HTTPStatus.BAD_REQUEST, -1121, "Invalid symbol.")
        return symbol, self.source.tapes[symbol]

    def _known(self, symbol: str, tape: Tape, stream: str, begin: int, end: int, limit: int, from_end: bool) -> Any:
        """Positions of at most `limit` rows within [begin, end) that REST tells."""
        positions = np.arange(begin, max(begin, end))
        for ids in self.faults.denied:
            if ids.symbol == symbol:
                row_ids = tape.rows(stream)["id"][positions]
                positions = positions[(row_ids < ids.first) | (row_ids > ids.last)]
        return positions[-limit:] if from_end else positions[:limit]

    def _get_trades(self, query: dict[str, str], us: bool) -> bytes:
        return self._get_historicalTrades({name: text for name, text in query.items() if name != "fromId"}, us)

    def _get_historicalTrades(self, query: dict[str, str], us: bool) -> bytes:
        symbol, tape = self._tape(query)
        limit, from_id = _limit(query), _long(query, "fromId")
        n = tape.happened(TRADE, self.now_us - self.faults.rest_lag_us)
        begin = 0 if from_id is None else int(np.searchsorted(tape.trades["id"][:n], from_id))
        # Denied rows aside, no more than a page on either side needs a look.
        begin, n = (begin, n) if self.faults.denied else (max(begin, n - limit), n) if from_id is None else (begin, min(n, begin + limit))
        return messages.encode_rest_trades(tape.trades.frames(self._known(symbol, tape, TRADE, begin, n, limit, from_id is None)), us)

    def _get_aggTrades(self, query: dict[str, str], us: bool) -> bytes:
        symbol, tape = self._tape(query)
        limit, from_id = _limit(query), _long(query, "fromId")
        start_us, end_us = _time(query, "startTime"), _time(query, "endTime")
        if from_id is not None and (start_us is not None or end_us is not None):
            raise _Refusal(HTTPStatus.BAD_REQUEST, -1128, "Combination of optional parameters invalid.")
        n = tape.happened(AGG_TRADE, self.now_us - self.faults.rest_lag_us)
        begin = 0
        if from_id is not None:
            begin = int(np.searchsorted(tape.aggs["id"][:n], from_id))
        if start_us is not None:
            begin = int(np.searchsorted(tape.aggs["at"][:n], start_us, side="left"))
        if end_us is not None:
            n = int(np.searchsorted(tape.aggs["at"][:n], end_us, side="right"))
        from_end = from_id is None and start_us is None
        chosen = self._known(symbol, tape, AGG_TRADE, begin, n, limit, from_end)
        return messages.encode_rest_agg_trades(tape.aggs.frames(chosen), tape.aggs["first"][chosen], tape.aggs["last"][chosen], us)

    def _get_klines(self, query: dict[str, str], us: bool) -> Any:
        symbol, tape = self._tape(query)
        interval = query.get("interval", "")
        if not interval:
            raise _Refusal(HTTPStatus.BAD_REQUEST, -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if interval not in INTERVALS_US:
            raise _Refusal(HTTPStatus.BAD_REQUEST, -1120, "Invalid interval.")
        start_us, end_us = _time(query, "startTime"), _time(query, "endTime")
        klines = tape.klines(interval, start_us, end_us, _limit(query), self.now_us - self.faults.rest_lag_us)
        for wrong in self.faults.misreports:
            for kline in klines:
                if (wrong.symbol, wrong.interval, wrong.open_us) == (symbol, interval, kline[0]):
                    kline[Kline.FIELDS.index(wrong.field)] = wrong.value
        return [_kline(kline, us) for kline in klines]

    def _control(self, connection: ServerConnection, act: str, query: dict[str, str]) -> Response:
        if not ipaddress.ip_address(connection.remote_address[0]).is_loopback:
            return _response(HTTPStatus.FORBIDDEN, {"error": "control is for the same machine"})
        try:
            return _response(HTTPStatus.OK, self._act(act, query))
        except (msgspec.MsgspecError, KeyError, ValueError) as e:
            return _response(HTTPStatus.BAD_REQUEST, {"error": f"{act}: {e}"})

    def _act(self, act: str, query: dict[str, str]) -> Any:
        faults = self.faults
        if act == "stats":
            return self.stats()
        if act == "begin":
            self.begin()
        elif act == "disconnect":
            self.disconnect(float(query.get("seconds", 0)))
        elif act == "shutdown":
            self.shutdown(float(query.get("notice_s", 1)))
        elif act == "lose":
            faults.lost.append(msgspec.convert(query, Ids, strict=False))
        elif act == "deny":
            faults.denied.append(msgspec.convert(query, Ids, strict=False))
        elif act == "misreport":
            faults.misreports.append(msgspec.convert(query, Misreport, strict=False))
        elif act == "delist":
            faults.delisted.append(query["symbol"])
        elif act == "mute":
            self.mute(query["symbol"])
        elif act == "faults":
            kept = {} if query.pop("reset", "") == "true" else msgspec.to_builtins(faults)
            self.faults = msgspec.convert(kept | query, Faults, strict=False)
            return msgspec.to_builtins(self.faults)
        elif act != "clock":
            raise ValueError("no such control; see the documentation of flows/sandbox/exchange.py")
        return self.clock()


def _json(message: Any) -> bytes:
    return msgspec.json.encode(message)


def _response(status: int, body: Any, headers: Headers | None = None) -> Response:
    content = body if isinstance(body, bytes) else _json(body)
    headers = Headers() if headers is None else headers
    headers["Content-Type"] = "application/json;charset=UTF-8"
    headers["Content-Length"] = str(len(content))
    headers["Connection"] = "close"
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return Response(int(status), reason, headers, content)


def _long(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise _Refusal(HTTPStatus.BAD_REQUEST, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _limit(query: dict[str, str]) -> int:
    limit = _long(query, "limit")
    return LIMIT if limit is None else max(1, min(limit, MOST))


def _time(query: dict[str, str], name: str) -> int | None:
    time = _long(query, name)
    return time * 1000 if time is not None and time < MICROSECONDS_FROM else time


def _kline(k: Kline, us: bool) -> list[Any]:
    scale = 1 if us else 1000
    prices = [f"{price:.8f}" for price in k[1:6]]
    return [int(k[0]) // scale, *prices, int(k[6]) // scale, f"{k[7]:.8f}", int(k[8]), f"{k[9]:.8f}", f"{k[10]:.8f}", "0"]


def _symbol_info(symbol: str) -> dict[str, Any]:
    quote = next(
        (q for q in ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR") if symbol.endswith(q) and symbol != q), symbol[-3:]
    )
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix(quote),
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.00000001", "maxPrice": "10000000.00000000", "tickSize": "0.00000001"},
            {"filterType": "LOT_SIZE", "minQty": "0.00000001", "maxQty": "9000000.00000000", "stepSize": "0.00000001"},
        ],
        "permissions": ["SPOT"],
    }


class Background:
    """An exchange on a thread of its own, for callers without an event loop."""

    def __init__(self, options: Options, source: Source | None = None) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(options, source)), name="exchange", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    async def _run(self, options: Options, source: Source | None) -> None:
        try:
            async with Exchange(options, source) as self.exchange:
                self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
                self._ready.set()
                await self._stop.wait()
        except BaseException as e:
            self._error = e
            self._ready.set()

    @property
    def port(self) -> int:
        return self.exchange.port

    @property
    def ws_url(self) -> str:
        return self.exchange.ws_url

    @property
    def rest_url(self) -> str:
        return self.exchange.rest_url

    def call(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do something on the exchange's own thread, such as `call(exchange.disconnect, 1.5)`, and wait for it."""

        async def done() -> Any:
            return act(*args)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    def control(self, act: str, **query: Any) -> Any:
        """The same as GET /control/<act>?<query>."""
        return self.call(
            self.exchange._act, act, {name: str(value).lower() if value is True else str(value) for name, value in query.items()}
        )

    def stats(self) -> dict[str, Any]:
        return self.call(self.exchange.stats)

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@contextlib.contextmanager
def background(source: Source | None = None, **options: Any) -> Iterator[Background]:
    """An exchange on a thread of its own for the length of the block; the keywords are those of `Options`."""
    running = Background(Options(**options), source)
    try:
        yield running
    finally:
        running.stop()


def serve(options: Options, say: Callable[[str], None] = print) -> None:
    """Run until SIGINT or SIGTERM."""
    asyncio.run(_serve(options, say))


async def _serve(options: Options, say: Callable[[str], None]) -> None:
    if options.paths:
        say(f"exchange: reading {', '.join(path.name for path in options.paths)}")
    exchange = Exchange(options)  # may take long; until here a signal interrupts, from here on it stops
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with exchange:
        symbols = list(exchange.source.tapes)
        at = np.datetime64(exchange.source.first_us, "us").astype("datetime64[s]")
        if options.paths:
            pace = "as fast as it is read" if exchange.source.unpaced else f"at {options.speed:g} times its speed"
            say(f"exchange: plays {', '.join(symbols)} from {at} UTC {pace}, from the first subscription on")
        else:
            say(f"exchange: simulates {', '.join(symbols)} from {at} UTC, seed {options.seed}")
        say(f"exchange: websocket {exchange.ws_url}/stream   REST {exchange.rest_url}/api/v3   control {exchange.rest_url}/control/stats")
        say(f"in pipeline.yaml:\n    source:\n      ws_url: {exchange.ws_url}\n      rest_url: {exchange.rest_url}\nCtrl-C stops it.")
        await stop.wait()
    say("exchange: stopped")
