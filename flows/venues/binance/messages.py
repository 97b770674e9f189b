"""Binance's messages: bytes to columns and columns to bytes. No sockets, no clock, and no exception for
whatever the bytes are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from flows.feed.frames import APART_US, LATEST_US, MALFORMED, Frames, join, microseconds, sound
from flows.markets import AGG_TRADE, TRADE
from operators.columns import Longs

# the only X of trades between traders in the order book: others are the exchange's own, and in no candle
MARKET: Final = "MARKET"

JOINED: Final = 512  # frames decoded in one call; when one of them is broken, so many are decoded one by one

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, msgspec.Meta(ge=1, le=LATEST_US)]


class _Trade(msgspec.Struct, gc=False):
    e: Literal["trade"]
    E: Time
    s: str
    t: Id
    p: float
    q: float
    T: Time
    m: bool
    X: Any = MARKET  # of futures and options: what kind of trade it is


class _AggTrade(msgspec.Struct, gc=False):
    e: Literal["aggTrade"]
    E: Time
    s: str
    a: Id
    p: float
    q: float
    f: Id
    l: Id  # noqa: E741 - Binance's name for the last trade's id
    T: Time
    m: bool
    X: Any = MARKET


class _Combined(msgspec.Struct, gc=False):
    data: _Trade


class _CombinedAgg(msgspec.Struct, gc=False):
    data: _AggTrade


class _RestTrade(msgspec.Struct, gc=False):
    id: Id
    price: float
    qty: float
    time: Time
    isBuyerMaker: bool


class _RestAggTrade(msgspec.Struct, gc=False):
    a: Id
    p: float
    q: float
    f: Id
    l: Id  # noqa: E741
    T: Time
    m: bool


class _Decoders:
    """The typed decoders of one stream. Lax: numbers that come as strings are numbers, which is how Binance
    writes prices.
    """

    def __init__(self, combined: type, raw: type, rest: type) -> None:
        self.combined: msgspec.json.Decoder[Any] = msgspec.json.Decoder(combined, strict=False)
        self.raw: msgspec.json.Decoder[Any] = msgspec.json.Decoder(raw, strict=False)
        self.rest: msgspec.json.Decoder[Any] = msgspec.json.Decoder(rest, strict=False)
        self.all_combined: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[combined], strict=False)  # type: ignore[valid-type]
        self.all_raw: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[raw], strict=False)  # type: ignore[valid-type]
        self.all_rest: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[rest], strict=False)  # type: ignore[valid-type]


_DECODERS: Final = {
    TRADE: _Decoders(_Combined, _Trade, _RestTrade),
    AGG_TRADE: _Decoders(_CombinedAgg, _AggTrade, _RestAggTrade),
}
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)  # ValueError: bytes that are not UTF-8


def _counts(first: Longs, last: Longs) -> Longs:
    """Trades of an aggregate; 0, which no sound one has, where last < first or the difference leaves the
    int64s.
    """
    return np.where((first >= 0) & (last >= first) & (last - first < 2**62), last - first + 1, 0)


def _trade_columns(events: list[Any], codes: Mapping[str, int], stream: str, symbols: int) -> Frames:
    code = codes.get
    off_market = 0
    if [e.X for e in events].count(MARKET) != len(events):
        known = [e for e in events if e.X == MARKET or e.s not in codes]
        off_market, events = len(events) - len(known), known
    n = len(events)
    symbol = np.fromiter([code(e.s, -1) for e in events], np.int32, n)
    if stream == TRADE:
        ids = np.fromiter([e.t for e in events], np.int64, n)
        count = np.ones(n, np.int64)
    else:
        ids = np.fromiter([e.a for e in events], np.int64, n)
        count = _counts(
            np.fromiter([e.f for e in events], np.int64, n), np.fromiter([e.l for e in events], np.int64, n)
        )
    ts = np.fromiter([e.T for e in events], np.int64, n)
    event_ts = np.fromiter([e.E for e in events], np.int64, n)
    price = np.fromiter([e.p for e in events], np.float64, n)
    qty = np.fromiter([e.q for e in events], np.float64, n)
    is_buyer_maker = np.fromiter([e.m for e in events], np.bool_, n)
    apart = np.abs(microseconds(ts) - microseconds(event_ts)) > APART_US
    if apart.any():
        ts[apart] = 0  # which no trade has
    found = sound(
        symbol,
        symbols,
        id=ids,
        ts=ts,
        price=price,
        qty=qty,
        is_buyer_maker=is_buyer_maker,
        count=count,
        event_ts=event_ts,
    )
    return replace(found, off_market=off_market) if off_market else found


def _joined(frames: Sequence[bytes], decoders: _Decoders) -> list[Any] | None:
    """The events of frames decoded in one call, or None unless every frame is one event."""
    try:
        array = b"[" + b",".join(frames) + b"]"
        if frames[0].startswith(b'{"stream"'):
            events = [combined.data for combined in decoders.all_combined.decode(array)]
        else:
            events = decoders.all_raw.decode(array)
    except _BROKEN:
        return None
    # two halves may make a whole, and one frame may hold two
    return events if len(events) == len(frames) else None


def _one_by_one(frames: Sequence[bytes], codes: Mapping[str, int], stream: str, symbols: int) -> Frames:
    decoders = _DECODERS[stream]
    events: list[Any] = []
    rejected = np.zeros(symbols, np.int64)
    unreadable = foreign = off_market = 0
    controls: list[dict[str, Any]] = []
    for frame in frames:
        try:
            events.append(decoders.combined.decode(frame).data)
            continue
        except _BROKEN:
            pass
        try:
            events.append(decoders.raw.decode(frame))
            continue
        except _BROKEN:
            pass
        try:
            message = msgspec.json.decode(frame)
        except _BROKEN:
            unreadable += 1
            continue
        event = message.get("data", message) if isinstance(message, dict) else None
        if not isinstance(event, dict):
            unreadable += 1
        elif (
            event.get("e") == "serverShutdown"
            or "result" in event
            or "error" in event
            or ("code" in event and "msg" in event)
        ):
            controls.append(event)
        else:
            name = event.get("s")
            code = codes.get(name, -1) if isinstance(name, str) else -1
            if event.get("e") == stream and code >= 0 and event.get("X", MARKET) != MARKET:
                off_market += 1
            elif event.get("e") == stream and code >= 0:
                rejected[code] += 1
            elif isinstance(event.get("e"), str) and isinstance(name, str):
                foreign += 1
            else:
                unreadable += 1
    found = _trade_columns(events, codes, stream, symbols)
    reasons = Counter({MALFORMED: int(rejected.sum())} if rejected.any() else {})
    counts: dict[str, Any] = {
        "unreadable": unreadable,
        "foreign": foreign,
        "off_market": off_market,
        "controls": controls,
    }
    counted = replace(Frames.none(symbols), rejected=rejected, reasons=reasons, **counts)
    return join([found, counted], symbols)


def decode(
    frames: Sequence[bytes | str], codes: Mapping[str, int], stream: str, symbols: int | None = None
) -> Frames:
    """The trades of websocket frames, combined (`{"stream":…,"data":…}`) or raw, in the order given.

    `codes` has the codes of symbols among so many `symbols` (default: all of them); `stream` is `trade` or
    `aggTrade`. Nothing raises: what is no trade is counted.
    """
    symbols = len(codes) if symbols is None else symbols
    decoders = _DECODERS[stream]
    encoded = [
        frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass") for frame in frames
    ]
    parts = []
    for start in range(0, len(encoded), JOINED):
        chunk = encoded[start : start + JOINED]
        events = _joined(chunk, decoders)
        parts.append(
            _one_by_one(chunk, codes, stream, symbols)
            if events is None
            else _trade_columns(events, codes, stream, symbols)
        )
    return join(parts, symbols)


def decode_rest(body: bytes, code: int, stream: str, symbols: int | None = None) -> Frames:
    """The trades of an answer of `trades` and `historicalTrades` (stream `trade`) or of `aggTrades`, for the
    symbol of that code.

    An error (`{"code":…,"msg":…}`) is in `controls`; a body that is no list counts as one unreadable message.
    Nothing raises.
    """
    symbols = code + 1 if symbols is None else symbols
    decoders = _DECODERS[stream]
    malformed = 0
    try:
        events = decoders.all_rest.decode(body)
    except _BROKEN:
        try:
            rows = _RAW_LIST.decode(body)
        except _BROKEN:
            return _rest_error(body, symbols)
        events = []
        for row in rows:
            try:
                events.append(decoders.rest.decode(row))
            except _BROKEN:
                malformed += 1
    found = _rest_columns(events, code, stream, symbols)
    if malformed:
        found.rejected[code] += malformed
        found.reasons[MALFORMED] += malformed
    return found


def _rest_error(body: bytes, symbols: int) -> Frames:
    try:
        message = msgspec.json.decode(body)
    except _BROKEN:
        message = None
    if isinstance(message, dict) and "code" in message:
        return replace(Frames.none(symbols), controls=[message])
    return replace(Frames.none(symbols), unreadable=1)


def _rest_columns(events: list[Any], code: int, stream: str, symbols: int) -> Frames:
    n = len(events)
    symbol = np.full(n, code, np.int32)
    if stream == TRADE:
        ids = np.fromiter([e.id for e in events], np.int64, n)
        count = np.ones(n, np.int64)
        ts = np.fromiter([e.time for e in events], np.int64, n)
        price = np.fromiter([e.price for e in events], np.float64, n)
        qty = np.fromiter([e.qty for e in events], np.float64, n)
        is_buyer_maker = np.fromiter([e.isBuyerMaker for e in events], np.bool_, n)
    else:
        ids = np.fromiter([e.a for e in events], np.int64, n)
        count = _counts(
            np.fromiter([e.f for e in events], np.int64, n), np.fromiter([e.l for e in events], np.int64, n)
        )
        ts = np.fromiter([e.T for e in events], np.int64, n)
        price = np.fromiter([e.p for e in events], np.float64, n)
        qty = np.fromiter([e.q for e in events], np.float64, n)
        is_buyer_maker = np.fromiter([e.m for e in events], np.bool_, n)
    return sound(
        symbol,
        symbols,
        id=ids,
        ts=ts,
        price=price,
        qty=qty,
        is_buyer_maker=is_buyer_maker,
        count=count,
        event_ts=ts,
    )
