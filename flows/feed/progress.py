"""How far each symbol of a partition has come: released ids, watermarks, and what waits for the caller."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flows.feed.frames import COLUMNS, Frames, join
from flows.feed.gaps import NONE, Gap
from operators.columns import NEVER, Flags, Longs, Trades


@dataclass(slots=True)
class Progress:
    """The state that a snapshot holds, and what was released since the caller last took it."""

    # The number of symbols of the partition.
    symbols: int
    # (symbols,) the last id that was released or given up; NONE before the first one.
    last: Longs = field(init=False)
    # (symbols,) the newest time of a released trade, µs since the epoch, as all times here.
    last_ts: Longs = field(init=False)
    # (symbols,) no trade of the symbol before this time is still to come.
    watermark: Longs = field(init=False)
    # (symbols,) ids before the next trade were given up, or not seen.
    broken: Flags = field(init=False)
    # The newest time of any message of the socket. The times of answers do not count: they may be ahead of a
    # socket that is silent.
    seen_ts: int = NEVER
    # (symbols,) messages whose id had come before, since the caller last took the count.
    duplicates: Longs = field(init=False)
    # Lines of the ledger since the caller last took them.
    gaps: list[Gap] = field(default_factory=list)
    # Trades that were released, and whether a hole came before each.
    _released: list[tuple[Frames, Flags]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = self.symbols
        self.last = np.full(n, NONE)
        self.last_ts, self.watermark = np.full(n, NEVER), np.full(n, NEVER)
        self.broken, self.duplicates = np.zeros(n, np.bool_), np.zeros(n, np.int64)

    @property
    def begun(self) -> Flags:
        """(symbols,) whether the symbol's first id is known."""
        return self.last != NONE

    def snapshot(self) -> dict[str, Any]:
        """What a restart needs. Trades that are held back are not in it: they are asked for again."""
        arrays = {name: getattr(self, name).copy() for name in ("last", "last_ts", "watermark", "broken")}
        return {**arrays, "seen_ts": self.seen_ts}

    def resume(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot; before the first frame."""
        for name, content in snapshot.items():
            setattr(self, name, content.copy() if isinstance(content, np.ndarray) else content)

    def begin(self, symbol: int, first_id: int, ts: int, *, broken: bool) -> None:
        """Let a symbol that has not begun begin at `first_id`. `broken`: earlier trades were not seen."""
        if self.last[symbol] == NONE:
            self.last[symbol], self.last_ts[symbol], self.broken[symbol] = first_id - 1, ts, broken

    def release_runs(self, frames: Frames, start: Longs, size: Longs) -> None:
        """Release frames whose ids follow on. `start` and `size` say where each symbol's rows are."""
        of = frames.symbol[start]
        after_hole = np.zeros(len(frames), np.bool_)
        after_hole[start] = self.broken[of]
        self.broken[of] = False
        self.last[of] = frames.id[start + size - 1]
        self.last_ts[of] = np.maximum(self.last_ts[of], np.maximum.reduceat(frames.ts, start))
        self._released.append((frames, after_hole))

    def release_held(self, symbol: int, held: Frames, last: int) -> None:
        """Release the trades of one symbol up to the id `last`; rows with count 0 are ids without a trade."""
        self.last[symbol] = last
        trades = held.rows(held.count > 0)
        if len(trades):
            after_hole = np.zeros(len(trades), np.bool_)
            after_hole[0], self.broken[symbol] = self.broken[symbol], False
            self.last_ts[symbol] = max(int(self.last_ts[symbol]), int(trades.ts.max()))
            self._released.append((trades, after_hole))

    def move_watermarks(self, quiet: Flags | None, quiet_us: int) -> None:
        """Move the watermarks to the newest released trades.

        Those of `quiet` symbols, (symbols,), also move to `quiet_us` before the newest message of any symbol.
        """
        np.maximum(self.watermark, self.last_ts, out=self.watermark)
        if quiet is not None and self.seen_ts != NEVER:
            quiet = quiet & (self.last_ts != NEVER)
            self.watermark[quiet] = np.maximum(self.watermark[quiet], self.seen_ts - quiet_us)

    def take_released(self) -> Trades:
        """The trades released since the last call, with the watermarks."""
        released, self._released = self._released, []
        frames = join([frames for frames, _ in released], self.symbols)
        after_hole = np.concatenate([flags for _, flags in released]) if released else np.zeros(0, np.bool_)
        columns = {name: getattr(frames, name) for name in COLUMNS if name != "event_ts"}
        return Trades(**columns, after_hole=after_hole, watermark=self.watermark.copy())

    def take_gaps(self) -> list[Gap]:
        """The lines of the ledger since the last call."""
        gaps, self.gaps = self.gaps, []
        return gaps

    def take_duplicates(self) -> Longs:
        """(symbols,) messages since the last call whose id had come before."""
        counted, self.duplicates = self.duplicates, np.zeros(self.symbols, np.int64)
        return counted
