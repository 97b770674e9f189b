"""Rows of the table `health`: the counts of a source, and what the monitor and audit threads measure."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.feed.frames import Frames
from operators.columns import NEVER, SECOND_US, Longs, Trades

RATED: Final = 60  # newest audited bars of a symbol that its mismatch rate looks at


class Vitals:
    """The newest numbers that are found beside the pipeline, for the rows of `health`. Any thread may write
    or read.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._skew_ms = np.full(len(symbols), np.nan)
        self._pending = self._suspended = NEVER
        self._audited, self._mismatched = (np.zeros(len(symbols), np.int64) for _ in range(2))
        self._recent: list[deque[bool]] = [deque(maxlen=RATED) for _ in symbols]

    def clocks(self, skew_us: float, symbols: Sequence[int]) -> None:
        """The clock of the venue of these symbols (codes) less ours, µs; NaN: unknown."""
        with self._lock:
            self._skew_ms[list(symbols)] = skew_us / 1_000

    def tables(self, pending: int = NEVER, suspended: int = NEVER) -> None:
        """Transactions not applied and suspended tables; NEVER: unknown."""
        with self._lock:
            self._pending, self._suspended = pending, suspended

    def audited(self, symbol: int, differs: Sequence[bool]) -> None:
        """Bars of a symbol (its code) in order of time: does each differ from the exchange's?"""
        with self._lock:
            self._audited[symbol] += len(differs)
            self._mismatched[symbol] += sum(differs)
            self._recent[symbol].extend(differs)

    def columns(self, symbols: Longs) -> dict[str, Column]:
        """Columns of `health`, a row for each of these symbols (codes)."""
        n = len(symbols)
        with self._lock:
            recent = [self._recent[symbol] for symbol in symbols.tolist()]
            return {
                "skew_ms": self._skew_ms[symbols],
                "wal_pending": np.full(n, self._pending),
                "suspended": np.full(n, self._suspended),
                "audited": self._audited[symbols],
                "mismatched": self._mismatched[symbols],
                "mismatch_rate": np.array(
                    [sum(some) / len(some) if some else np.nan for some in recent], np.float64
                ),
            }


class Health:
    """Counts of the source, a row per symbol and second of the wall clock; with `vitals`, what those found
    who look at it from beside.
    """

    def __init__(
        self, symbols: tuple[str, ...], codes: Longs, now_us: Callable[[], int], vitals: Vitals | None = None
    ) -> None:
        self._symbols, self._codes, self._now_us, self._vitals = symbols, codes, now_us, vitals
        self._second = now_us() // SECOND_US
        self._refused = np.zeros(len(symbols), np.int64)  # 1: the exchange refuses to stream it
        self._clear()

    def _clear(self) -> None:
        size = len(self._symbols)
        self._trades, self._rejected, self._duplicates = (np.zeros(size, np.int64) for _ in range(3))
        self._lag_us, self._arrived = np.zeros(size), np.zeros(size, np.int64)
        self._reconnects = 0

    def arrived(self, frames: Frames, live: bool) -> None:
        """Frames from the socket or a recording; what REST tells again was counted when it came first."""
        self._rejected += frames.rejected
        if live and len(frames):
            self._lag_us += np.bincount(frames.symbol, self._now_us() - frames.event_ts, len(self._symbols))
            self._arrived += np.bincount(frames.symbol, minlength=len(self._symbols))

    def released(self, trades: Trades, duplicates: Longs) -> None:
        self._trades += np.bincount(trades.symbol, trades.count, len(self._symbols)).astype(np.int64)
        self._duplicates += duplicates

    def reconnected(self) -> None:
        self._reconnects += 1

    def subscribed(self, refused: Sequence[int]) -> None:
        """All symbols are streamed but these."""
        self._refused[:] = 0
        self._refused[list(refused)] = 1

    def joined(self, symbols: Sequence[int]) -> None:
        self._refused[list(symbols)] = 0

    def rows(self, queued: int) -> Rows:
        """The rows of the second that has ended, if one has."""
        second = self._now_us() // SECOND_US
        codes = self._codes if second != self._second else self._codes[:0]
        n = len(codes)
        with np.errstate(invalid="ignore"):
            lag_ms = self._lag_us[codes] / self._arrived[codes] / 1_000
        columns: dict[str, Column] = {
            "ts": np.full(n, self._second * SECOND_US),
            "symbol": Symbols(codes.astype(np.int32), self._symbols),
            "trades": self._trades[codes],
            "lag_ms": lag_ms,
            "queued": np.full(n, queued),
            "duplicates": self._duplicates[codes],
            "rejected": self._rejected[codes],
            "reconnects": np.full(n, self._reconnects),
            "refused": self._refused[codes],
        }
        if self._vitals is not None:
            columns |= self._vitals.columns(codes)
        if n:
            self._second = second
            self._clear()
        return Rows("health", columns)


def wall_us() -> int:
    return time.time_ns() // 1_000
