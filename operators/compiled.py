"""How the numerical kernels are compiled: by numba, with its cache on disk wherever there is one.

Every kernel releases the interpreter's lock (`nogil`), so that a signal is seen while one runs.

A cache that cannot be used makes a start slow, never impossible. Numba by itself raises where no directory
can be written (a read-only installation and no home directory), where the disk is full, and where a file of
the cache is damaged or another user's; here the kernel is compiled all the same, and `uncached` says why, for
whoever talks to the user.

Numba itself keeps a compiled kernel until the kernel's own file changes; here, until any operator's does.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_uncached: list[str] = []  # why kernels of this process are not in a cache on disk


def uncached() -> str:
    """Why kernels have to be compiled at every start; empty while the cache works."""
    return _uncached[0] if _uncached else ""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's `njit` with these options, its cache, and the interpreter's lock released.

    >>> @compiled(error_model="numpy")
    ... def ratio(a, b):
    ...     return a / b
    >>> ratio(1.0, 0.0)
    inf
    """

    def compile_(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        try:
            # what `cache=True` does, but for the class
            dispatcher._cache = Cache(function)  # type: ignore[no-untyped-call]
        except RuntimeError:  # numba tried several places, and names none of them
            _uncached.append("no directory for them can be written")
        except OSError as error:
            _uncached.append(str(error))
        return dispatcher

    return compile_


@cache
def _sources() -> str:
    """A digest of all operators' sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class OfAllSources(CompileResultCacheImpl):
    """What is cached holds while no operator changes: it has the kernels of other files in it that it calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        own = self._locator.get_source_stamp()
        self._locator.get_source_stamp = lambda: (own, _sources())


class Cache(FunctionCache):
    """Numba's cache of one kernel, of which no failure is fatal; one that is damaged is begun anew."""

    _impl_class = OfAllSources

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return super().load_overload(*arguments)  # type: ignore[no-untyped-call]
        except Exception:  # whatever a damaged file makes pickle raise
            with suppress(OSError):  # one that cannot be written is told when it is to be
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            super().save_overload(*arguments)  # type: ignore[no-untyped-call]
        except Exception as error:  # of the disk, or of a damaged index that could not be begun anew
            _uncached.append(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")
