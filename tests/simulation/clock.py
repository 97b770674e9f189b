"""Virtual time: nothing waits, and what is to happen happens in order."""

import heapq
from collections.abc import Callable

from operators.columns import SECOND_US

START_US = 1_700_000_000 * SECOND_US  # of the market, when the clock shows 0


class Clock:
    """Seconds since the start, and what is to happen when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trace: list[str] = []  # what a reader of a failure wants to know
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbered = 0

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Have `action` done at that time, after whatever was planned for the same time before."""
        heapq.heappush(self._events, (max(when, self.now), self._numbered, action))
        self._numbered += 1

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that happens meanwhile."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            when, _, action = heapq.heappop(self._events)
            self.now = when
            action()
        self.now = until

    def market_us(self) -> int:
        return START_US + int(self.now * SECOND_US)

    def note(self, text: str) -> None:
        self.trace.append(f"{self.now:8.3f}  {text}")
