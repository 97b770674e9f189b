"""Adds holes and watermarks to the trades of a recording, which are in order."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.feed.frames import COLUMNS, Frames
from flows.feed.gaps import CAUSES, NONE, RECORDING, STATUSES, UNFILLABLE
from flows.replay.packed import grouped
from operators.columns import NEVER, Flags, Longs, Trades

# A recording with fewer jumps in the ids, or with jumps before a smaller share of its trades, has lost
# trades. One with more is probably of a market whose ids only grow, and the user gets a line about that.
JUMPS_REPORTED: Final = 10
SHARE_REPORTED: Final = 0.005


@dataclass(slots=True)
class IdSequence:
    """Adds holes and watermarks to trades whose ids rise for each symbol, and whose symbols come by time.

    As in a live run, a symbol's watermark is the time of its newest trade, and also the newest time of all
    symbols less `quiet_us`. There is no exchange to ask for missing trades, so a jump in `contiguous` ids is
    an unfillable hole at once. Where ids only grow, a jump is no hole.
    """

    symbols: tuple[str, ...]
    quiet_us: Longs  # (symbols,)
    contiguous: Flags  # (symbols,)
    trades: int = 0  # so far
    jumps: int = 0  # of ids that should be contiguous
    _last: Longs = field(init=False)  # (symbols,) id of the newest trade, NONE before the first
    _newest: Longs = field(init=False)  # (symbols,) the latest time of its trades
    _reached: int = NEVER  # the latest time of all symbols

    def __post_init__(self) -> None:
        self._last, self._newest = np.full(len(self.symbols), NONE), np.full(len(self.symbols), NEVER)

    def take(self, frames: Frames) -> tuple[Trades, Rows]:
        """The next trades, and the holes before them as rows of the ledger."""
        order = grouped(frames.symbol)
        symbol, ids, ts = frames.symbol[order].astype(np.int64), frames.id[order], frames.ts[order]
        first = np.concatenate(([True], symbol[1:] != symbol[:-1]))[: len(ids)]  # of its symbol in these
        before = np.concatenate(([NONE], ids[:-1]))[: len(ids)]
        before[first] = self._last[symbol[first]]
        if (ids <= before).any():
            raise ValueError("trades of a recording come in order")
        begins = before == NONE
        jumps = (ids != before + 1) & ~begins
        newest = self._advance(symbol, ids, ts)
        holes = jumps & self.contiguous[symbol]
        after_hole = np.zeros(len(ids), np.bool_)
        after_hole[order] = begins | holes
        self.trades += len(ids)
        self.jumps += int(np.count_nonzero(holes))
        ledger = self._ledger(symbol[holes], before[holes] + 1, ids[holes] - 1, newest[holes])
        columns = {name: getattr(frames, name) for name in COLUMNS if name != "event_ts"}
        return Trades(**columns, after_hole=after_hole, watermark=self.watermark()), ledger

    def pass_time(self, to_us: int) -> None:
        """Note that no trade before this time follows."""
        self._reached = max(self._reached, to_us)

    def watermark(self) -> Longs:
        """(symbols,) no trade of the symbol before this time is still to come; NEVER before its first."""
        if self._reached == NEVER:
            return self._newest.copy()
        return np.where(self._newest == NEVER, NEVER, np.maximum(self._newest, self._reached - self.quiet_us))

    def unfinished(self, timeframes_us: Longs) -> Longs:
        """(timeframes,) how many symbols have a bar that has begun but not ended."""
        begun = self._newest != NEVER
        watermark, newest = self.watermark()[begun], self._newest[begun]
        return np.array(
            [np.count_nonzero((watermark % length > 0) | (newest == watermark)) for length in timeframes_us],
            np.int64,
        )

    def ids_that_jump(self) -> str | None:
        """A line of advice, if so many ids are missing that the market's ids probably only grow."""
        share = self.jumps / max(self.trades, 1)
        if self.jumps < JUMPS_REPORTED or share < SHARE_REPORTED:
            return None
        return (
            f"jumps in the ids of {100 * share:.1f} % of the trades: "
            "if this market's ids only grow, set source.ids: sparse"
        )

    def _advance(self, symbol: Longs, ids: Longs, ts: Longs) -> Longs:
        """Note these trades, sorted by symbol. Returns (n,) the latest time of the symbol before each one."""
        ends = np.flatnonzero(np.concatenate((symbol[1:] != symbol[:-1], [True])))[: len(ids)].tolist()
        before, a = np.empty(len(ids), np.int64), 0
        for b in (end + 1 for end in ends):
            s = symbol[a]
            newest = np.maximum(np.maximum.accumulate(ts[a:b]), self._newest[s])
            before[a], before[a + 1 : b] = self._newest[s], newest[:-1]
            self._last[s], self._newest[s] = ids[b - 1], newest[-1]
            self.pass_time(int(newest[-1]))
            a = b
        return before

    def _ledger(self, symbol: Longs, first_id: Longs, last_id: Longs, ts: Longs) -> Rows:
        n = len(symbol)
        columns: dict[str, Column] = {
            "ts": ts,
            "symbol": Symbols(symbol.astype(np.int32), self.symbols),
            "first_id": first_id,
            "last_id": last_id,
            "trades": last_id - first_id + 1,
            "cause": Symbols(np.full(n, CAUSES.index(RECORDING), np.int32), CAUSES),
            "status": Symbols(np.full(n, STATUSES.index(UNFILLABLE), np.int32), STATUSES),
            "filled_at": np.full(n, NEVER),
        }
        return Rows("gaps", columns)
