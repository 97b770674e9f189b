"""Closed bars of several timeframes from trades, for all symbols of a source partition at once.

    open, high, low, close = first, largest, smallest, last p
    volume       = Σ q          buy_volume = Σ q where the taker bought
    quote_volume = Σ p·q        trades     = Σ trades of the row

over the trades of a bar **in id order** (many trades share a millisecond). The 1 s bars are made from trades,
and every longer timeframe from the 1 s bars. A bar covers [ts, ts + timeframe), where ts is a multiple of the
timeframe since the epoch. A span without trades has a bar, too: its volume is 0, and all four prices are the
close before. A trade that is older than the bar of the trade before it counts in that bar: the order of
trades is that of their ids, not of their times.

A bar closes when the watermark of its symbol reaches its end, or when a later trade of the symbol comes. It
is emitted once, with one exception. The bars that the watermark closed, from the bar of the symbol's last
trade on, are right only if no trade follows. If a trade comes nevertheless, with a time before the watermark
or after a hole of ids, these bars are taken back, corrected, and emitted again up to the watermark. Bars
without trades that end before the late trade have not changed and are not emitted again. So the final content
of every bar depends on the trades and on the last watermark alone, not on when either of them came.

Shapes: one row per trade in, one row per bar out, with each symbol and timeframe in time order. Prices are in
the quote asset, times in µs since the epoch. The state has shape (timeframes, symbols), twice. `update` costs
one pass over the trades and one over the closed bars.

Undefined: a symbol has no bars before its first trade. `complete` is False for the bar that contains the
first trade, for every bar that a hole of ids touches, and for every longer bar that contains one of these.

Reference: the exchange's own candles, which agree.

>>> builder = BarBuilder.of(symbols=1, timeframes_us=(1_000_000,))
>>> one = np.array([1], dtype=np.int64)
>>> def trade(id, ts, price, watermark):
...     symbol, sold, after_hole = np.array([0], np.int32), np.array([False]), np.array([id == 1])
...     price, qty = np.array([price]), np.array([2.0])
...     return Trades(symbol, one * id, one * ts, price, qty, sold, one, after_hole, one * watermark)
>>> len(builder.update(trade(1, 1_200_000, 10.0, 1_200_000)))
0
>>> bars = builder.update(trade(2, 3_000_000, 11.0, 3_000_000))
>>> bars.ts.tolist(), bars.close.tolist(), bars.volume.tolist(), bars.complete.tolist()
([1000000, 2000000], [10.0, 10.0], [2.0, 0.0], [False, True])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.columns import LATEST, NEVER, SECOND_US, Bars, Codes, Flags, Floats, Longs, Sides, Trades
from operators.compiled import compiled

# Columns of `sums`: the numbers of a bar in progress.
OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE_VOLUME, BUY_VOLUME = range(7)
MEASURES = 7


class Progress(NamedTuple):
    """Bars in progress."""

    ts: Longs  # (symbols,) opening time of the 1 s bar; NEVER before the first trade
    opened: Longs  # (timeframes, symbols) opening time of the bar
    sums: Floats  # (timeframes, symbols, MEASURES)
    trades: Longs  # (timeframes, symbols)
    complete: Flags  # (timeframes, symbols)

    @classmethod
    def none(cls, timeframes: int, symbols: int) -> "Progress":
        shape = (timeframes, symbols)
        return cls(
            ts=np.full(symbols, NEVER),
            opened=np.full(shape, NEVER),
            sums=np.zeros((*shape, MEASURES)),
            trades=np.zeros(shape, np.int64),
            complete=np.ones(shape, np.bool_),
        )


class Closed(NamedTuple):
    """Memory for closed bars. Shapes (n,), `sums` (MEASURES, n)."""

    symbol: Codes
    timeframe: Longs
    ts: Longs
    sums: Floats
    trades: Longs
    complete: Flags

    @classmethod
    def room(cls, n: int) -> "Closed":
        longs = [np.empty(n, np.int64) for _ in range(3)]
        return cls(
            np.empty(n, np.int32),
            longs[0],
            longs[1],
            np.empty((MEASURES, n)),
            longs[2],
            np.empty(n, np.bool_),
        )


@dataclass(slots=True)
class BarBuilder:
    """Trades in, closed bars out. Pickles."""

    timeframes: Longs  # (timeframes,) µs, the first is 1 s
    emitted: Flags  # (timeframes,) whether bars of the timeframe are wanted
    now: Progress
    # the state after the symbol's last trade, if the watermark has closed bars since; otherwise `ts` is NEVER
    traded: Progress
    watermark: Longs  # (symbols,)

    @classmethod
    def of(cls, symbols: int, timeframes_us: Sequence[int]) -> "BarBuilder":
        """A builder that has seen no trade; `timeframes_us` are multiples of one second."""
        wanted = sorted(set(timeframes_us))
        if any(t < SECOND_US or t % SECOND_US for t in wanted):
            raise ValueError(f"timeframes are whole seconds, got {wanted} µs")
        timeframes = sorted({SECOND_US, *wanted})
        return cls(
            timeframes=np.array(timeframes, np.int64),
            emitted=np.array([t in wanted for t in timeframes]),
            now=Progress.none(len(timeframes), symbols),
            traded=Progress.none(len(timeframes), symbols),
            watermark=np.full(symbols, NEVER),
        )

    def seed(self, seconds: Bars) -> None:
        """Continue after these closed 1 s bars, as if the builder had seen their trades.

        Each symbol's bars are in time order without holes. They reach back to the opening of its longest bar
        in progress.
        """
        _seed(
            seconds.symbol,
            seconds.ts,
            _sums(seconds),
            seconds.trades,
            seconds.complete,
            self.timeframes,
            self.now,
        )
        began = self.now.ts != NEVER
        self.watermark[began] = np.maximum(self.watermark[began], self.now.ts[began])

    def update(self, trades: Trades) -> Bars:
        """The bars that these trades and their watermark close.

        Each symbol and timeframe is in time order. A bar comes once, unless a late trade changes it.
        """
        np.maximum(self.watermark, trades.watermark, out=self.watermark)
        closed = Closed.room(self._most(trades))
        n = _build(
            trades.symbol, trades.ts, trades.price, trades.qty, trades.is_buyer_maker, trades.count,
            trades.after_hole, self.watermark, self.timeframes, self.emitted, self.now, self.traded, closed,
        )  # fmt: skip
        return Bars(
            symbol=closed.symbol[:n],
            timeframe=closed.timeframe[:n],
            ts=closed.ts[:n],
            open=closed.sums[OPEN, :n],
            high=closed.sums[HIGH, :n],
            low=closed.sums[LOW, :n],
            close=closed.sums[CLOSE, :n],
            volume=closed.sums[VOLUME, :n],
            quote_volume=closed.sums[QUOTE_VOLUME, :n],
            trades=closed.trades[:n],
            buy_volume=closed.sums[BUY_VOLUME, :n],
            complete=closed.complete[:n],
            watermark=self.watermark.copy(),
        )

    def _most(self, trades: Trades) -> int:
        """An upper bound of the number of bars that the trades and the watermark close."""
        reach = self.watermark.copy()
        np.maximum.at(reach, trades.symbol, trades.ts)
        comes = np.zeros(len(reach), np.bool_)
        comes[trades.symbol] = True
        start = np.where(comes & (self.traded.ts != NEVER), self.traded.ts, self.now.ts)
        fresh = start == NEVER
        if fresh.any():
            first = np.full_like(start, LATEST)
            np.minimum.at(first, trades.symbol, trades.ts)
            start[fresh] = first[fresh]
        seconds = np.maximum(reach // SECOND_US - start // SECOND_US, 0)[start != LATEST] + 1
        return int(sum((seconds // (t // SECOND_US) + 2).sum() for t in self.timeframes))


def _sums(bars: Bars) -> Floats:
    """(MEASURES, n) the numbers of closed bars, as a bar in progress holds them."""
    return np.stack(
        [bars.open, bars.high, bars.low, bars.close, bars.volume, bars.quote_volume, bars.buy_volume]
    )


@compiled()
def _seed(
    symbol: Codes, ts: Longs, sums: Floats, trades: Longs, complete: Flags, timeframes: Longs, now: Progress
) -> None:
    """Close these 1 s bars one after the other, without emitting any."""
    nothing, never = np.zeros(len(timeframes), np.bool_), np.empty(0, np.int64)
    nowhere = Closed(np.empty(0, np.int32), never, never, np.empty((MEASURES, 0)), never, nothing)
    for i in range(len(ts)):
        s = symbol[i]
        now.ts[s] = ts[i]
        now.sums[0, s] = sums[:, i]
        now.trades[0, s], now.complete[0, s] = trades[i], complete[i]
        _close(s, timeframes, nothing, now, nowhere, 0)


@compiled()
def _build(
    symbol: Codes, ts: Longs, price: Floats, qty: Floats, is_buyer_maker: Flags | Sides, count: Longs,
    after_hole: Flags, watermark: Longs, timeframes: Longs, emitted: Flags,
    now: Progress, traded: Progress, closed: Closed,
) -> int:  # fmt: skip
    """Apply the trades, then the watermark; write the closed bars and return their number."""
    n = 0
    # unpacked once: each access to a field of a tuple costs the updates of a reference count
    bar_ts, sums, counts, whole, traded_ts = now.ts, now.sums, now.trades, now.complete, traded.ts
    nothing = np.zeros(len(timeframes), np.bool_)
    for i in range(len(ts)):
        s = symbol[i]
        second = ts[i] - ts[i] % SECOND_US
        hole = after_hole[i]
        again = False  # re-closing bars that were already emitted unchanged: do not emit them again
        if bar_ts[s] == NEVER:
            bar_ts[s] = second
            _begin(s, price[i], now)
            whole[0, s] = False  # trades before the first one were not seen
        elif traded_ts[s] != NEVER:
            if second < bar_ts[s] or hole:
                _copy(s, traded, now)
                again = not hole
            traded_ts[s] = NEVER
        if hole:
            whole[0, s] = False
        while bar_ts[s] < second:
            n = _close(s, timeframes, nothing if again else emitted, now, closed, n)
            if hole:
                whole[0, s] = False  # the missing trades may lie in any bar up to this one
        bar = sums[0, s]
        if counts[0, s] == 0:
            bar[OPEN] = bar[HIGH] = bar[LOW] = price[i]
        bar[HIGH] = max(bar[HIGH], price[i])
        bar[LOW] = min(bar[LOW], price[i])
        bar[CLOSE] = price[i]
        bar[VOLUME] += qty[i]
        bar[QUOTE_VOLUME] += price[i] * qty[i]
        if is_buyer_maker[i] == 0:
            bar[BUY_VOLUME] += qty[i]
        elif is_buyer_maker[i] != 1:
            bar[BUY_VOLUME] = np.nan
        counts[0, s] += count[i]
    for s in range(len(watermark)):
        if now.ts[s] != NEVER and now.ts[s] + SECOND_US <= watermark[s]:
            if traded.ts[s] == NEVER:
                _copy(s, now, traded)
            while now.ts[s] + SECOND_US <= watermark[s]:
                n = _close(s, timeframes, emitted, now, closed, n)
    return n


@compiled()
def _copy(s: int, source: Progress, target: Progress) -> None:
    """Copy one symbol's bars in progress from `source` to `target`."""
    target.ts[s] = source.ts[s]
    for f in range(len(source.opened)):
        target.opened[f, s] = source.opened[f, s]
        target.sums[f, s] = source.sums[f, s]
        target.trades[f, s] = source.trades[f, s]
        target.complete[f, s] = source.complete[f, s]


@compiled()
def _begin(s: int, close: float, now: Progress) -> None:
    """Begin a 1 s bar without trades at the close before."""
    now.sums[0, s, OPEN : CLOSE + 1] = close
    now.sums[0, s, VOLUME:] = 0.0
    now.trades[0, s] = 0
    now.complete[0, s] = True


@compiled()
def _close(s: int, timeframes: Longs, emitted: Flags, now: Progress, closed: Closed, n: int) -> int:
    """Close the symbol's 1 s bar and every longer bar that ends with it; begin the next second."""
    ts = now.ts[s]
    end = ts + SECOND_US
    second = now.sums[0, s]
    now.opened[0, s] = ts
    for f in range(len(timeframes)):
        if f > 0:
            longer = now.sums[f, s]
            opening = ts - ts % timeframes[f]
            if now.opened[f, s] != opening:
                now.opened[f, s] = opening
                longer[:] = second
                now.trades[f, s] = now.trades[0, s]
                now.complete[f, s] = now.complete[0, s] and ts == opening
            else:
                # only trades open a bar: a second without trades repeats the close before
                if now.trades[f, s] == 0:
                    longer[OPEN : LOW + 1] = second[OPEN : LOW + 1]
                elif now.trades[0, s] > 0:
                    longer[HIGH] = max(longer[HIGH], second[HIGH])
                    longer[LOW] = min(longer[LOW], second[LOW])
                longer[CLOSE] = second[CLOSE]
                longer[VOLUME:] += second[VOLUME:]
                now.trades[f, s] += now.trades[0, s]
                now.complete[f, s] = now.complete[f, s] and now.complete[0, s]
        if emitted[f] and end == now.opened[f, s] + timeframes[f]:
            closed.symbol[n] = s
            closed.timeframe[n] = timeframes[f]
            closed.ts[n] = now.opened[f, s]
            closed.sums[:, n] = now.sums[f, s]
            closed.trades[n] = now.trades[f, s]
            closed.complete[n] = now.complete[f, s]
            n += 1
    now.ts[s] = end
    _begin(s, second[CLOSE], now)
    return n
