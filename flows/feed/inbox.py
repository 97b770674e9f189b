"""What the socket's thread tells the dataflow, and the queue between them."""

import contextlib
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is open; `again` when it was before."""

    again: bool


@dataclass(frozen=True, slots=True)
class Subscribed:
    """All streams have been asked for, and all but the `refused` ones come: nothing of these is missed from
    now on.

    It comes for each connection, those that take over included.
    """

    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """Streams that the exchange had refused come now, too."""

    streams: tuple[str, ...]


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
