"""What an exchange remembers of one symbol: trades, aggregate trades, and the candles made of them. No clock:
`now` is passed in.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flows.feed.frames import COLUMNS, Frames
from operators.columns import DAY_US, MINUTE_US, SECOND_US, Longs

INTERVALS_US: Final = {
    "1s": SECOND_US,
    **{f"{n}m": n * MINUTE_US for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 60 * MINUTE_US for n in (1, 2, 4, 6, 8, 12)},
    "1d": DAY_US,
    "3d": 3 * DAY_US,
    "1w": 7 * DAY_US,
}
MONDAY_US: Final = 4 * DAY_US  # the epoch began on a Thursday; weeks begin on Mondays
EXTRA: Final = ("first", "last", "at", "turn")


class _Columns:
    """Growing columns of equal length; a slice of them is a view."""

    def __init__(self) -> None:
        self.size = 0
        none = Frames.none(0)
        self._columns = {name: getattr(none, name) for name in COLUMNS} | {
            name: np.empty(0, np.int64) for name in EXTRA
        }

    def append(self, **columns: npt.NDArray[Any]) -> None:
        added = len(columns["id"])
        needed = self.size + added
        if needed > len(self._columns["id"]):
            room = max(needed, 2 * self.size, 1024)
            for name, old in self._columns.items():
                self._columns[name] = np.empty(room, old.dtype)
                self._columns[name][: self.size] = old[: self.size]
        for name, new in columns.items():
            self._columns[name][self.size : needed] = new
        self.size = needed

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = self._columns[name]
        return column[: self.size]

    def frames(self, chosen: slice | Longs) -> Frames:
        columns: dict[str, Any] = {name: self[name][chosen] for name in COLUMNS}
        return replace(Frames.none(0), **columns)


class Tape:
    """Trades of one symbol in id order, and the aggregate trades they make.

    An aggregate is a run of trades with consecutive ids and the same price, taker side and millisecond. A row
    has happened when the time is `at` or later: its trade time, or that of an earlier id where that is later.
    """

    def __init__(self, first_agg_id: int = 1_000_000) -> None:
        self.trades = _Columns()
        self.aggs = _Columns()
        self._next_agg_id = first_agg_id

    def append(self, trades: Frames, turn: Longs | None = None) -> None:
        """Add trades in id order, whole milliseconds at a time (a run that goes on in the next call is not
        seen).

        `turn` orders them among the trades of other symbols that happen at the same time.
        """
        if not len(trades):
            return
        turns = np.zeros(len(trades), np.int64) if turn is None else np.maximum.accumulate(turn)
        columns = {name: getattr(trades, name) for name in COLUMNS}
        self.trades.append(
            **columns, first=trades.id, last=trades.id, at=self._at(trades.ts, self.trades), turn=turns
        )
        ms = trades.ts // 1000
        begins = np.ones(len(trades), np.bool_)
        begins[1:] = (
            (ms[1:] != ms[:-1])
            | (trades.price[1:] != trades.price[:-1])
            | (trades.is_buyer_maker[1:] != trades.is_buyer_maker[:-1])
            | (trades.id[1:] != trades.id[:-1] + 1)
        )
        start = np.flatnonzero(begins)
        end = np.append(start[1:], len(trades)) - 1
        runs = trades.rows(end)
        columns = {
            "qty": np.add.reduceat(trades.qty, start),
            "count": end - start + 1,
            "first": trades.id[start],
            "last": trades.id[end],
        }
        ids = self._next_agg_id + np.arange(len(runs), dtype=np.int64)
        self._next_agg_id += len(runs)
        self._append_aggs(runs, turns[end], columns | {"id": ids})

    def append_aggregates(self, aggs: Frames, turn: Longs | None = None) -> None:
        """Add the aggregates of a recording that has no single trades; their trades are numbered from 1."""
        last = np.cumsum(aggs.count) + (int(self.aggs["last"][-1]) if self.aggs.size else 0)
        turns = np.zeros(len(aggs), np.int64) if turn is None else np.maximum.accumulate(turn)
        self._append_aggs(aggs, turns, {"first": last - aggs.count + 1, "last": last})

    def _append_aggs(self, runs: Frames, turn: Longs, changed: dict[str, Any]) -> None:
        columns = {name: getattr(runs, name) for name in COLUMNS} | changed
        self.aggs.append(**columns, at=self._at(runs.ts, self.aggs), turn=turn)

    @staticmethod
    def _at(ts: Longs, before: _Columns) -> Longs:
        at: Longs = np.maximum.accumulate(ts)
        return np.maximum(at, before["at"][-1]) if before.size else at

    def happened(self, stream: str, now_us: int) -> int:
        """How many rows of the stream (trade or aggTrade) have happened by now."""
        return int(np.searchsorted(self.rows(stream)["at"], now_us, side="right"))

    def rows(self, stream: str) -> _Columns:
        return self.trades if stream == "trade" else self.aggs

    def klines(
        self, interval: str, start_us: int | None, end_us: int | None, limit: int, now_us: int
    ) -> "list[Kline]":
        """Candles that open within [start, end], at most `limit`: the first ones when a start is given, the
        latest otherwise.

        The newest is the one in progress. A candle without trades has the close before it, four times; none
        comes before the first trade.
        """
        step = INTERVALS_US[interval]
        origin = MONDAY_US if interval == "1w" else 0
        n = self.happened("aggTrade", now_us)
        if not n:
            return []
        ts = self.aggs["at"][:n].astype(np.int64)
        oldest, newest = _floor(int(ts[0]), step, origin), _floor(now_us, step, origin)
        low = oldest if start_us is None else max(oldest, -_floor(-start_us, step, -origin))
        high = newest if end_us is None else min(newest, _floor(end_us, step, origin))
        if start_us is None:
            low = max(low, high - (limit - 1) * step)
        else:
            high = min(high, low + (limit - 1) * step)
        if high < low:
            return []
        opens = np.arange(low, high + step, step, dtype=np.int64)
        edges = np.searchsorted(ts, np.append(opens, high + step), side="left")
        return [
            self._kline(int(open_us), step, int(a), int(b))
            for open_us, a, b in zip(opens, edges[:-1], edges[1:], strict=True)
        ]

    def _kline(self, open_us: int, step: int, a: int, b: int) -> "Kline":
        price, qty = self.aggs["price"], self.aggs["qty"]
        if a == b:
            before = float(price[a - 1])
            return Kline(open_us, before, before, before, before, 0.0, open_us + step - 1, 0.0, 0, 0.0, 0.0)
        p, q = price[a:b].astype(np.float64), qty[a:b].astype(np.float64)
        taker_bought = ~self.aggs["is_buyer_maker"][a:b].astype(np.bool_)
        return Kline(
            open_us,
            float(p[0]),
            float(p.max()),
            float(p.min()),
            float(p[-1]),
            float(q.sum()),
            open_us + step - 1,
            float(p @ q),
            int(self.aggs["count"][a:b].sum()),
            float(q[taker_bought].sum()),
            float(p[taker_bought] @ q[taker_bought]),
        )


class Kline(list[float]):
    """open time µs, open, high, low, close, volume, close time µs, quote volume, trades, taker buy volume,
    taker buy quote volume.
    """

    FIELDS: Final = (
        "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "buy_volume", "buy_quote_volume",
    )  # fmt: skip

    def __init__(self, *fields: float) -> None:
        super().__init__(fields)


def _floor(us: int, step: int, origin: int) -> int:
    return (us - origin) // step * step + origin
