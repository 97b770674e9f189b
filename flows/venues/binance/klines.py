"""What the exchange says of its past: its clock, its candles, and the trade with which a time begins."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from flows.feed.frames import AGG_TRADE, TRADE, microseconds
from flows.venues.binance.refusals import Failed, of_another_kind
from flows.venues.binance.rest import PAGE, PATHS, WEIGHTS, Api
from operators.candles import FIELDS, Candles

# no longer than our bars
INTERVALS_US: Final = {"1s": 1_000_000, "1m": 60_000_000, "3m": 180_000_000, "5m": 300_000_000}
KLINES: Final = "/api/v3/klines"
KLINES_WEIGHT: Final = 2
AGG_TRADES_WEIGHT: Final = 4
TIME_WEIGHT: Final = 1


class _Kline(msgspec.Struct, array_like=True, gc=False):
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    quote_volume: float
    trades: int
    buy_volume: float


class _Time(msgspec.Struct):
    serverTime: int


class _Trade(msgspec.Struct, gc=False):
    id: int
    time: int


class _Aggregate(msgspec.Struct, gc=False):
    a: int
    f: int
    T: int


_KLINES: Final = msgspec.json.Decoder(list[_Kline], strict=False)
_AGGREGATES: Final = msgspec.json.Decoder(list[_Aggregate])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_TIME: Final = msgspec.json.Decoder(_Time)


def _asked(
    api: Api,
    path: str,
    query: Mapping[str, str],
    weight: int,
    decoder: "msgspec.json.Decoder[Any]",
    what: str,
) -> Any:
    body = api.get(path, query, weight)
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError):
        raise of_another_kind(path, body, what) from None


def server_time_us(api: Api) -> int:
    """The exchange's clock, µs since the epoch."""
    time = _asked(api, "/api/v3/time", {}, TIME_WEIGHT, _TIME, "time").serverTime
    return int(microseconds(np.array([time]))[0])


def interval_us(timeframe_us: int) -> int:
    """The longest candle of the exchange that bars of the timeframe can be made of, µs."""
    return max(us for us in INTERVALS_US.values() if timeframe_us % us == 0)


def klines(api: Api, symbol: str, interval: int, start_us: int, end_us: int) -> Candles:
    """The symbol's candles of a length in µs that open within [start, end); those before its first trade are
    absent.
    """
    word = next(word for word, us in INTERVALS_US.items() if us == interval)
    rows: list[_Kline] = []
    while start_us < end_us:
        query = {
            "symbol": symbol,
            "interval": word,
            "startTime": str(start_us),
            "endTime": str(end_us - 1),
            "limit": str(PAGE),
        }
        page = _asked(api, KLINES, query, KLINES_WEIGHT, _KLINES, "list of candles")
        rows += page
        if len(page) < PAGE:
            break
        start_us = int(microseconds(np.array([page[-1].open_time]))[0]) + interval
    found: Candles = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in FIELDS}
    found["trades"] = found["trades"].astype(np.int64)
    found["ts"] = microseconds(np.array([row.open_time for row in rows], np.int64))
    return found


def first_aggregate_from(api: Api, symbol: str, start_us: int) -> _Aggregate | None:
    """The first aggregate trade at or after a time; None where the exchange knows of none."""
    query = {"symbol": symbol, "limit": "1", "startTime": str(start_us)}
    found = _asked(api, PATHS[AGG_TRADE], query, AGG_TRADES_WEIGHT, _AGGREGATES, "list of trades")
    return found[0] if found else None


def first_id_from(api: Api, symbol: str, stream: str, start_us: int) -> int | None:
    """The id of the first trade (`trade`) or aggregate (`aggTrade`) at or after a time, known to the exchange
    or still to come.

    None where the exchange knows of no trade at all: the first one is anybody's guess.
    """
    query = {"symbol": symbol, "limit": "1"}
    decoder = _TRADES if stream == TRADE else _AGGREGATES
    for _ in range(2):  # a trade may come between the two questions
        if found := first_aggregate_from(api, symbol, start_us):
            return int(found.f if stream == TRADE else found.a)
        newest = _asked(api, PATHS[stream], query, WEIGHTS[stream], decoder, "list of trades")
        if not newest:
            return None
        time, id_ = (newest[-1].time, newest[-1].id) if stream == TRADE else (newest[-1].T, newest[-1].a)
        if microseconds(np.array([time]))[0] < start_us:
            return int(id_) + 1
    raise Failed(f"{symbol}: trades after {np.datetime64(start_us, 'us')}Z are told, but not from there on")
