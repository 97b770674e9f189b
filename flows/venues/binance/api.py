"""Binance over REST: its clock, symbols, trades and candles."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from flows.feed.frames import Frames, microseconds
from flows.feed.http import Api
from flows.feed.refusals import BAD_REQUEST, Failed, Refused, error_in, of_another_kind
from flows.markets import AGG_TRADE, TRADE
from flows.venues.binance.messages import decode_rest
from flows.venues.binance.names import grouped
from operators.candles import FIELDS, Candles
from operators.columns import Longs

# no longer than our bars
INTERVALS_US: Final = {"1s": 1_000_000, "1m": 60_000_000, "3m": 180_000_000, "5m": 300_000_000}
PAGE: Final = 1_000  # trades, or candles, in one answer at most
ASKED_FOR: Final = 100  # symbols in one request
UNKNOWN_SYMBOL: Final = -1121
TRADING: Final = "TRADING"


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


class _Listed(msgspec.Struct, gc=False):
    id: int | None = None
    a: int | None = None


_KLINES: Final = msgspec.json.Decoder(list[_Kline], strict=False)
_AGGREGATES: Final = msgspec.json.Decoder(list[_Aggregate])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_TIME: Final = msgspec.json.Decoder(_Time)


class BinanceApi(Api):
    """Binance's REST, as spot has it. USD-M futures (`flows/venues/usdm/`) have other paths and weights."""

    headers: ClassVar[Mapping[str, str]] = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    used_header = "X-MBX-USED-WEIGHT-1M"
    weight = 5_000  # of 6,000
    root: ClassVar[str] = "/api/v3/"
    trade_paths: ClassVar[Mapping[str, str]] = {TRADE: "historicalTrades", AGG_TRADE: "aggTrades"}
    weights: ClassVar[Mapping[str, int]] = {
        "time": 1,
        "exchangeInfo": 20,
        "historicalTrades": 25,
        "aggTrades": 4,
        "klines": 2,
    }

    @staticmethod
    def is_unknown(status: int, body: bytes) -> bool:
        return status == BAD_REQUEST and error_in(body).get("code") == UNKNOWN_SYMBOL

    @staticmethod
    def instead(path: str) -> str:
        return "set source.stream: aggTrade" if path.endswith("/historicalTrades") else ""

    def clock_us(self) -> int:
        return _microseconds(self._asked("time", {}, _TIME, "time").serverTime)

    def untraded(self, symbols: Sequence[str]) -> list[str]:
        return [symbol for group in grouped(symbols, ASKED_FOR) for symbol in self._untraded(group)]

    def _untraded(self, symbols: Sequence[str]) -> list[str]:
        """One request when the venue knows all of them, else halves."""
        query = {"symbol": symbols[0]} if len(symbols) == 1 else {"symbols": _json(symbols)}
        try:
            listed = self._listed(query)
        except Refused as error:
            if error.status != BAD_REQUEST:
                raise
            if len(symbols) == 1:
                return list(symbols)
            half = len(symbols) // 2
            return self._untraded(symbols[:half]) + self._untraded(symbols[half:])
        return [symbol for symbol in symbols if listed.get(symbol) != TRADING]

    def trades(
        self, stream: str, symbol: str, from_id: int | None, limit: int, code: int = 0, symbols: int = 1
    ) -> tuple[Frames, Longs]:
        query = (
            {"symbol": symbol} | ({} if from_id is None else {"fromId": str(from_id)}) | {"limit": str(limit)}
        )
        path = self.trade_paths[stream]
        body = self._get(path, query)
        frames = decode_rest(body, code, stream, symbols)
        if frames.unreadable or frames.controls:
            raise of_another_kind(self.root + path, body, "list of trades")
        listed = _ids(body)
        return frames, frames.id if listed is None else listed

    def first_id_from(self, stream: str, symbol: str, ts: int) -> int | None:
        for _ in range(2):  # a trade may come between the two questions
            query = {"symbol": symbol, "limit": "1", "startTime": str(ts)}
            if found := self._asked("aggTrades", query, _AGGREGATES, "list of trades"):
                return int(found[0].f if stream == TRADE else found[0].a)
            decoder = _TRADES if stream == TRADE else _AGGREGATES
            query = {"symbol": symbol, "limit": "1"}
            newest = self._asked(self.trade_paths[stream], query, decoder, "list of trades")
            if not newest:
                return None
            time, id_ = (newest[-1].time, newest[-1].id) if stream == TRADE else (newest[-1].T, newest[-1].a)
            if _microseconds(time) < ts:
                return int(id_) + 1
        raise Failed(f"{symbol}: trades after {np.datetime64(ts, 'us')}Z are listed, but not from there on")

    def klines(self, symbol: str, length: int, start: int, end: int) -> Candles:
        word = next(word for word, us in INTERVALS_US.items() if us == length)
        rows: list[_Kline] = []
        while start < end:
            query = {
                "symbol": symbol,
                "interval": word,
                "startTime": str(start),
                "endTime": str(end - 1),
                "limit": str(PAGE),
            }
            page = self._asked("klines", query, _KLINES, "list of candles")
            rows += page
            if len(page) < PAGE:
                break
            start = _microseconds(page[-1].open_time) + length
        found: Candles = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in FIELDS}
        found["trades"] = found["trades"].astype(np.int64)
        found["ts"] = microseconds(np.array([row.open_time for row in rows], np.int64))
        return found

    def _listed(self, query: Mapping[str, str]) -> dict[str, str]:
        """The status of each symbol that the venue lists."""
        body = self._get("exchangeInfo", query)
        try:
            answer = msgspec.json.decode(body, type=dict[str, Any])
            return {entry["symbol"]: entry["status"] for entry in answer["symbols"]}
        except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
            raise of_another_kind(self.root + "exchangeInfo", body, "list of symbols") from None

    def _get(self, endpoint: str, query: Mapping[str, str]) -> bytes:
        return self.get(self.root + endpoint, query, self.weights[endpoint])

    def _asked(
        self, endpoint: str, query: Mapping[str, str], decoder: "msgspec.json.Decoder[Any]", what: str
    ) -> Any:
        body = self._get(endpoint, query)
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, ValueError):
            raise of_another_kind(self.root + endpoint, body, what) from None


def _microseconds(time: int) -> int:
    return int(microseconds(np.array([time]))[0])


def _json(symbols: Sequence[str]) -> str:
    return msgspec.json.encode(list(symbols)).decode()


def _ids(body: bytes) -> Longs | None:
    """The ids that an answer lists, of sound trades or not; None when one has none."""
    with suppress(msgspec.MsgspecError, OverflowError, TypeError):
        rows = msgspec.json.decode(body, type=list[_Listed])
        return np.array([row.a if row.id is None else row.id for row in rows], np.int64)
    return None
