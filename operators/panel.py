"""The closes of all symbols of one timeframe on a common time grid.

    values[s, j] = ln close of symbol s in the bar that opens at origin + j · timeframe        values[S + s, j] = that close

One column per bar time, one row per symbol: every rolling statistic is a function of a window of this matrix.
`filled[s]` is the first column that symbol s has not reached yet; bars of a symbol come without holes, so all
columns from `begun[s]` to there are set. A bar that comes again replaces its cells.

    untraded[s, j] = bars of s up to column j since its last one with a trade: 0 in a bar with trades

Shapes: `values` float64 (2 · symbols, columns); `volume` float64, `incomplete` bool and `untraded` int64
(symbols, columns), base asset. Times in µs since the epoch. The newest `keep` columns before a symbol's
`filled` stay, for the symbol that is furthest behind; older ones are forgotten when room is needed, and a bar
of that age changes nothing. Of the columns OF_BARS only the newest `recent` outlive a pickle.

Undefined (NaN; `incomplete` false, `untraded` 0): a cell whose bar is not there. A symbol never seen has none
and holds nobody up. A cell that was forgotten before another symbol's bars came to it is NaN and incomplete:
what is measured on it is undefined, and says so. Before a symbol's first bar it counts as traded.

Reference: none.

>>> panel = Panel(symbols=1, timeframe=1_000_000, keep=2, recent=2)
>>> second = np.array([5_000_000, 6_000_000])
>>> ones, flags, close = np.ones(2), np.ones(2, np.bool_), np.array([1.0, np.e])
>>> bars = Bars(np.zeros(2, np.int32), second, second, ones, ones, ones, close, ones, ones, second, ones, flags, second)
>>> panel.append(bars)
>>> panel.values[:, :2].round(6).tolist(), panel.filled.tolist()
([[0.0, 1.0], [1.0, 2.718282]], [2])
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operators.activity import range_variance
from operators.columns import LATEST, NEVER, Bars, Codes, Flags, Floats, Longs
from operators.compiled import compiled

OF_BARS = ("volume", "buy_volume", "range_variance")  # what is kept of a bar beside its close
# a panel holds this many times the rows it must keep, so that it moves its memory once per `keep` rows
GROWTH = 2


@dataclass(slots=True)
class Panel:
    """State: the matrix, and how far each symbol is. Pickles, without what nobody can look back to any more:
    it does so every second.
    """

    symbols: int
    timeframe: int  # µs
    keep: int  # columns
    recent: int  # columns of OF_BARS that somebody looks back to
    origin: int = NEVER  # µs, opening time of column 0
    values: Floats = field(init=False)  # (2 · symbols, columns)
    volume: Floats = field(init=False)  # (symbols, columns), NaN until there
    buy_volume: Floats = field(init=False)  # (symbols, columns), NaN until there
    # (symbols, columns), of each bar by its range (see activity.py), NaN until there
    range_variance: Floats = field(init=False)
    incomplete: Flags = field(init=False)  # (symbols, columns), False until there
    untraded: Longs = field(init=False)  # (symbols, columns), 0 until there
    # (symbols,) column of the first bar ever; may be negative once forgotten
    begun: Longs = field(init=False)
    filled: Longs = field(init=False)  # (symbols,) 0 before the first bar

    def __post_init__(self) -> None:
        self._allocate(GROWTH * self.keep)
        self.begun = np.zeros(self.symbols, np.int64)
        self.filled = np.zeros(self.symbols, np.int64)

    def __getstate__(self) -> dict[str, object]:
        """Only what is still needed: columns that a later row can look back to; log closes are computed
        again.
        """
        seen = self.seen()
        start = max(self._oldest(), 0)
        end = max(int(self.filled.max()), start)
        recent = max(start, int(self.filled[seen].min()) - self.recent) if seen.any() else start
        untraded = self.untraded[:, start:end]
        return {
            **{name: getattr(self, name) for name in ("symbols", "timeframe", "keep", "recent")},
            "origin": self.origin + start * self.timeframe if self.origin != NEVER else NEVER,
            "close": self.values[self.symbols :, start:end].copy(),
            **{name: getattr(self, name)[:, recent:end].copy() for name in OF_BARS},
            "incomplete": np.packbits(self.incomplete[:, start:end], axis=1),
            "untraded": untraded.astype(np.min_scalar_type(untraded.max(initial=0))),
            "begun": np.where(seen, self.begun - start, 0),
            "filled": np.where(seen, self.filled - start, 0),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("symbols", "timeframe", "keep", "recent"):
            setattr(self, name, state[name])
        self.__post_init__()
        self.origin, self.begun, self.filled = state["origin"], state["begun"], state["filled"]
        columns = state["close"].shape[1]
        if columns > self.values.shape[1]:
            self._allocate(columns)
        self.values[: self.symbols, :columns] = np.log(state["close"])
        self.values[self.symbols :, :columns] = state["close"]
        for name in OF_BARS:
            getattr(self, name)[:, columns - state[name].shape[1] : columns] = state[name]
        self.incomplete[:, :columns] = np.unpackbits(state["incomplete"], axis=1, count=columns)
        self.untraded[:, :columns] = state["untraded"]

    def append(self, bars: Bars) -> None:
        """Set the cells of these bars, all of this timeframe."""
        if not len(bars):
            return
        if self.origin == NEVER:
            self.origin = int(bars.ts.min())
        seen, column = self.seen(), (bars.ts - self.origin) // self.timeframe
        forgotten = seen[bars.symbol] & (column < self._oldest())
        if forgotten.any():
            bars, column = bars.rows(~forgotten), column[~forgotten]
            if not len(bars):
                return
        self._make_room(int(column.min()), int(column.max()))
        column = (bars.ts - self.origin) // self.timeframe
        self.values[bars.symbol, column] = np.log(bars.close)
        self.values[bars.symbol + self.symbols, column] = bars.close
        self.volume[bars.symbol, column] = bars.volume
        self.buy_volume[bars.symbol, column] = bars.buy_volume
        self.range_variance[bars.symbol, column] = range_variance(bars.open, bars.high, bars.low, bars.close)
        self.incomplete[bars.symbol, column] = ~bars.complete
        _count_untraded(self.untraded, bars.symbol, column, bars.trades)
        first = np.full(self.symbols, LATEST)
        np.minimum.at(first, bars.symbol, column)
        came = first != LATEST
        self.begun[came & ~seen] = first[came & ~seen]
        np.maximum.at(self.filled, bars.symbol, column + 1)

    def seen(self) -> Flags:
        """(symbols,) which symbols have had a bar."""
        seen: Flags = self.filled != self.begun
        return seen

    def ts(self, column: Longs) -> Longs:
        """Opening times of columns, µs."""
        return self.origin + column * self.timeframe

    def _oldest(self) -> int:
        """The first column that a later row can look back to."""
        seen = self.seen()
        return int(self.filled[seen].min()) - self.keep if seen.any() else 0

    def _allocate(self, columns: int) -> None:
        self.values = np.full((2 * self.symbols, columns), np.nan)
        for name in OF_BARS:
            setattr(self, name, np.full((self.symbols, columns), np.nan))
        self.incomplete = np.zeros((self.symbols, columns), np.bool_)
        self.untraded = np.zeros((self.symbols, columns), np.int64)

    def _make_room(self, lowest: int, highest: int) -> None:
        """Make columns `lowest` … `highest` fit: forget old ones first, grow when a symbol that lags still
        needs them.
        """
        columns = self.values.shape[1]
        if lowest >= 0 and highest < columns:
            return
        needed = [lowest, *(self.filled[self.seen()] - self.keep).tolist()]
        shift = min(*needed, highest + 1 - self.keep)
        width = max(columns, highest + 1 - shift + (0 if highest + 1 - shift <= columns else self.keep))
        source = slice(max(shift, 0), columns)
        kept = max(columns - max(shift, 0), 0)
        target = slice(max(-shift, 0), max(-shift, 0) + kept)
        for name, empty in (
            ("values", np.nan),
            *((name, np.nan) for name in OF_BARS),
            ("incomplete", False),
            ("untraded", 0),
        ):
            old = getattr(self, name)
            new = np.full((old.shape[0], max(width, target.stop)), empty, old.dtype)
            new[:, target] = old[:, source]
            setattr(self, name, new)
        self.origin += shift * self.timeframe
        seen = self.seen()
        self.begun[seen] -= shift
        self.filled[seen] -= shift
        for s in np.flatnonzero(seen).tolist():
            # forgotten
            self.incomplete[s, max(int(self.begun[s]), 0) : min(int(self.filled[s]), target.start)] = True


@compiled()
def _count_untraded(untraded: Longs, symbol: Codes, column: Longs, trades: Longs) -> None:
    """Set the cells of these bars, each symbol's in time order."""
    for i in range(len(symbol)):
        s, j = symbol[i], column[i]
        before = untraded[s, j - 1] if j > 0 else 0
        # a NULL is of a candle, which says nothing of trades
        untraded[s, j] = 0 if trades[i] != 0 else before + 1
