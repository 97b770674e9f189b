"""Closed bars of several timeframes from trades, all symbols of a source partition at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from operators.columns import NEVER, SECOND_US, Bars, Codes, Flags, Floats, Longs, Trades

# Rows of the accumulators: what a bar in progress holds.
OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE_VOLUME, BUY_VOLUME = range(7)
MEASURES = 7


@dataclass(slots=True)
class BarBuilder:
    """Trades in, closed bars out: 1 s bars from trades, every longer timeframe from the 1 s bars.

    open, high, low, close: first, largest, smallest and last price of the bar's trades **in id order** (many share a millisecond);
    volume = Σ q, quote_volume = Σ p·q, buy_volume = Σ q of trades whose taker bought. A bar covers [ts, ts + timeframe), ts a
    multiple of the timeframe since the epoch, and is emitted once: when the watermark of its symbol reaches its end, or a later
    trade of the symbol comes. A span without trades has bars too: volume 0, all four prices the close before.

    `complete` is false for the bar in which a symbol's first trade falls, for all bars that a hole of ids touches, and for every
    longer bar that holds such a one. A trade whose time lies before the bar in progress counts in that bar: ids, not
    times, are the order of trades.

    Shapes: state is (timeframes, symbols); `update` costs one pass over the trades plus one over the bars closed.

    >>> builder = BarBuilder.of(symbols=1, timeframes_us=(1_000_000,))
    >>> one = np.array([1], dtype=np.int64)
    >>> def trade(id, ts, price, watermark):
    ...     return Trades(np.array([0], np.int32), one * id, one * ts, np.array([price]), np.array([2.0]), np.array([False]), one,
    ...                   np.array([id == 1]), np.array([watermark], np.int64))
    >>> len(builder.update(trade(1, 1_200_000, 10.0, 1_200_000)))
    0
    >>> bars = builder.update(trade(2, 3_000_000, 11.0, 3_000_000))
    >>> bars.ts.tolist(), bars.close.tolist(), bars.volume.tolist(), bars.complete.tolist()
    ([1000000, 2000000], [10.0, 10.0], [2.0, 0.0], [False, True])
    """

    timeframes: Longs  # (timeframes,) µs, the first is 1 s
    emitted: Flags  # (timeframes,) whether bars of the timeframe are wanted
    ts: Longs  # (symbols,) opening of the 1 s bar in progress; NEVER before the first trade
    opened: Longs  # (timeframes, symbols) opening of the bar in progress
    sums: Floats  # (timeframes, symbols, MEASURES)
    trades: Longs  # (timeframes, symbols)
    complete: Flags  # (timeframes, symbols)
    watermark: Longs  # (symbols,)

    @classmethod
    def of(cls, symbols: int, timeframes_us: Sequence[int]) -> "BarBuilder":
        """A builder that has seen nothing; `timeframes_us` are multiples of one second."""
        wanted = sorted(set(timeframes_us))
        if any(t < SECOND_US or t % SECOND_US for t in wanted):
            raise ValueError(f"timeframes are whole seconds, got {wanted} µs")
        timeframes = sorted({SECOND_US, *wanted})
        shape = (len(timeframes), symbols)
        return cls(
            timeframes=np.array(timeframes, np.int64),
            emitted=np.array([t in wanted for t in timeframes]),
            ts=np.full(symbols, NEVER),
            opened=np.full(shape, NEVER),
            sums=np.zeros((*shape, MEASURES)),
            trades=np.zeros(shape, np.int64),
            complete=np.ones(shape, np.bool_),
            watermark=np.full(symbols, NEVER),
        )

    def seed(self, seconds: Bars) -> None:
        """Begin every symbol of these closed 1 s bars behind its last one, as if its trades had been seen.

        Each symbol's are in time order without holes, and reach back to the opening of its longest bar in progress.
        """
        _seed(
            seconds.symbol, seconds.ts, _measures(seconds), seconds.trades, seconds.complete,
            self.timeframes, self.ts, self.opened, self.sums, self.trades, self.complete,
        )  # fmt: skip
        began = self.ts != NEVER
        self.watermark[began] = np.maximum(self.watermark[began], self.ts[began])

    def update(self, trades: Trades) -> Bars:
        """The bars that these trades and their watermark close, each symbol and timeframe in time order."""
        np.maximum(self.watermark, trades.watermark, out=self.watermark)
        reach = self.watermark.copy()
        np.maximum.at(reach, trades.symbol, trades.ts)
        start = self.ts.copy()
        fresh = start == NEVER
        if fresh.any():
            first = np.full_like(start, np.iinfo(np.int64).max)
            np.minimum.at(first, trades.symbol, trades.ts)
            start[fresh] = first[fresh]
        seconds = np.maximum(reach // SECOND_US - start // SECOND_US, 0)[start != np.iinfo(np.int64).max] + 1
        room = int(sum((seconds // (t // SECOND_US) + 2).sum() for t in self.timeframes))
        symbol, timeframe = np.empty(room, np.int32), np.empty(room, np.int64)
        ts, count, complete = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.bool_)
        measures = np.empty((MEASURES, room))
        n = _build(
            trades.symbol, trades.ts, trades.price, trades.qty, trades.is_buyer_maker, trades.count, trades.after_hole,
            self.watermark, self.timeframes, self.emitted,
            self.ts, self.opened, self.sums, self.trades, self.complete,
            symbol, timeframe, ts, measures, count, complete,
        )  # fmt: skip
        return Bars(
            symbol=symbol[:n],
            timeframe=timeframe[:n],
            ts=ts[:n],
            open=measures[OPEN, :n],
            high=measures[HIGH, :n],
            low=measures[LOW, :n],
            close=measures[CLOSE, :n],
            volume=measures[VOLUME, :n],
            quote_volume=measures[QUOTE_VOLUME, :n],
            trades=count[:n],
            buy_volume=measures[BUY_VOLUME, :n],
            complete=complete[:n],
            watermark=self.watermark.copy(),
        )


def _measures(bars: Bars) -> Floats:
    """(MEASURES, n) what a bar in progress holds, of closed ones."""
    return np.stack([bars.open, bars.high, bars.low, bars.close, bars.volume, bars.quote_volume, bars.buy_volume])


@numba.njit(cache=True, nogil=True)
def _seed(
    symbol: Codes, ts: Longs, measures: Floats, count: Longs, complete: Flags,
    timeframes: Longs, bar_ts: Longs, opened: Longs, sums: Floats, counts: Longs, whole: Flags,
) -> None:  # fmt: skip
    """Close these 1 s bars one after the other, and write none."""
    nothing, never = np.zeros(len(timeframes), np.bool_), np.empty(0, np.int64)
    for i in range(len(ts)):
        s = symbol[i]
        bar_ts[s] = ts[i]
        sums[0, s] = measures[:, i]
        counts[0, s], whole[0, s] = count[i], complete[i]
        _close(s, timeframes, nothing, bar_ts, opened, sums, counts, whole,
               np.empty(0, np.int32), never, never, np.empty((MEASURES, 0)), never, nothing, 0)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _build(
    symbol: Codes, ts: Longs, price: Floats, qty: Floats, is_buyer_maker: Flags, count: Longs, after_hole: Flags,
    watermark: Longs, timeframes: Longs, emitted: Flags,
    bar_ts: Longs, opened: Longs, sums: Floats, counts: Longs, whole: Flags,
    out_symbol: Codes, out_timeframe: Longs, out_ts: Longs, out: Floats, out_count: Longs, out_complete: Flags,
) -> int:  # fmt: skip
    """Apply trades, then the watermark; write the closed bars into `out_*` and return how many they are."""
    n = 0
    for i in range(len(ts)):
        s = symbol[i]
        second = ts[i] - ts[i] % SECOND_US
        if bar_ts[s] == NEVER:
            bar_ts[s] = second
            _begin(s, price[i], sums, counts, whole)
            whole[0, s] = False  # what came before the first trade was not seen
        hole = after_hole[i]
        if hole:
            whole[0, s] = False
        while bar_ts[s] < second:
            n = _close(s, timeframes, emitted, bar_ts, opened, sums, counts, whole,
                       out_symbol, out_timeframe, out_ts, out, out_count, out_complete, n)  # fmt: skip
            if hole:
                whole[0, s] = False  # the missing trades may lie anywhere up to this one
        bar = sums[0, s]
        if counts[0, s] == 0:
            bar[OPEN] = bar[HIGH] = bar[LOW] = price[i]
        bar[HIGH] = max(bar[HIGH], price[i])
        bar[LOW] = min(bar[LOW], price[i])
        bar[CLOSE] = price[i]
        bar[VOLUME] += qty[i]
        bar[QUOTE_VOLUME] += price[i] * qty[i]
        if not is_buyer_maker[i]:
            bar[BUY_VOLUME] += qty[i]
        counts[0, s] += count[i]
    for s in range(len(watermark)):
        if bar_ts[s] != NEVER:
            while bar_ts[s] + SECOND_US <= watermark[s]:
                n = _close(s, timeframes, emitted, bar_ts, opened, sums, counts, whole,
                           out_symbol, out_timeframe, out_ts, out, out_count, out_complete, n)  # fmt: skip
    return n


@numba.njit(cache=True, nogil=True)
def _begin(s: int, close: float, sums: Floats, counts: Longs, whole: Flags) -> None:
    """Begin a 1 s bar without trades at the close before."""
    sums[0, s, OPEN : CLOSE + 1] = close
    sums[0, s, VOLUME:] = 0.0
    counts[0, s] = 0
    whole[0, s] = True


@numba.njit(cache=True, nogil=True)
def _close(
    s: int, timeframes: Longs, emitted: Flags, bar_ts: Longs, opened: Longs, sums: Floats, counts: Longs, whole: Flags,
    out_symbol: Codes, out_timeframe: Longs, out_ts: Longs, out: Floats, out_count: Longs, out_complete: Flags, n: int,
) -> int:  # fmt: skip
    """Close the symbol's 1 s bar and with it every longer bar that ends there; begin the next second."""
    end = bar_ts[s] + SECOND_US
    opened[0, s] = bar_ts[s]
    second = sums[0, s]
    for f in range(len(timeframes)):
        if f > 0:
            longer = sums[f, s]
            opening = bar_ts[s] - bar_ts[s] % timeframes[f]
            if opened[f, s] != opening:
                opened[f, s] = opening
                longer[:] = second
                counts[f, s] = counts[0, s]
                whole[f, s] = whole[0, s] and bar_ts[s] == opening
            else:
                if counts[f, s] == 0:  # only trades open a bar: a quiet second's prices are those of the close before
                    longer[OPEN : LOW + 1] = second[OPEN : LOW + 1]
                elif counts[0, s] > 0:
                    longer[HIGH] = max(longer[HIGH], second[HIGH])
                    longer[LOW] = min(longer[LOW], second[LOW])
                longer[CLOSE] = second[CLOSE]
                longer[VOLUME:] += second[VOLUME:]
                counts[f, s] += counts[0, s]
                whole[f, s] = whole[f, s] and whole[0, s]
        if emitted[f] and end == opened[f, s] + timeframes[f]:
            out_symbol[n] = s
            out_timeframe[n] = timeframes[f]
            out_ts[n] = opened[f, s]
            out[:, n] = sums[f, s]
            out_count[n] = counts[f, s]
            out_complete[n] = whole[f, s]
            n += 1
    bar_ts[s] = end
    _begin(s, second[CLOSE], sums, counts, whole)
    return n
