"""The same trades in every format that people have, drawn by Hypothesis."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from flows.feed.frames import Frames

SYMBOLS = ("BTCUSDT", "ETHUSDT")
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Trade:
    """One trade, with its numbers as text."""

    id: int
    us: int
    symbol: str
    price: str
    qty: str
    sold: bool


def frames(trades: list[Trade]) -> Frames:
    """What a reader must return for them."""
    n = len(trades)
    ts = np.array([t.us for t in trades], np.int64)
    return Frames(
        np.array([SYMBOLS.index(t.symbol) for t in trades], np.int32),
        np.array([t.id for t in trades], np.int64),
        ts,
        np.array([float(t.price) for t in trades]),
        np.array([float(t.qty) for t in trades]),
        np.array([t.sold for t in trades]),
        np.ones(n, np.int64),
        ts,
        np.zeros(len(SYMBOLS), np.int64),
    )


@st.composite
def some_trades(draw: Draw, most: int = 12) -> list[Trade]:
    """Trades of two symbols within minutes, with rising ids."""
    start = draw(st.integers(10**15, 4 * 10**15))
    trades, identity, us = [], draw(st.integers(0, 2**40)), start
    for _ in range(draw(st.integers(1, most))):
        identity, us = (
            identity + draw(st.integers(1, 3)),
            us + draw(st.sampled_from([0, 1, 999, 1_000, 1_000_000])),
        )
        price = Decimal(draw(st.integers(1, 10**13))).scaleb(-8)
        qty = Decimal(draw(st.integers(1, 10**11))).scaleb(-draw(st.integers(0, 8)))
        trades.append(
            Trade(identity, us, draw(st.sampled_from(SYMBOLS)), f"{price:f}", f"{qty:f}", draw(st.booleans()))
        )
    return trades


# cells


def _date(us: int, zone: timezone = UTC) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(zone)


TIMES: dict[str, Callable[[int], str]] = {
    "microseconds": str,
    "nanoseconds": lambda us: f"{us}789",
    "seconds": lambda us: f"{us // 10**6}.{us % 10**6:06d}",
    "milliseconds": lambda us: f"{us // 1000}.{us % 1000:03d}",
    "ISO": lambda us: _date(us).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    "ISO without a zone": lambda us: _date(us).replace(tzinfo=None).isoformat(sep=" "),
    "ISO of another zone": lambda us: _date(us, timezone(timedelta(hours=9))).isoformat(),
    "ISO in nanoseconds": lambda us: (
        f"{_date(us).replace(tzinfo=None).isoformat(timespec='microseconds')}123Z"
    ),
}
TIME_NAMES = ("ts", "time", "timestamp", "ts_ms", "Trade Time", "transact_time")
IDS = ("id", "trade_id", "tradeId", "TradeID", "agg_trade_id")
PRICES = ("price", "Price", "px", "trade_price")
QUANTITIES = ("qty", "quantity", "amount", "size", "volume")
SELLS: dict[str, Callable[[bool], str]] = {
    "side": lambda sold: "sell" if sold else "buy",
    "Side": lambda sold: "SELL" if sold else "BUY",
    "taker_side": lambda sold: "Sell" if sold else "Buy",
    "is_buyer_maker": lambda sold: "True" if sold else "False",
    "isBuyerMaker": lambda sold: "true" if sold else "false",
    "buyer_maker": lambda sold: "1" if sold else "0",
}
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    lambda s: f"{s[:3]}/{s[3:]}",
    lambda s: f"{s[:3]}-{s[3:]}".lower(),
)


def columns(draw: Draw, trades: list[Trade]) -> dict[str, list[str]]:
    """A table of text, with column names that people use."""
    time, sold, spelled = (
        TIMES[draw(st.sampled_from(sorted(TIMES)))],
        draw(st.sampled_from(sorted(SELLS))),
        draw(st.sampled_from(SPELLINGS)),
    )
    table = [
        (draw(st.sampled_from(IDS)), [str(t.id) for t in trades]),
        (draw(st.sampled_from(TIME_NAMES)), [time(t.us) for t in trades]),
        (draw(st.sampled_from(("symbol", "pair", "market"))), [spelled(t.symbol) for t in trades]),
        (draw(st.sampled_from(PRICES)), [t.price for t in trades]),
        (draw(st.sampled_from(QUANTITIES)), [t.qty for t in trades]),
        (sold, [SELLS[sold](t.sold) for t in trades]),
        ("exchange", ["binance"] * len(trades)),
    ]
    return dict(draw(st.permutations(table)))


# files


def as_csv(draw: Draw, trades: list[Trade]) -> bytes:
    table = columns(draw, trades)
    delimiter, newline = (
        draw(st.sampled_from([",", ";", "\t", "|", ", "])),
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
    )
    quoted = (lambda cell: f'"{cell}"') if draw(st.booleans()) and delimiter != ", " else str
    before = draw(
        st.sampled_from(
            [
                "",
                "# trades\n",
                "https://www.example.com\n",
                "\ufeff",
                "sep=" + delimiter + "\n" if len(delimiter) == 1 else "",
            ]
        )
    )
    rows = [list(table), *map(list, zip(*table.values(), strict=True))]
    text = before.replace("\n", newline) + newline.join(delimiter.join(map(quoted, row)) for row in rows)
    return (text + draw(st.sampled_from(["", newline, newline * 2]))).encode(
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    )


def _typed(draw: Draw, name: str, cells: list[str], trades: list[Trade]) -> pa.Array:
    """A column as text, or in a type that tables use for it."""
    if name in IDS:
        kind: pa.DataType = draw(
            st.sampled_from([pa.string(), pa.int64(), pa.uint64(), pa.float64(), pa.large_string()])
        )
        return pa.array(cells).cast(kind)
    if name in PRICES or name in QUANTITIES:
        kind = draw(
            st.sampled_from(
                [pa.string(), pa.float64(), pa.decimal128(30, 8), pa.dictionary(pa.int32(), pa.string())]
            )
        )
        return (
            pa.array([Decimal(cell) for cell in cells], kind)
            if pa.types.is_decimal(kind)
            else pa.array(cells).cast(kind)
        )
    if name in TIME_NAMES:
        us = pa.array([t.us for t in trades], pa.int64())
        kinds = [
            pa.string(),
            pa.int64(),
            pa.timestamp("us"),
            pa.timestamp("ns"),
            pa.timestamp("us", "UTC"),
            pa.timestamp("ns", "Asia/Tokyo"),
        ]
        kind = draw(st.sampled_from(kinds))
        return (
            pa.array(cells)
            if kind == pa.string()
            else us
            if kind == pa.int64()
            else us.cast(pa.timestamp("us")).cast(kind, safe=False)
        )
    if name in ("is_buyer_maker", "isBuyerMaker", "buyer_maker"):
        kind = draw(st.sampled_from([pa.string(), pa.bool_(), pa.int8(), pa.float32()]))
        return (
            pa.array(cells)
            if kind == pa.string()
            else pa.array([t.sold for t in trades]).cast(pa.int8()).cast(kind)
        )
    return pa.array(cells).dictionary_encode() if draw(st.booleans()) else pa.array(cells)


def as_arrow(draw: Draw, trades: list[Trade]) -> bytes:
    table = pa.table(
        {name: _typed(draw, name, cells, trades) for name, cells in columns(draw, trades).items()}
    )
    sink = io.BytesIO()
    kind = draw(st.sampled_from(["Parquet", "Feather", "stream"]))
    if kind == "Parquet":
        pq.write_table(table, sink, row_group_size=draw(st.integers(1, 20)), store_schema=draw(st.booleans()))
        return sink.getvalue()
    options = pa.ipc.IpcWriteOptions(compression=draw(st.sampled_from([None, "zstd", "lz4"])))
    make = pa.ipc.new_file if kind == "Feather" else pa.ipc.new_stream
    with make(sink, table.schema, options=options) as writer:
        writer.write_table(table, draw(st.integers(1, 20)))
    return sink.getvalue()


def as_objects(draw: Draw, trades: list[Trade]) -> bytes:
    """JSON objects with other keys, and with numbers as numbers or text."""
    table = columns(draw, trades)
    numbers = draw(st.booleans())

    def value(name: str, cell: str) -> Any:
        if name in (*PRICES, *QUANTITIES, *IDS, *TIME_NAMES) and numbers:
            return (
                float(cell)
                if cell.count(".") == 1 and cell.replace(".", "").isdigit()
                else int(cell)
                if cell.isdigit()
                else cell
            )
        return (
            {"True": True, "False": False, "true": True, "false": False}.get(cell, cell) if numbers else cell
        )

    rows = [
        {name: value(name, cell) for name, cell in zip(table, cells, strict=True)}
        for cells in zip(*table.values(), strict=True)
    ]
    more = draw(
        st.sampled_from(
            [{}, {"info": {"id": 1, "x": [{"y": "}"}]}}, {"fees": []}, {"note": 'a "quoted" \\ }{ word'}]
        )
    )
    return _json(draw, [row | more for row in rows])


def as_frames(draw: Draw, trades: list[Trade]) -> bytes:
    """The messages of the exchange."""
    spelled, combined = draw(st.sampled_from([str.upper, str.lower])), draw(st.booleans())
    rows: list[dict[str, Any]] = []
    for t in trades:
        event = {
            "e": "trade",
            "E": t.us,
            "s": spelled(t.symbol),
            "t": t.id,
            "p": t.price,
            "q": t.qty,
            "T": t.us,
            "m": t.sold,
            "M": True,
        }
        rows.append({"stream": f"{t.symbol.lower()}@trade", "data": event} if combined else event)
    return _json(draw, rows)


def _json(draw: Draw, rows: list[dict[str, Any]]) -> bytes:
    shape = draw(
        st.sampled_from(
            ["lines", "stamped", "array", "pretty", "behind each other", "pages", "wrapped", "wrapped pages"]
        )
    )
    cut = draw(st.integers(0, len(rows)))
    pages = [page for page in (rows[:cut], rows[cut:]) if page]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    stamp = draw(
        st.sampled_from(
            [
                "1723161255343123456 ",
                "1723.5: ",
                "2024-08-09T00:00:00.123Z ",
                "[2024-08-09 00:00:00,123] INFO ",
            ]
        )
    )
    text = {
        "lines": lambda: newline.join(json.dumps(row) for row in rows),
        "stamped": lambda: newline.join(stamp + json.dumps(row) for row in rows),
        "array": lambda: json.dumps(rows),
        "pretty": lambda: json.dumps(rows, indent=2),
        "behind each other": lambda: "".join(json.dumps(row) for row in rows),
        "pages": lambda: newline.join(json.dumps(page) for page in pages),
        "wrapped": lambda: json.dumps({"code": 0, "result": {"list": rows}}),
        "wrapped pages": lambda: newline.join(json.dumps({"code": 0, "trades": page}) for page in pages),
    }[shape]()
    return (text + newline).encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


def _zip(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return sink.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(pa.compress(content, "zstd", asbytes=True)),
    ".lz4": lambda content: bytes(pa.compress(content, "lz4", asbytes=True)),
    ".zip": lambda content: _zip("trades", content),
    ".gz.zip": lambda content: _zip("trades.gz", gzip.compress(content)),
}
SHAPES = {"csv": as_csv, "arrow": as_arrow, "json": as_objects, "frames": as_frames}


def write(draw: Draw, trades: list[Trade], folder: Path, shape: str) -> Path:
    """A file of the trades in a drawn format and compression."""
    packing = draw(st.sampled_from(sorted(PACKINGS))) if shape != "arrow" else ""
    path = folder / f"{shape}{packing}"
    path.write_bytes(PACKINGS[packing](SHAPES[shape](draw, trades)))
    return path
