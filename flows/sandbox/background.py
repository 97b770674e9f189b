"""A local exchange on a thread of its own, for tests; and one that runs until a signal."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flows.sandbox.exchange import Exchange
from flows.sandbox.options import Options
from flows.sandbox.sources import Source


class Background:
    """An exchange on a thread of its own, for callers without an event loop."""

    def __init__(self, options: Options, source: Source | None = None) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(options, source)), name="exchange", daemon=True
        )
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
        """Do something on the exchange's own thread, such as `call(exchange.disconnect, 1.5)`, and wait for
        it.
        """

        async def done() -> Any:
            return act(*args)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    def control(self, act: str, **query: Any) -> Any:
        """The same as GET /control/<act>?<query>."""
        return self.call(
            self.exchange.act,
            act,
            {name: str(value).lower() if value is True else str(value) for name, value in query.items()},
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
            pace = (
                "as fast as it is read"
                if exchange.source.unpaced
                else f"at {options.speed:g} times its speed"
            )
            say(f"exchange: plays {', '.join(symbols)} from {at} UTC {pace}, from the first subscription on")
        else:
            say(f"exchange: simulates {', '.join(symbols)} from {at} UTC, seed {options.seed}")
        say(
            f"exchange: websocket {exchange.ws_url}/stream   REST {exchange.rest_url}{exchange.venue.root.rstrip('/')}   control {exchange.rest_url}/control/stats"
        )
        say(
            f"in pipeline.yaml:\n    source:\n      ws_url: {exchange.ws_url}\n      rest_url: {exchange.rest_url}\nCtrl-C stops it."
        )
        await stop.wait()
    say("exchange: stopped")
