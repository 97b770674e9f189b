"""What the command says while it works: lines on standard error, and how far a long work has come."""

import sys
from collections.abc import Callable
from typing import Final, TextIO

REPORT_S: Final = 10.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(to: TextIO, what: str) -> Callable[[int, int], None]:
    """A line on a terminal that shows how far a long work has come; nothing where nobody watches."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if to.isatty() and percent != shown:
            shown = percent
            print(f"\r{what} {percent} %", end="\n" if done >= total else "", file=to, flush=True)

    return show
