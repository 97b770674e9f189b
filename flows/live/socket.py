"""The exchange's websocket in a thread of its own: pongs go out, and messages come in, whatever the dataflow
is busy with.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection, connect

from flows.errors import UserError
from flows.feed.inbox import Broken, Connected, Disconnected, Inbox, Joined, Subscribed
from flows.feed.proxies import proxy_for, through
from flows.feed.refusals import handshake_refusal, reason
from flows.feed.venue import Answer, Venue
from flows.live.subscriptions import Outcome, Pace, Subscriptions
from flows.retrying import backoff, is_told

log = logging.getLogger(__name__)

LONGEST_SILENCE: Final = 8  # times silence_s, for symbols that hardly trade
CLOSE_S: Final = 1.0  # for the exchange to answer our close
ADDRESS_REFUSED: Final = (400, 413, 414, 431)  # HTTP statuses that may be about the streams in the address


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the wall clock; tests scale them."""

    connect_s: float = 10.0
    silence_s: float = 30.0  # an open connection without a message for so long is dropped
    backoff_s: float = 0.5  # doubled for each connection that did not last, with jitter
    # a connection that lasted longer was a good one. Far below the 300 connects in 5 minutes that are allowed
    backoff_cap_s: float = 30.0
    subscribe_s: float = 0.5  # between requests: 250 ms apart were closed with 1008, 500 ms apart held
    # to requests: how long to wait for them, and how soon to ask again after a refusal
    answers: Pace = field(default_factory=Pace)
    # streams refused for so long are tried on another connection; doubled for each that did not help
    renew_s: float = 30.0
    renew_cap_s: float = 3600.0
    lifetime_s: float = 23.5 * 3600  # the exchange ends a connection after 24 h
    overlap_s: float = 1.0  # an old connection stays open for so long when a new one streams


class Stream:
    """The streams of one partition, kept up: reconnects with capped backoff, drops a silent connection, opens
    the next before the exchange closes this one, and hangs up when the inbox is full. What it misses is asked
    for over REST.

    Messages go into the inbox as bytes, between `Connected` and `Disconnected`; `Subscribed` comes when all
    streams do but those that are refused, `Joined` when some of these do after all, and `Subscribed` again
    when the streams of another connection do.
    """

    def __init__(
        self,
        venue: Venue,
        ws_url: str,
        streams: Sequence[str],
        inbox: Inbox,
        chance: random.Random,
        timing: Timing | None = None,
    ) -> None:
        self.venue, self.ws_url, self.inbox = venue, ws_url.rstrip("/"), inbox
        self.timing = timing or Timing()
        self.requests = venue.grouped(streams, venue.streams_per_request)
        # whether the address has the first request in it; not any more after that was refused
        self.in_address = venue.streams_in_address
        self.silences = 0  # connections in a row on which nothing came
        self.renewals = 0  # in a row, because of streams that are refused
        self._refusals = 0  # of streams, in a row
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
        """Open another connection, and close this one when the other streams: the exchange announced to close
        it.
        """
        self._call(self._renewal.set)

    def opened(self, link: "Link") -> None:
        self._links.append(link)
        if len(self._links) == 1:
            self.inbox.put(Connected(self._again))
            self._again = True

    def subscribed(self, link: "Link", refused: Sequence[str] = ()) -> None:
        if not refused:
            self.renewals = self._refusals = 0
        link.ready.set()
        self.inbox.put(Subscribed(tuple(refused)))

    def complain(self, why: str, then: str) -> None:
        """Say what is wrong and what is done about it."""
        log.warning("%s: %s; %s", self.ws_url, why, then)

    def became(self, outcome: Outcome, settled: bool) -> None:
        """Say what the exchange answered about some streams: of refusals the 1st, 2nd, 4th, 8th … in a row,
        no flood.
        """
        symbols = self.venue.symbols_of(outcome.streams)
        if outcome.why is None:
            log.info("%s: streams after all: %s", self.ws_url, symbols)
            if settled:
                self.inbox.put(Joined(outcome.streams))
            return
        self._refusals += 1
        if is_told(self._refusals - 1, self._refusals):
            self.complain(f"the exchange refuses the streams of {symbols} ({outcome.why})", "asking again")

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
            try:
                why = await self._follow()
            except Exception as error:  # whatever a library or this environment comes up with: the next try may be a better one
                why = described(error)
            failures = 0 if self._loop.time() - began > self.timing.backoff_cap_s else failures + 1
            if failures == 0 or is_told(failures - 1, failures):
                self.complain(why, "connecting again")
            await self._back_off(failures)
            while len(self.inbox) > self.inbox.limit // 2:
                await asyncio.sleep(self.timing.backoff_s)

    async def _back_off(self, failures: int) -> None:
        ceiling = backoff(max(failures - 1, 0), self.timing.backoff_s, self.timing.backoff_cap_s)
        await asyncio.sleep(self._chance.uniform(ceiling / 2, ceiling))

    async def _follow(self) -> str:
        """Stream until there is no connection any more; returns why. One that is about to end is replaced
        before it does.
        """
        self._renewal.clear()
        link, heir = Link(self), None
        try:
            failures = hasty = 0
            began = self._loop.time()
            while (
                await _first(link.task, self._renewal.wait(), timeout_s=self.timing.lifetime_s)
                is not link.task
            ):
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
                    if is_told(failures - 1, failures):
                        self.complain(why, "trying again to replace the connection")
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
        self._conversation = stream.venue.conversation()
        self._in_address = stream.requests[0] if stream.in_address else ()
        self._subscriptions = Subscriptions(
            stream.requests[1:] if stream.in_address else stream.requests, self._timing.answers
        )
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
        proxy = None
        try:
            proxy = proxy_for(stream.ws_url)
            async with connect(
                self._address(),
                # keepalive pings are the exchange's: ours have killed healthy connections under load
                ping_interval=None,
                compression=None,
                open_timeout=self._timing.connect_s,
                close_timeout=CLOSE_S,
                proxy=proxy.url if proxy else None,
            ) as self._connection:
                stream.opened(self)
                try:
                    return await self._receive(self._connection)
                finally:
                    stream.closed(self)
        except TimeoutError:
            return through(proxy, f"no answer within {self._timing.connect_s:g} s")
        except websockets.ConnectionClosed as closed:
            return (
                self._ending
                or f"closed by the exchange ({closed.rcvd.code if closed.rcvd else 'without a close frame'})"
            )
        except websockets.InvalidStatus as error:
            return self._refused(error.response.status_code)
        except UserError as error:
            return str(error)
        except Exception as error:  # of a library, about this environment: nobody lists what may come
            return through(proxy, described(error))

    def _address(self) -> str:
        return self._stream.venue.address(self._stream.ws_url, self._in_address)

    def _refused(self, status: int) -> str:
        """What a refusal with an HTTP status means. Where the streams in the address may be why, the next one
        names none.
        """
        why = handshake_refusal(status)
        if status not in ADDRESS_REFUSED:
            return why
        self._stream.in_address = self._stream.venue.streams_in_address and not self._in_address
        return (
            f"{why} for the streams of {self._stream.venue.symbols_of(self._in_address)}"
            if self._in_address
            else why
        )

    async def _receive(self, connection: ClientConnection) -> str:
        inbox = self._stream.inbox
        company = [
            asyncio.create_task(self._watch_silence(connection)),
            asyncio.create_task(self._subscribe(connection)),
        ]
        if self._subscriptions.settled:
            self._stream.subscribed(self)
        try:
            while not inbox.full and not self._ending:
                message = await connection.recv(decode=False)
                inbox.put(message)
                self._arrivals += 1
                if answer := self._conversation.answer_in(message):
                    self._answered(answer)
        finally:
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)
        return self._ending or "the dataflow is behind by more than the queue holds"

    def _answered(self, answer: Answer) -> None:
        now = asyncio.get_running_loop().time()
        outcome = self._subscriptions.answered(answer, now)
        if (
            outcome is None
            and answer.why is not None
            and answer.number is None
            and self._in_address
            and self._subscriptions.settled
        ):
            # it can only be about those: next time they are asked for by requests
            self._stream.in_address = False
            self._ending = f"the exchange refuses the streams of {self._stream.venue.symbols_of(self._in_address)} ({answer.why})"
            return
        self._became([outcome] if outcome else [])

    def _became(self, outcomes: Sequence[Outcome]) -> None:
        subscriptions, was_ready = self._subscriptions, self.ready.is_set()
        for outcome in outcomes:
            self._stream.became(outcome, was_ready)
        if subscriptions.settled and not was_ready:
            self._stream.subscribed(self, subscriptions.refused)

    async def _subscribe(self, connection: ClientConnection) -> None:
        """Send the requests one after the other, and again those that are refused; when that goes on, open
        another connection.
        """
        stream, subscriptions, timing = self._stream, self._subscriptions, self._timing
        refused_since = loop_s = asyncio.get_running_loop().time()
        found_out = False
        while not subscriptions.done:
            await asyncio.sleep(timing.subscribe_s)
            loop_s = asyncio.get_running_loop().time()
            self._became(subscriptions.overdue(loop_s))
            if request := subscriptions.next(loop_s):
                number, streams = request
                await connection.send(self._conversation.subscribe(streams, number))
            if not subscriptions.refused:
                refused_since = loop_s
                continue
            if subscriptions.found_out and not found_out:
                found_out = True
                stream.complain(
                    f"the exchange refuses the streams of {stream.venue.symbols_of(subscriptions.refused)}",
                    "asking again now and then",
                )
            if loop_s - refused_since >= backoff(stream.renewals, timing.renew_s, timing.renew_cap_s):
                stream.renewals += 1
                refused_since = loop_s
                stream.complain(
                    f"the exchange goes on refusing the streams of {stream.venue.symbols_of(subscriptions.refused)}",
                    "opening another connection",
                )
                stream.renew()

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
    """The first of these tasks or coroutines that is done, None when the time is over; the coroutines are
    cancelled.
    """
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return next((task for task in tasks if task in done), None)
    finally:
        for task, each in zip(tasks, awaited, strict=True):
            if task is not each:
                task.cancel()


def described(error: Exception) -> str:
    """An exception in a few words: with its class where it is none of a connection."""
    if isinstance(error, websockets.InvalidProxy):
        return "the library refuses the address of the proxy"  # its own words repeat it, password and all
    usual = isinstance(error, OSError | websockets.WebSocketException)
    return reason(error) if usual else f"{type(error).__name__}: {reason(error)}"
