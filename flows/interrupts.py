"""SIGINT and SIGTERM before and after a dataflow runs; while one does, `flows.running.stopping_on_signals` has them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from flows.errors import Interrupted
from flows.fatal import end


@contextmanager
def interruptible() -> Iterator[None]:
    """The first signal raises Interrupted wherever the program is; the second ends the process where it stands."""
    came = False

    def handler(number: int, _frame: object) -> None:
        nonlocal came
        if came:
            end("pairflow: ended at once")
        came = True
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
