"""How the numerical kernels are compiled: by numba, with a cache on disk where possible.

Every kernel releases the interpreter's lock (`nogil`), so that signals are handled while a kernel runs.

A cache that cannot be used makes a start slow, but never impossible. Numba itself raises an exception where
it can write no directory (a read-only installation and no home directory), where the disk is full, and where
a file of the cache is damaged or belongs to another user. Here the kernel is compiled all the same, and
`uncached` returns the reason, for the code that reports to the user.

Numba keeps a compiled kernel until the kernel's own file changes. Here it is kept until any operator's file
changes, because a compiled kernel contains the kernels that it calls.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_uncached: list[str] = []  # the reasons why kernels of this process are not cached on disk


def uncached() -> str:
    """Why kernels must be compiled at every start; empty while the cache works."""
    return _uncached[0] if _uncached else ""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's `njit` with these options, our cache, and the interpreter's lock released.

    >>> @compiled(error_model="numpy")
    ... def ratio(a, b):
    ...     return a / b
    >>> ratio(1.0, 0.0)
    inf
    """

    def compile_(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        try:
            # what `cache=True` does, but with our class
            dispatcher._cache = Cache(function)  # type: ignore[no-untyped-call]
        except RuntimeError:  # numba tried several directories and does not say which
            _uncached.append("no directory for them can be written")
        except OSError as error:
            _uncached.append(str(error))
        return dispatcher

    return compile_


@cache
def _sources() -> str:
    """A digest of the sources of all operators."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class OfAllSources(CompileResultCacheImpl):
    """Cached kernels that are valid as long as no operator's source changes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        own = self._locator.get_source_stamp()
        self._locator.get_source_stamp = lambda: (own, _sources())


class Cache(FunctionCache):
    """Numba's cache of one kernel, where no failure is fatal; a damaged cache is started anew."""

    _impl_class = OfAllSources

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return super().load_overload(*arguments)  # type: ignore[no-untyped-call]
        except Exception:  # a damaged file can make pickle raise anything
            with suppress(OSError):  # save_overload reports a cache that cannot be written
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            super().save_overload(*arguments)  # type: ignore[no-untyped-call]
        except Exception as error:  # the disk is full, or a damaged index cannot be replaced
            _uncached.append(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")
