"""The flag that ends a run. A signal sets it; sources, and code that waits, check it."""

import time
from typing import Final

LOOK_S: Final = 0.05  # how often `wait` checks the flag


class Stop:
    """Set by a signal; the sources then end, and with them the flow.

    It is a plain flag that is polled, not a threading.Event: the code that the signal interrupts may hold the
    event's lock.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float, /) -> None:
        """Return after so many seconds, or as soon as the flag is set."""
        until = time.monotonic() + timeout
        while not self._set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))

    def __bool__(self) -> bool:
        return self._set
