"""SIGINT and SIGTERM while a dataflow runs (`stopping_on_signals`), and before and after (`interruptible`).

Python runs a signal's handler in the main thread, between two of its own instructions. It does not run while
a numerical kernel does: a window of many rows may take seconds, a batch of such windows minutes. So a thread
watches for signals, too, while a dataflow runs: the handler in C writes the number of each signal to a pipe
at once, and kernels run without the interpreter's lock (operators/compiled.py), so the thread can read it.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from flows.errors import Interrupted
from flows.runtime.fatal import end, tell

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
STEP_S: Final = 6.0  # how long a step may go on after a signal; the whole end must take less than 10 s
LOOK_S: Final = 0.1
AT_ONCE: Final = "pairflow: ended at once: what was under way is not written; the next run resumes before it"
TOO_LONG: Final = (
    "pairflow: ended in the middle of a computation that takes longer than {seconds:g} s: what was under "
    "way is not written; "
    "the next run resumes before it"
)

_at_work: dict[int, float] = {}  # by thread: when the step that it runs began with its batch


class Settable(Protocol):
    """A flag that a signal sets."""

    def set(self) -> None: ...


@contextmanager
def interruptible() -> Iterator[None]:
    """The first signal raises Interrupted wherever the program is; the second ends the process at once."""
    came = False

    def handler(number: int, _frame: object) -> None:
        nonlocal came
        if came:
            end("pairflow: ended at once")
        came = True
        raise Interrupted(signal.Signals(number).name)

    with handled_by(handler):
        yield


@contextmanager
def stopping_on_signals(stop: Settable) -> Iterator[None]:
    """The first signal ends the source; rows that are under way are still written, and the state is kept.

    The second signal ends the process at once. So does the first if a step does not finish its batch within
    STEP_S.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    first = _First(stop)
    watcher = threading.Thread(target=_watch, args=(reading, first), name="signals", daemon=True)
    # The handler is for a main thread that waits; the watching thread counts the signals.
    with handled_by(lambda number, _frame: first.came(number)):
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writing)
            watcher.join()
            os.close(reading)


@contextmanager
def step_at_work() -> Iterator[None]:
    """Mark the block as a step's work on one batch, which a signal may have to end."""
    thread = threading.get_ident()
    _at_work[thread] = time.monotonic()
    try:
        yield
    finally:
        del _at_work[thread]


@contextmanager
def handled_by(handler: "signal._HANDLER") -> Iterator[None]:
    """Handle SIGINT and SIGTERM with this handler in the block."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class _First:
    """The first signal, which two threads may be the first to see: reported once, before anything stops."""

    def __init__(self, stop: Settable) -> None:
        self._stop, self._reported = stop, False
        self._lock = (
            threading.RLock()
        )  # the main thread may be interrupted by another signal while it holds it

    def came(self, number: int) -> None:
        with self._lock:
            if not self._reported:
                self._reported = True
                tell(f"{signal.Signals(number).name}: stopping; writing what is under way")
            self._stop.set()


def _watch(reading: int, first: _First) -> None:
    """Act on the signals whose numbers come through the pipe, until it is closed."""
    came: float | None = None
    while True:
        if not select.select([reading], [], [], None if came is None else LOOK_S)[0]:
            if came is not None and _works_since(came) > STEP_S:
                end(TOO_LONG.format(seconds=STEP_S))
            continue
        if not (numbers := os.read(reading, 1)):
            return
        if numbers[0] not in SIGNALS:
            continue
        if came is not None:
            end(AT_ONCE)
        came = time.monotonic()
        first.came(numbers[0])


def _works_since(moment: float) -> float:
    """For how many seconds since `moment` the longest-running step has worked on one batch."""
    now = time.monotonic()
    return max((now - max(began, moment) for began in list(_at_work.values())), default=0.0)
