"""What the parts of the local exchange share: its options and faults, its market clock, its clients, what was
asked.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import msgspec

from flows.sandbox.binance import BinanceSpot
from flows.sandbox.client import Client, Connection
from flows.sandbox.faults import Faults
from flows.sandbox.options import Options
from flows.sandbox.sources import Recording, Simulation, Source

REMEMBERED: Final = 50_000  # requests kept for /control/stats


class State:
    """What every part of an exchange reads and changes."""

    def __init__(
        self,
        options: Options,
        source: Source | None = None,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.options = options
        # a copy: it is changed at run time
        self.faults = msgspec.convert(msgspec.to_builtins(options.faults), Faults)
        if source is None:
            source = (
                Recording(options.paths, options.speed, options.venue)
                if options.paths
                else Simulation(options, wall_us)
            )
        self.source = source
        self.venue: BinanceSpot = import_module(f"flows.sandbox.{options.venue}").LOOK_ALIKE
        self.now_us = source.first_us - 1  # nothing has happened yet
        if options.since_us is not None:
            self.now_us = (
                options.since_us if options.since_us > 10**12 else source.first_us + options.since_us
            )
        self.counts: Counter[str] = Counter()
        self.connects: deque[float] = deque(maxlen=REMEMBERED)
        self.requests: deque[tuple[float, str, int]] = deque(maxlen=REMEMBERED)
        # over websockets: when, method, streams
        self.asked: deque[tuple[float, str, list[str]]] = deque(maxlen=REMEMBERED)
        self.clients: dict[Connection, Client] = {}
        self.begun = asyncio.Event()
        self.born = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def exchange_us(self) -> int:
        return self.now_us + self.faults.skew_us
