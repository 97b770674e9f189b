"""Virtual time: nothing waits, and planned actions run in the order of their times."""

import heapq
from collections.abc import Callable

from operators.columns import SECOND_US

START_US = 1_700_000_000 * SECOND_US  # the time of the market when the clock is at 0


class Clock:
    """Seconds since the start, and the planned actions."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trace: list[str] = []  # what has happened, for the report of a failure
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbered = 0

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Plan an action. Actions of the same time run in the order in which they were planned."""
        heapq.heappush(self._events, (max(when, self.now), self._numbered, action))
        self._numbered += 1

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def advance(self, seconds: float) -> None:
        """Let time pass, and run the actions of that time."""
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
