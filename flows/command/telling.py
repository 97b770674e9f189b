"""Messages of the command while it works: lines on standard error, and the progress of long tasks."""

import sys
from collections.abc import Callable
from typing import Final, TextIO

REPORT_S: Final = 10.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(to: TextIO, what: str) -> Callable[[int, int], None]:
    """A function that shows the progress of a long task on a terminal, and nothing elsewhere."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if to.isatty() and percent != shown:
            shown = percent
            print(f"\r{what} {percent} %", end="\n" if done >= total else "", file=to, flush=True)

    return show
