"""The trades of a recording, in order, as the dataflow takes them: what is missing between ids, and how far
each symbol has come.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.feed.frames import COLUMNS, Frames
from flows.feed.gaps import CAUSES, NONE, RECORDING, STATUSES, UNFILLABLE
from flows.replay.packed import grouped
from operators.columns import NEVER, Longs, Trades

JUMPS_TOLD: Final = 10  # fewer jumps of ids are losses
# of trades; a recording with fewer jumps than that has lost trades, one with more is of a market whose ids
# jump
SHARE_TOLD: Final = 0.005


@dataclass(slots=True)
class IdSequence:
    """Trades in order in, with the marks of holes and the watermarks out. Each symbol's ids rise, and the
    symbols come by time.

    A symbol's watermark is the time of its newest trade, and also the time that all have come to less
    `quiet_us`, as in a live run. Nothing can be asked for, so a jump of `contiguous` ids is an unfillable
    hole at once; where ids only grow, it is none.
    """

    symbols: tuple[str, ...]
    quiet_us: int
    contiguous: bool
    trades: int = 0  # so far
    jumps: int = 0  # of ids, whether holes or not
    _last: Longs = field(init=False)  # (symbols,) id of the newest trade, NONE before the first
    _newest: Longs = field(init=False)  # (symbols,) its time, or that of one before where that is later
    _reached: int = NEVER

    def __post_init__(self) -> None:
        self._last, self._newest = np.full(len(self.symbols), NONE), np.full(len(self.symbols), NEVER)

    def take(self, frames: Frames) -> tuple[Trades, Rows]:
        """The trades that come next, and the holes before them as rows of the ledger."""
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
        holes = jumps & self.contiguous
        after_hole = np.zeros(len(ids), np.bool_)
        after_hole[order] = begins | holes
        self.trades += len(ids)
        self.jumps += int(np.count_nonzero(jumps))
        ledger = self._ledger(symbol[holes], before[holes] + 1, ids[holes] - 1, newest[holes])
        columns = {name: getattr(frames, name) for name in COLUMNS if name != "event_ts"}
        return Trades(**columns, after_hole=after_hole, watermark=self.watermark()), ledger

    def pass_time(self, to_us: int) -> None:
        """No trade before this time is to come."""
        self._reached = max(self._reached, to_us)

    def watermark(self) -> Longs:
        """(symbols,) no trade of the symbol before this time is still to come; NEVER before its first."""
        if self._reached == NEVER:
            return self._newest.copy()
        return np.where(self._newest == NEVER, NEVER, np.maximum(self._newest, self._reached - self.quiet_us))

    def unfinished(self, timeframes_us: Longs) -> Longs:
        """(timeframes,) how many symbols have a bar that has begun and is not over."""
        begun = self._newest != NEVER
        watermark, newest = self.watermark()[begun], self._newest[begun]
        return np.array(
            [np.count_nonzero((watermark % length > 0) | (newest == watermark)) for length in timeframes_us],
            np.int64,
        )

    def ids_that_jump(self) -> str | None:
        """A line of advice where so many ids are missing that the market's ids probably only grow."""
        share = self.jumps / max(self.trades, 1)
        if not self.contiguous or self.jumps < JUMPS_TOLD or share < SHARE_TOLD:
            return None
        return f"jumps in the ids of {100 * share:.1f} % of the trades: if this market's ids only grow, set source.ids: sparse"

    def _advance(self, symbol: Longs, ids: Longs, ts: Longs) -> Longs:
        """Go on behind these trades, by symbol; returns (n,) the newest time of each one's symbol before it."""
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
