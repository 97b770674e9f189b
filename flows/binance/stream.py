"""The exchange's websocket in a thread of its own: pongs go out, and messages come in, whatever the dataflow is busy with."""

import asyncio
import contextlib
import itertools
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection, connect

from flows.binance.rest import reason

log = logging.getLogger(__name__)

STREAMS_PER_CONNECTION: Final = 1_024
STREAMS_PER_REQUEST: Final = 200  # in the URL and in each SUBSCRIBE: addresses have a length limit
BETWEEN_REQUESTS_S: Final = 0.5  # 250 ms apart were closed with 1008, 500 ms apart held


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the wall clock; tests scale them."""

    connect_s: float = 10.0
    silence_s: float = 30.0  # an open connection without a message for so long is dropped
    backoff_s: float = 0.5  # doubled for each failed connect, with full jitter
    backoff_cap_s: float = 30.0  # under the 300 connects in 5 minutes that the exchange allows


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket streams; `again` when it did before."""

    again: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket streams no more."""


class Inbox:
    """A bounded queue between the sockets' threads and the dataflow: cheap to put into, drained as a whole."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Any] = deque()
        self._arrived = threading.Event()
        self.limit = limit

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Any) -> None:
        self._entries.append(entry)
        if not self._arrived.is_set():
            self._arrived.set()

    @property
    def full(self) -> bool:
        return len(self._entries) >= self.limit

    def drain(self, wait_s: float, most: int) -> list[Any]:
        """Up to `most` entries, oldest first; waits at most `wait_s` for the first."""
        if not self._entries:
            self._arrived.wait(wait_s)
        self._arrived.clear()
        entries = []
        with contextlib.suppress(IndexError):
            for _ in range(most):
                entries.append(self._entries.popleft())  # noqa: PERF401 - ends at the first empty look
        return entries


class Stream:
    """One connection to the exchange, kept up: reconnects with capped backoff, drops silent connections, and stops reading when the
    inbox is full: it hangs up then, and what it missed is asked for over REST.

    Messages go into the inbox as bytes, between `Connected` and `Disconnected`.
    """

    def __init__(self, ws_url: str, streams: Sequence[str], inbox: Inbox, chance: random.Random, timing: Timing | None = None) -> None:
        self.ws_url, self.streams, self.inbox = ws_url.rstrip("/"), tuple(streams), inbox
        self._chance, self._timing = chance, timing or Timing()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._connection: ClientConnection | None = None
        self._arrivals = 0
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the thread."""
        self._call(lambda: self._task and self._task.cancel())
        self._thread.join(timeout=self._timing.connect_s)

    def renew(self) -> None:
        """Close the connection and open another, because the exchange announced to close it."""
        self._call(lambda: self._connection and self._loop.create_task(self._connection.close()))

    def _call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        self._task = self._loop.create_task(self._keep_connected())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _keep_connected(self) -> None:
        failures = 0
        for again in itertools.count():
            why, streamed = await self._connect_once(again > 0)
            failures = 0 if streamed else failures + 1
            if failures <= 1 or failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … failure in a row: one line each, not a flood
                log.warning("%s: %s; connecting again", self.ws_url, why)
            ceiling = min(self._timing.backoff_s * 2.0 ** min(failures, 16), self._timing.backoff_cap_s)
            await asyncio.sleep(self._chance.uniform(ceiling / 2, ceiling))
            while self.inbox.full:
                await asyncio.sleep(self._timing.backoff_s)

    async def _connect_once(self, again: bool) -> tuple[str, bool]:
        """Stream until the connection ends: why it did, and whether a message came."""
        first, *rest = [self.streams[i : i + STREAMS_PER_REQUEST] for i in range(0, len(self.streams), STREAMS_PER_REQUEST)]
        url = f"{self.ws_url}/stream?streams={'/'.join(first)}&timeUnit=MICROSECOND"
        self._arrivals = 0
        try:
            # keepalive pings are the exchange's: ours have killed healthy connections under load
            async with connect(
                url, ping_interval=None, compression=None, open_timeout=self._timing.connect_s, close_timeout=1.0
            ) as connection:
                self.inbox.put(Connected(again))
                try:
                    why = await self._receive(connection, rest)
                finally:
                    self.inbox.put(Disconnected())
        except TimeoutError:
            why = f"no answer within {self._timing.connect_s:g} s"
        except websockets.ConnectionClosed as closed:
            why = f"closed by the exchange ({closed.rcvd.code if closed.rcvd else 'without a close frame'})"
        except (OSError, websockets.WebSocketException) as error:
            why = reason(error)
        return why, self._arrivals > 0

    async def _receive(self, connection: ClientConnection, later: Sequence[Sequence[str]]) -> str:
        self._connection = connection
        tasks = [self._loop.create_task(self._watch_silence(connection)), self._loop.create_task(_subscribe(connection, later))]
        try:
            while not self.inbox.full:
                self.inbox.put(await connection.recv(decode=False))
                self._arrivals += 1
        except websockets.ConnectionClosedOK:
            return f"no message for {self._timing.silence_s:g} s" if tasks[0].done() else "closed by the exchange"
        finally:
            self._connection = None
            for task in tasks:
                task.cancel()
        return "the dataflow is behind by more than the queue holds"

    async def _watch_silence(self, connection: ClientConnection) -> None:
        """Close a connection that is open but silent: the watchdog looks at messages, not at the socket."""
        before = -1
        while self._arrivals != before:
            before = self._arrivals
            await asyncio.sleep(self._timing.silence_s)
        self._loop.create_task(connection.close())


async def _subscribe(connection: ClientConnection, batches: Sequence[Sequence[str]]) -> None:
    for number, streams in enumerate(batches, start=1):
        await asyncio.sleep(BETWEEN_REQUESTS_S)
        names = ",".join(f'"{stream}"' for stream in streams)
        await connection.send(f'{{"method":"SUBSCRIBE","params":[{names}],"id":{number}}}')
