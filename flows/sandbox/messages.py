"""Binance's messages as the local exchange sends them: columns to bytes."""

from typing import Any, Final

from flows.feed.frames import Frames
from operators.columns import Longs

_M: Final = ("false", "true")


def _times(us: Longs, in_microseconds: bool) -> list[int]:
    return (us if in_microseconds else us // 1000).tolist()


def _aggregates(trades: Frames, first: Longs, last: Longs, in_microseconds: bool) -> list[list[Any]]:
    """The columns of aggregate trades that websocket and REST have in common: a, p, q, f, l, T, m."""
    return [
        trades.id.tolist(),
        trades.price.tolist(),
        trades.qty.tolist(),
        first.tolist(),
        last.tolist(),
        _times(trades.ts, in_microseconds),
        [_M[m] for m in trades.is_buyer_maker.tolist()],
    ]


def encode_trades(
    symbol: str, trades: Frames, combined: bool = True, in_microseconds: bool = False
) -> list[bytes]:
    """`@trade` frames of one symbol, byte for byte as Binance lays them out."""
    frame = '{"e":"trade","E":%d,"s":"' + symbol + '","t":%d,"p":"%.8f","q":"%.8f","T":%d,"m":%s,"M":true}'
    if combined:
        frame = '{"stream":"' + symbol.lower() + '@trade","data":' + frame + "}"
    columns = zip(
        _times(trades.event_ts, in_microseconds),
        trades.id.tolist(),
        trades.price.tolist(),
        trades.qty.tolist(),
        _times(trades.ts, in_microseconds),
        [_M[m] for m in trades.is_buyer_maker.tolist()],
        strict=True,
    )
    return [(frame % row).encode() for row in columns]


def encode_agg_trades(
    symbol: str,
    trades: Frames,
    first: Longs,
    last: Longs,
    *,
    combined: bool = True,
    in_microseconds: bool = False,
) -> list[bytes]:
    """`@aggTrade` frames of one symbol; `first` and `last` are the ids of the aggregates' trades."""
    frame = (
        '{"e":"aggTrade","E":%d,"s":"'
        + symbol
        + '","a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'
    )
    if combined:
        frame = '{"stream":"' + symbol.lower() + '@aggTrade","data":' + frame + "}"
    columns = zip(
        _times(trades.event_ts, in_microseconds),
        *_aggregates(trades, first, last, in_microseconds),
        strict=True,
    )
    return [(frame % row).encode() for row in columns]


def encode_rest_trades(trades: Frames, in_microseconds: bool = False) -> bytes:
    """The answer of `trades` and `historicalTrades`."""
    row = '{"id":%d,"price":"%.8f","qty":"%.8f","quoteQty":"%.8f","time":%d,"isBuyerMaker":%s,"isBestMatch":true}'
    columns = zip(
        trades.id.tolist(),
        trades.price.tolist(),
        trades.qty.tolist(),
        (trades.price * trades.qty).tolist(),
        _times(trades.ts, in_microseconds),
        [_M[m] for m in trades.is_buyer_maker.tolist()],
        strict=True,
    )
    return ("[" + ",".join([row % values for values in columns]) + "]").encode()


def encode_rest_agg_trades(trades: Frames, first: Longs, last: Longs, in_microseconds: bool = False) -> bytes:
    """The answer of `aggTrades`."""
    row = '{"a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'
    columns = zip(
        *_aggregates(trades, first, last, in_microseconds),
        strict=True,
    )
    return ("[" + ",".join([row % values for values in columns]) + "]").encode()
