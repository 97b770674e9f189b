"""A local exchange that speaks Binance's protocol: websocket streams and REST on one port, from recordings or
a simulated market.

It shows only what has happened by its market clock. By default a recording begins when the first client
subscribes, so that a client misses nothing; after its end the exchange stays up, idle. Faults are injected on
request: at the start, in Python through `Exchange.faults`, or at `GET /control/…` from the same machine:

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
import ipaddress
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.http11 import Request, Response

from flows.errors import UserError
from flows.feed.frames import STREAMS
from flows.sandbox.answers import http_response
from flows.sandbox.client import Connection
from flows.sandbox.conversations import Conversations
from flows.sandbox.faults import Faults, Ids, Misreport
from flows.sandbox.options import Options
from flows.sandbox.rest import Rest
from flows.sandbox.sources import Source
from flows.sandbox.state import State
from flows.sandbox.streams import Streams

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())

TICK_S: Final = 0.005  # how often what has happened is sent
IDLE_TICK_S: Final = 0.05
LONGEST_STEP_S: Final = 0.25  # of the clock after a pause of this process


class Exchange(State):
    """The exchange: `async with Exchange(Options(…)) as exchange: exchange.port`."""

    def __init__(
        self,
        options: Options,
        source: Source | None = None,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        super().__init__(options, source, wall_us)
        self._streams, self._conversations, self._rest = Streams(self), Conversations(self), Rest(self)
        self._refuse_until = 0.0
        self.port = 0

    @property
    def ws_url(self) -> str:
        return f"ws://{self.options.host}:{self.port}{self.venue.ws_root}"

    @property
    def rest_url(self) -> str:
        return f"http://{self.options.host}:{self.port}"

    async def __aenter__(self) -> "Exchange":
        quiet = logging.getLogger("flows.sandbox.exchange.websockets")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        try:
            server: Server = await serve_websockets(
                self._conversations.converse,
                self.options.host,
                self.options.port,
                process_request=self._answer,
                create_connection=Connection,
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
        self._streams.skip()
        waits = self.options.begin or (
            "subscription" if self.options.paths or self.options.history_s else "now"
        )
        if waits == "now":
            self.begun.set()
        self._server = server
        self.start(self._play())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()

    async def _play(self) -> None:
        await self.begun.wait()
        last = time.monotonic()
        while True:
            now = time.monotonic()
            step, last = min(now - last, LONGEST_STEP_S), now
            waits = await self._streams.full()
            if not waits and not self.faults.paused:
                self.now_us = self.source.advance(self.now_us, step)
                self.source.reach(self.now_us)
            self._streams.send()
            ended = self.now_us >= getattr(self.source, "end_us", self.now_us + 1)
            if self.source.unpaced and not ended:
                await asyncio.sleep(0.001 if waits else 0)
            else:
                await asyncio.sleep(TICK_S if self.clients else IDLE_TICK_S)

    # faults that are acts

    def begin(self) -> None:
        """Begin without waiting for a subscription."""
        self.begun.set()

    def disconnect(self, seconds: float = 0.0) -> None:
        """Cut every connection and refuse new ones for so long."""
        self._refuse_until = time.monotonic() + seconds
        for client in self.clients.values():
            self.counts["cut"] += 1
            client.connection.transport.abort()

    def shutdown(self, notice_s: float = 1.0) -> None:
        """Announce serverShutdown to every connection, and close it after the notice."""
        for client in self.clients.values():
            self.start(self._conversations.shut(client, notice_s))

    def mute(self, symbol: str) -> None:
        """Let the symbol's streams fall silent on the connections that are open."""
        for client in self.clients.values():
            for stream in STREAMS:
                client.streams.pop(self.venue.stream_name(symbol, stream), None)

    def stats(self) -> dict[str, Any]:
        """What was asked and sent. Times are seconds since the exchange was made."""
        return {
            "counts": dict(self.counts),
            "connects": list(self.connects),
            "requests": list(self.requests),
            "connected": len(self.clients),
            "streams": sum(len(client.streams) for client in self.clients.values()),
            "used_weight": self._rest.used,
        } | self.clock()

    def clock(self) -> dict[str, Any]:
        """The market clock; `ended` when a recording has been played and everything sent."""
        ended = self.now_us >= getattr(self.source, "end_us", self.now_us + 1) and not any(
            c.unsent() or c.held for c in self.clients.values()
        )
        return {
            "now_us": self.now_us,
            "first_us": self.source.first_us,
            "begun": self.begun.is_set(),
            "ended": ended,
        }

    # HTTP

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        path = url.path.rstrip("/")
        path = path.removeprefix(self.venue.ws_root)
        if path in ("/ws", "/stream") or path.startswith("/ws/"):
            await asyncio.sleep(self.faults.handshake_delay_s)
            if self.faults.ws_status or time.monotonic() < self._refuse_until:
                self.counts["refused"] += 1
                self.connects.append(time.monotonic() - self.born)
                return http_response(
                    self.faults.ws_status or HTTPStatus.SERVICE_UNAVAILABLE, {"code": 0, "msg": "refused"}
                )
            return None
        if path.startswith("/control/"):
            return self._control(connection, path.removeprefix("/control/"), query)
        return await self._rest.answer(request, path, query)

    def _control(self, connection: ServerConnection, act: str, query: dict[str, str]) -> Response:
        if not ipaddress.ip_address(connection.remote_address[0]).is_loopback:
            return http_response(HTTPStatus.FORBIDDEN, {"error": "control is for the same machine"})
        try:
            return http_response(HTTPStatus.OK, self.act(act, query))
        except (msgspec.MsgspecError, KeyError, ValueError) as e:
            return http_response(HTTPStatus.BAD_REQUEST, {"error": f"{act}: {e}"})

    def act(self, act: str, query: dict[str, str]) -> Any:
        """What `GET /control/<act>?<query>` does."""
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
