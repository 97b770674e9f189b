"""What is asked of the surroundings while the pipeline runs: does the database apply what it takes, and how far apart are the clocks."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.beside import Beside
from flows.binance.klines import server_time_us
from flows.binance.rest import Api
from flows.columns import Column
from flows.config import Settings
from flows.questdb import Endpoint, pending, suspended, suspension
from operators.columns import NEVER, Longs

log = logging.getLogger(__name__)

RATED: Final = 60  # newest audited bars of a symbol that its mismatch rate looks at
SKEW_WARNED_US: Final = 1_000_000
SIMULATED: Final = "simulated"


class Vitals:
    """The newest numbers that are found beside the pipeline, for the rows of `health`. Any thread may write or read."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._skew_ms = np.nan
        self._pending = self._suspended = NEVER
        self._audited, self._mismatched = (np.zeros(len(symbols), np.int64) for _ in range(2))
        self._recent: list[deque[bool]] = [deque(maxlen=RATED) for _ in symbols]

    def clocks(self, skew_us: float) -> None:
        """The exchange's clock less ours, µs; NaN: unknown."""
        with self._lock:
            self._skew_ms = skew_us / 1_000

    def tables(self, pending: int = NEVER, suspended: int = NEVER) -> None:
        """Transactions not applied and suspended tables; NEVER: unknown."""
        with self._lock:
            self._pending, self._suspended = pending, suspended

    def audited(self, symbol: int, differs: Sequence[bool]) -> None:
        """Bars of a symbol (its code) in order of time: does each differ from the exchange's?"""
        with self._lock:
            self._audited[symbol] += len(differs)
            self._mismatched[symbol] += sum(differs)
            self._recent[symbol].extend(differs)

    def columns(self, symbols: Longs) -> dict[str, Column]:
        """Columns of `health`, a row for each of these symbols (codes)."""
        n = len(symbols)
        with self._lock:
            recent = [self._recent[symbol] for symbol in symbols.tolist()]
            return {
                "skew_ms": np.full(n, self._skew_ms),
                "wal_pending": np.full(n, self._pending),
                "suspended": np.full(n, self._suspended),
                "audited": self._audited[symbols],
                "mismatched": self._mismatched[symbols],
                "mismatch_rate": np.array([sum(some) / len(some) if some else np.nan for some in recent], np.float64),
            }


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of the wall clock; tests scale them."""

    look_s: float = 5.0  # between two looks at the database
    clock_s: float = 60.0  # and at the exchange's clock
    samples: int = 3  # of a look at the clock: the one that was answered soonest counts


class Monitor(Beside):
    """Asks, and keeps the answers in `vitals`. The skew of the clocks is shown and never used."""

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        api: Api,
        vitals: Vitals,
        pace: Pace | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        super().__init__("monitor", endpoint, api)
        self._vitals, self._pace, self._now_us = vitals, pace or Pace(), now_us
        self._clock_due = np.inf if settings.source.exchange == SIMULATED else -np.inf  # a simulated market lives in a time of its own
        self._skewed = False
        self._suspended: set[str] = set()

    def _round(self) -> float:
        if time.monotonic() >= self._clock_due:
            self._clock_due = time.monotonic() + self._pace.clock_s
            self._look_at_clock()
        self._look_at_tables()
        return self._pace.look_s

    def _lost(self) -> None:
        self._vitals.tables()

    def _look_at_tables(self) -> None:
        connection = self._connection()
        found = dict(suspended(connection))
        self._vitals.tables(pending(connection), len(found))
        for name in sorted(found.keys() - self._suspended):
            log.error("%s", suspension(name, found[name]))
        for name in sorted(self._suspended - found.keys()):
            log.info("table %s: no longer suspended", name)
        self._suspended = set(found)

    def _look_at_clock(self) -> None:
        asked = [sample for sample in (self._asked(self._sample, "clock") for _ in range(self._pace.samples)) if sample is not None]
        if not asked:
            self._vitals.clocks(np.nan)
            return
        took_us, skew_us = min(asked)
        self._vitals.clocks(skew_us)
        sure_us = abs(skew_us) - took_us / 2  # the answer may have been written at any time between
        if (sure_us > SKEW_WARNED_US) == self._skewed:
            return
        self._skewed = not self._skewed
        if self._skewed:
            log.warning(
                "clock: this machine's is %.1f s %s the exchange's: bars and signals do not go by it, lag and freshness do: set it by NTP",
                abs(skew_us) / 1e6,
                "behind" if skew_us > 0 else "ahead of",
            )
        else:
            log.info("clock: this machine's agrees with the exchange's again")

    def _sample(self) -> tuple[int, float]:
        """How long the answer took and how far the exchange's clock is ahead of ours, µs."""
        sent = self._now_us()
        theirs = server_time_us(self._api)
        received = self._now_us()
        return received - sent, theirs - (sent + received) / 2
