"""Messages while the numerical kernels are compiled, which takes a minute if numba has no cache of them."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from numba.core.dispatcher import Dispatcher

from operators.compiled import uncached

LOOK_S: Final = 0.5
COMPILING: Final = "compiling the numerical kernels: once on a machine, about a minute"
AT_EVERY_START: Final = (
    "the numerical kernels are compiled at every start, about a minute, as numba cannot keep them ({why}): "
    "set NUMBA_CACHE_DIR to a directory that can be written"
)


def compiled_anew() -> str:
    """A line for the user if numba cannot cache what it compiles; empty otherwise."""
    return AT_EVERY_START.format(why=why) if (why := uncached()) else ""


@contextmanager
def telling_of_compiling(say: Callable[[str], None]) -> Iterator[None]:
    """Report, if a kernel is compiled in the block, that this takes a while, and whether at every start."""
    ended = threading.Event()
    if said := compiled_anew():
        say(said)

    def look() -> None:
        while not ended.wait(LOOK_S):
            if _compiled():
                say(COMPILING)
                return

    thread = threading.Thread(target=look, name="compiling", daemon=True)
    if not said:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if not said:
            thread.join()
    if not said and (late := compiled_anew()):  # the cache failed only when it was written or read
        say(late)


def _compiled() -> bool:
    """Whether this process has compiled one of Pairflow's kernels because numba's cache did not have it."""
    ours = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("operators.", "flows.")) and module is not None
    ]
    return any(
        sum(kernel.stats.cache_misses.values())
        for module in ours
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
    )
