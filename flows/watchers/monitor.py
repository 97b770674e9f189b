"""What is asked of the surroundings while the pipeline runs: does the database apply what it takes, and how
far apart are the clocks.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.database.connection import Endpoint
from flows.database.wal import pending, suspended, suspension
from flows.feed.health import Vitals
from flows.feed.venue import VenueApi
from flows.settings.model import Settings, Source
from flows.watchers.beside import Beside, named

log = logging.getLogger(__name__)

SKEW_WARNED_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of the wall clock; tests scale them."""

    look_s: float = 5.0  # between two looks at the database
    clock_s: float = 60.0  # and at the exchange's clock
    samples: int = 3  # of a look at the clock: the one that was answered soonest counts


class Monitor(Beside):
    """Asks, and keeps the answers in `vitals`. The skew of the clocks is shown and never used.

    There is one for each source; that of the first one looks at the database, too.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        endpoint: Endpoint,
        api: VenueApi,
        vitals: Vitals,
        pace: Pace | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        super().__init__(named("monitor", settings, source), endpoint, api)
        self._vitals, self._pace, self._now_us = vitals, pace or Pace(), now_us
        self._symbols = settings.codes_of(source)
        self._watches_tables = source is settings.source
        # a simulated market lives in a time of its own
        self._clock_due = np.inf if source.simulated else -np.inf
        self._skewed = False
        self._suspended: set[str] = set()

    def _round(self) -> float:
        if time.monotonic() >= self._clock_due:
            self._clock_due = time.monotonic() + self._pace.clock_s
            self._look_at_clock()
        if self._watches_tables:
            self._look_at_tables()
        return self._pace.look_s

    def _lost(self) -> None:
        if self._watches_tables:
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
        asked = [
            sample
            for sample in (self._asked(self._sample, "clock") for _ in range(self._pace.samples))
            if sample is not None
        ]
        if not asked:
            self._vitals.clocks(np.nan, self._symbols)
            return
        took_us, skew_us = min(asked)
        self._vitals.clocks(skew_us, self._symbols)
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
        theirs = self._api.clock_us()
        received = self._now_us()
        return received - sent, theirs - (sent + received) / 2
