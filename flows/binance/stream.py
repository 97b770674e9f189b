"""The exchange's websocket in a thread of its own: pongs go out, and messages come in, whatever the dataflow is busy with."""

import asyncio
import contextlib
import ipaddress
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

from flows.binance.rest import LEGAL, reason

log = logging.getLogger(__name__)

STREAMS_PER_CONNECTION: Final = 1_024
STREAMS_PER_REQUEST: Final = 200  # in the URL and in each SUBSCRIBE: addresses have a length limit
LONGEST_SILENCE: Final = 8  # times silence_s, for symbols that hardly trade
CLOSE_S: Final = 1.0  # for the exchange to answer our close


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the wall clock; tests scale them."""

    connect_s: float = 10.0
    silence_s: float = 30.0  # an open connection without a message for so long is dropped
    backoff_s: float = 0.5  # doubled for each connection that did not last, with jitter
    backoff_cap_s: float = 30.0  # a connection that lasted longer was a good one. Far below the 300 connects in 5 minutes that are allowed
    subscribe_s: float = 0.5  # between requests: 250 ms apart were closed with 1008, 500 ms apart held
    lifetime_s: float = 23.5 * 3600  # the exchange ends a connection after 24 h
    overlap_s: float = 1.0  # an old connection stays open for so long when a new one streams


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is open; `again` when it was before."""

    again: bool


@dataclass(frozen=True, slots=True)
class Subscribed:
    """All streams have been asked for: nothing is missed from now on. It comes for each connection, those that take over included."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket streams no more."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The thread has ended because of an error in this program."""

    error: BaseException


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
    """The streams of one partition, kept up: reconnects with capped backoff, drops a silent connection, opens the next before the exchange
    closes this one, and hangs up when the inbox is full. What it misses is asked for over REST.

    Messages go into the inbox as bytes, between `Connected` and `Disconnected`; `Subscribed` comes when all streams do, and again when
    those of another connection do.
    """

    def __init__(self, ws_url: str, streams: Sequence[str], inbox: Inbox, chance: random.Random, timing: Timing | None = None) -> None:
        self.ws_url, self.inbox, self.timing = ws_url.rstrip("/"), inbox, timing or Timing()
        self.requests = [tuple(streams[k : k + STREAMS_PER_REQUEST]) for k in range(0, len(streams), STREAMS_PER_REQUEST)]
        self.silences = 0  # connections in a row on which nothing came
        self._chance = chance
        self._links: list[Link] = []  # the open ones
        self._again = False
        self._loop = asyncio.new_event_loop()
        self._renewal = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the thread."""
        self._stopped = True
        self._call(lambda: self._task and self._task.cancel())
        self._thread.join(timeout=self.timing.connect_s)

    def renew(self) -> None:
        """Open another connection, and close this one when the other streams: the exchange announced to close it."""
        self._call(self._renewal.set)

    def opened(self, link: "Link") -> None:
        self._links.append(link)
        if len(self._links) == 1:
            self.inbox.put(Connected(self._again))
            self._again = True

    def subscribed(self, link: "Link") -> None:
        link.ready.set()
        self.inbox.put(Subscribed())

    def closed(self, link: "Link") -> None:
        self._links.remove(link)
        if not any(other.ready.is_set() for other in self._links):
            self.inbox.put(Disconnected())
            if self._links:
                self.inbox.put(Connected(self._again))

    def _call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            self._task = self._loop.create_task(self._keep_connected())
            if self._stopped:
                self._task.cancel()
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.inbox.put(Broken(error))
        finally:
            if remaining := asyncio.all_tasks(self._loop):
                for task in remaining:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(remaining))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            began = self._loop.time()
            why = await self._follow()
            failures = 0 if self._loop.time() - began > self.timing.backoff_cap_s else failures + 1
            if failures <= 1 or failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … failure in a row: one line each, not a flood
                log.warning("%s: %s; connecting again", self.ws_url, why)
            await self._back_off(failures)
            while len(self.inbox) > self.inbox.limit // 2:
                await asyncio.sleep(self.timing.backoff_s)

    async def _back_off(self, failures: int) -> None:
        ceiling = min(self.timing.backoff_s * 2.0 ** min(max(failures - 1, 0), 16), self.timing.backoff_cap_s)
        await asyncio.sleep(self._chance.uniform(ceiling / 2, ceiling))

    async def _follow(self) -> str:
        """Stream until there is no connection any more; returns why. One that is about to end is replaced before it does."""
        self._renewal.clear()
        link, heir = Link(self), None
        try:
            failures = hasty = 0
            began = self._loop.time()
            while await _first(link.task, self._renewal.wait(), timeout_s=self.timing.lifetime_s) is not link.task:
                self._renewal.clear()
                hasty = hasty + 1 if self._loop.time() - began < self.timing.backoff_cap_s else 0
                if hasty > 1:  # one that has just replaced another: what asks for it may go on asking
                    await self._back_off(hasty - 1)
                heir = Link(self)
                await _first(link.task, heir.task, heir.ready.wait())
                if heir.ready.is_set():
                    await _first(link.task, heir.task, timeout_s=self.timing.overlap_s)
                if link.task.done() or (heir.ready.is_set() and not heir.task.done()):
                    await link.end()
                    link, heir = heir, None
                    failures, began = 0, self._loop.time()
                else:
                    why = await heir.end()
                    failures += 1
                    if failures.bit_count() == 1:
                        log.warning("%s: %s; trying again to replace the connection", self.ws_url, why)
                    self._renewal.set()
                    await self._back_off(failures)
            return await link.task
        finally:
            for each in (link, heir):
                if each is not None:
                    await each.end()


class Link:
    """One connection."""

    def __init__(self, stream: Stream) -> None:
        self.ready = asyncio.Event()
        self._stream, self._timing = stream, stream.timing
        self._arrivals = 0
        self._ending = ""
        self._connection: ClientConnection | None = None
        self.task = asyncio.create_task(self._live())

    async def end(self) -> str:
        """Close the connection, if it is open; returns why it ended."""
        if self._connection is not None and not self.task.done():
            await self._connection.close()
        elif not self.task.done():
            self.task.cancel()
        await asyncio.wait([self.task])
        return "cancelled" if self.task.cancelled() else self.task.result()

    async def _live(self) -> str:
        """Stream until the connection ends; returns why."""
        stream = self._stream
        first, *later = stream.requests
        url = f"{stream.ws_url}/stream?streams={'/'.join(first)}&timeUnit=MICROSECOND"
        try:
            async with connect(
                url,
                ping_interval=None,  # keepalive pings are the exchange's: ours have killed healthy connections under load
                compression=None,
                open_timeout=self._timing.connect_s,
                close_timeout=CLOSE_S,
                proxy=None if _local(stream.ws_url) else True,
            ) as self._connection:
                stream.opened(self)
                try:
                    return await self._receive(self._connection, later)
                finally:
                    stream.closed(self)
        except TimeoutError:
            return f"no answer within {self._timing.connect_s:g} s"
        except websockets.ConnectionClosed as closed:
            return self._ending or f"closed by the exchange ({closed.rcvd.code if closed.rcvd else 'without a close frame'})"
        except websockets.InvalidStatus as error:
            status = error.response.status_code
            return f"HTTP {status}" + (", it does not serve this country: give source.ws_url another host" if status == LEGAL else "")
        except (OSError, websockets.WebSocketException) as error:
            return reason(error)

    async def _receive(self, connection: ClientConnection, later: Sequence[Sequence[str]]) -> str:
        inbox = self._stream.inbox
        company = [asyncio.create_task(self._watch_silence(connection)), asyncio.create_task(self._subscribe(connection, later))]
        unanswered = len(later)
        if not unanswered:
            self._stream.subscribed(self)
        try:
            while not inbox.full:
                message = await connection.recv(decode=False)
                inbox.put(message)
                self._arrivals += 1
                if unanswered and message.startswith(b'{"result"'):
                    unanswered -= 1
                    if not unanswered:
                        self._stream.subscribed(self)
        finally:
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)
        return "the dataflow is behind by more than the queue holds"

    async def _subscribe(self, connection: ClientConnection, requests: Sequence[Sequence[str]]) -> None:
        for number, streams in enumerate(requests, start=1):
            await asyncio.sleep(self._timing.subscribe_s)
            names = ",".join(f'"{name}"' for name in streams)
            await connection.send(f'{{"method":"SUBSCRIBE","params":[{names}],"id":{number}}}')

    async def _watch_silence(self, connection: ClientConnection) -> None:
        """Close a connection that is open but silent: the watchdog looks at messages, not at the socket."""
        longest = min(2**self._stream.silences, LONGEST_SILENCE)
        before = -1
        while self._arrivals != before:
            before = self._arrivals
            await asyncio.sleep(self._timing.silence_s * longest)
            if self._arrivals:
                self._stream.silences = 0
        self._stream.silences += not self._arrivals
        self._ending = f"no message for {self._timing.silence_s * longest:g} s"
        connection.transport.abort()  # a peer that is gone answers no close either


async def _first(*awaited: Any, timeout_s: float | None = None) -> asyncio.Future[Any] | None:
    """The first of these tasks or coroutines that is done, None when the time is over; the coroutines are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return next((task for task in tasks if task in done), None)
    finally:
        for task, each in zip(tasks, awaited, strict=True):
            if task is not each:
                task.cancel()


def _local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
