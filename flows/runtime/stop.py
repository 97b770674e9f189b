"""The flag that ends a run: a signal sets it; sources and waiting code check it."""

import time
from typing import Final

LOOK_S: Final = 0.05  # how often `wait` checks the flag


class Stop:
    """Set by a signal; sources then end, and with them the flow.

    A plain flag that is looked at: a threading.Event has a lock, which the code that the signal interrupts
    may be holding.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float, /) -> None:
        """Return after so many seconds, or when it is set."""
        until = time.monotonic() + timeout
        while not self._set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))

    def __bool__(self) -> bool:
        return self._set
