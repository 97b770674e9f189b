"""Recorded trades as columns: frames one per line, the exchange's CSV archives, Parquet; plain, gzip or zip, told apart by their content.

Frames are one JSON message per line, raw or combined, with or without a leading receive time. Other events in between (depth, tickers)
are skipped and counted, and so are lines that are no message. Archives are `trades` and `aggTrades` files as Binance publishes them
(header or none, ms or µs), their symbol taken from the name (`BTCUSDT-trades-2024-08-09.zip`). Parquet has the columns of the `trades`
table or of an archive.
"""

import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from flows.binance.messages import AGG_TRADE, TRADE, Frames, decode, microseconds, sound
from flows.errors import UserError

BLOCK: Final = 3 << 19  # bytes taken at once: about 10,000 frames
BROKEN: Final = (pa.ArrowException, TypeError, ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
BATCH: Final = 10_000  # rows of a Parquet batch
PEEKED: Final = 1_000  # frames that say when a recording begins: its first lines may be out of order
NANOSECONDS_FROM: Final = 10**17

LINES: Final = "lines"
CSV: Final = "csv"
PARQUET: Final = "parquet"

_EVENT = re.compile(rb'"e"\s*:\s*"(trade|aggTrade)"[^{}]*?"s"\s*:\s*"([^"\\]{1,40})"')
_STAMP = re.compile(rb"^\s*[0-9.]+[ \t,;]+(?=\{)")
_ARCHIVE_NAME = re.compile(r"^([A-Za-z0-9]{2,40}?)[-_.](?:trades|aggTrades|trade|aggTrade)(?![A-Za-z])", re.IGNORECASE)
_SYMBOL_NAME = re.compile(r"^([A-Z0-9]{5,20})(?![A-Za-z0-9])")

_TRADES_CSV: Final = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
_AGG_TRADES_CSV: Final = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
    "is_best_match",
)
_ALIASES: Final = {
    "id": ("id", "trade_id", "agg_trade_id", "aggregate_trade_id", "a", "t"),
    "price": ("price", "p"),
    "qty": ("qty", "quantity", "q"),
    "time": ("ts", "time", "transact_time", "timestamp", "T"),
    "is_buyer_maker": ("is_buyer_maker", "isBuyerMaker", "m"),
    "side": ("side",),
    "symbol": ("symbol",),
    "first": ("first_trade_id", "first", "f"),
    "last": ("last_trade_id", "last", "l"),
}
_TYPES: Final = {
    "id": pa.int64(),
    "price": pa.float64(),
    "qty": pa.float64(),
    "time": pa.int64(),
    "is_buyer_maker": pa.bool_(),
    "side": pa.string(),
    "symbol": pa.string(),
    "first": pa.int64(),
    "last": pa.int64(),
}
_ROW = re.compile(r".*?Row #([0-9]+): (.*)")
_ISO_TIME = re.compile(rb"^\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class File:
    """What one recording turned out to be."""

    path: Path
    kind: str  # lines | csv | parquet
    streams: tuple[str, ...]  # what its beginning holds of trade, aggTrade
    symbol: str | None  # of an archive without a symbol column
    first_us: int  # the earliest trade at its beginning
    names: Mapping[str, str]  # CSV and Parquet: our name of a column to the file's
    columns: tuple[str, ...] = ()  # CSV: all columns, in order
    header: bool = False  # CSV: the first line names the columns
    iso: bool = False  # CSV: times are text such as 2024-08-09T00:00:00.000001Z

    @property
    def size(self) -> int:
        return self.path.stat().st_size


# The first look at a file


def peek(path: Path) -> File:
    try:
        regular = path.is_file() or not path.exists()
    except (OSError, ValueError) as e:
        raise UserError(f"{_one_line(path)}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from e
    if not regular and not path.is_dir():
        raise UserError(f"{path}: is no regular file: save what it brings first")
    with _opened(path) as (stream, _):
        start = _take(path, stream, BLOCK)
        if start[:4] == b"PAR1":
            return _peek_parquet(path)
        line = start.lstrip().split(b"\n", 1)[0]
        if not line:
            raise UserError(f"{path}: is empty: give a file that holds recorded trades")
        if b"{" in line and (line.startswith(b"{") or _STAMP.match(line)):
            return _peek_lines(path, start, stream)
        if line.count(b",") >= 5:
            return _peek_csv(path, start)
    raise _foreign(path, 1, line)


def _foreign(path: Path, number: int, line: bytes) -> UserError:
    shown = line[:60].decode("utf-8", "replace").strip()
    return UserError(f"{path}: line {number}: expected recorded Binance trades (frames, trades CSV, Parquet), got {shown!r}")


def _peek_lines(path: Path, start: bytes, stream: IO[bytes]) -> File:
    first_line = start.lstrip().split(b"\n", 1)[0]
    while True:
        events = set(_EVENT.findall(start))
        if events:
            codes = {name.decode("utf-8", "replace"): code for code, name in enumerate({name for _, name in events})}
            streams = tuple(s for s in (TRADE, AGG_TRADE) if any(event == s.encode() for event, _ in events))
            firsts = []
            for name in streams:
                needle = f'"{name}"'.encode()
                lines = [_STAMP.sub(b"", line) for line in start.split(b"\n") if needle in line]
                firsts.extend(decode(lines[:PEEKED], codes, name).ts.tolist())
            if firsts:
                return File(path, LINES, streams, None, min(firsts), {})
        rest = start.rpartition(b"\n")[2][-10_000:]
        more = _take(path, stream, BLOCK)
        if not more:
            raise _foreign(path, 1, first_line)
        start = rest + more


def _peek_csv(path: Path, start: bytes) -> File:
    lines = [line.strip() for line in start.lstrip().split(b"\n", PEEKED)[:PEEKED]]
    if len(start) >= BLOCK and len(lines) < PEEKED:
        lines.pop()  # may be cut
    first = [cell.strip().strip('"') for cell in lines[0].decode("utf-8", "replace").split(",")]
    header = not first[0].replace(".", "", 1).isdigit() and not _ISO_TIME.match(lines[0])
    rows = [line.split(b",") for line in lines[header:] if line]
    if not rows:
        raise UserError(f"{path}: holds no trades: only a header")
    if header:
        columns = tuple(first)
    else:
        flags = [k for k, cell in enumerate(rows[0]) if cell.strip().lower() in (b"true", b"false")]
        if not flags or flags[0] not in (5, 6):
            raise _foreign(path, 1, lines[0])
        columns = (_TRADES_CSV if flags[0] == 5 else _AGG_TRADES_CSV)[: len(rows[0])]
        if len(columns) != len(rows[0]):
            raise _foreign(path, 1, lines[0])
    file = _table_file(path, CSV, columns, lines[0])
    at = columns.index(file.names["time"])
    iso = bool(_ISO_TIME.match(rows[0][at].strip(b'" '))) if at < len(rows[0]) else False
    file = replace(file, columns=columns, header=header, iso=iso)
    times = [_csv_time(cells[at], iso) for cells in rows if at < len(cells)]
    firsts = [time for time in times if time > 0]
    if not firsts:
        raise _foreign(path, 1 + header, lines[header])
    return replace(file, first_us=min(firsts))


def _csv_time(cell: bytes, iso: bool) -> int:
    text = cell.strip(b'" \r').decode("ascii", "replace")
    if iso:
        try:
            return int(np.datetime64(text.rstrip("Z"), "us").astype(np.int64))
        except ValueError:
            return 0
    return int(microseconds(np.array([int(text)]))[0]) if text.isdigit() and len(text) < 19 else 0


def _table_file(path: Path, kind: str, columns: Sequence[str], line: bytes) -> File:
    names: dict[str, str] = {}
    for ours, aliases in _ALIASES.items():
        theirs = next((alias for alias in aliases if alias in columns), None)
        if theirs:
            names[ours] = theirs
    missing = [name for name in ("id", "price", "qty", "time") if name not in names]
    if "is_buyer_maker" not in names and "side" not in names:
        missing.append("side")
    if missing:
        if kind == CSV:
            raise _foreign(path, 1, line)
        raise UserError(f"{path}: no column {missing[0]!r} among {', '.join(columns[:8])}: expected ts, symbol, id, price, qty, side")
    aggregate = "first" in names and "last" in names
    symbol = None
    if "symbol" not in names:
        match = _ARCHIVE_NAME.match(path.name) or _SYMBOL_NAME.match(path.name)
        if not match:
            raise UserError(
                f"{path}: its name does not say the symbol: rename it to SYMBOL-{'aggTrades' if aggregate else 'trades'}-DATE{path.suffix}"
            )
        symbol = match[1].upper()
    return File(path, kind, (AGG_TRADE if aggregate else TRADE,), symbol, 0, names)


def _peek_parquet(path: Path) -> File:
    try:
        with pq.ParquetFile(path) as parquet:
            file = _table_file(path, PARQUET, parquet.schema_arrow.names, b"")
            for batch in parquet.iter_batches(PEEKED, columns=[file.names["time"]]):
                times = _times(batch.column(0))
                if (times > 0).any():
                    return replace(file, first_us=int(times[times > 0].min()))
    except BROKEN as e:
        raise UserError(f"{path}: cannot be read as Parquet: {_one_line(e)}: fetch or repair it") from e
    raise UserError(f"{path}: holds no trades")


# Reading


class _opened:
    """A context in which a recording's unpacked bytes can be read, and where in the file that is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack = ExitStack()

    def __enter__(self) -> tuple[IO[bytes], IO[bytes]]:
        with self.stack as stack:
            try:
                raw = stack.enter_context(self.path.open("rb"))
            except OSError as e:
                raise UserError(f"{self.path}: cannot be read: {e.strerror or e}") from e
            magic = raw.read(4)
            raw.seek(0)
            unpacked: IO[bytes] = raw
            if magic[:2] == b"\x1f\x8b":
                unpacked = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=raw)))
            elif magic == b"PK\x03\x04":
                try:
                    archive = stack.enter_context(zipfile.ZipFile(raw))
                    members = [name for name in archive.namelist() if not name.endswith("/")]
                    if len(members) != 1:
                        raise UserError(f"{self.path}: holds {len(members)} files: expected a zip of one")
                    unpacked = stack.enter_context(archive.open(members[0]))
                except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as e:
                    raise UserError(f"{self.path}: the zip is damaged or cut off ({_one_line(e)}): fetch it again") from e
                except RuntimeError as e:
                    raise UserError(f"{self.path}: the zip cannot be opened ({_one_line(e)}): unpack it first") from e
            self.stack = stack.pop_all()
        return unpacked, raw

    def __exit__(self, *_: object) -> None:
        self.stack.close()


def _take(path: Path, stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as e:
        where = f"after {stream.tell():,} unpacked bytes"
        raise UserError(
            f"{path}: the compressed recording is cut off or damaged {where}: fetch or repair it (gzip -t says the same)"
        ) from e
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror or e}") from e


def _blocks(file: File) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a recording, a block at a time, and the position in the file."""
    with _opened(file.path) as (stream, raw):
        rest = b""
        while block := _take(file.path, stream, BLOCK):
            whole, newline, after = (rest + block).rpartition(b"\n")
            if newline:
                yield whole, raw.tell()
            rest = after
        if rest:
            yield rest, raw.tell()


def looked(file: File, stream: str, codes: dict[str, int]) -> Iterator[tuple[Frames, int]]:
    """The trades, part after part; symbols are entered into `codes` as they come."""
    if file.kind == LINES:
        needle = f'"{stream}"'.encode()
        for block, position in _blocks(file):
            for event, name in set(_EVENT.findall(block)):
                if event == stream.encode():
                    codes.setdefault(name.decode("utf-8", "replace"), len(codes))
            lines = [line if line[0] == 123 else _STAMP.sub(b"", line) for line in block.split(b"\n") if needle in line]
            yield decode(lines, codes, stream), position
        return
    for batch, position in _tables(file, _wanted(file)):
        names = [file.symbol] if file.symbol is not None else pc.unique(_texts(file, batch.column("symbol"))).to_pylist()
        for each in names:
            if each is not None:
                codes.setdefault(each, len(codes))
        yield _columns(file, batch, codes), position


def _texts(file: File, column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowException as e:
        raise _broken(file, e) from e


def _wanted(file: File) -> tuple[str, ...]:
    return tuple(name for name in file.names if name != "side" or "is_buyer_maker" not in file.names)


def frames_of(file: File, codes: Mapping[str, int], stream: str) -> Iterator[tuple[Frames, int]]:
    if file.kind == LINES:
        needle = f'"{stream}"'.encode()
        for block, position in _blocks(file):
            lines = block.split(b"\n")
            ours = [line if line[0] == 123 else _STAMP.sub(b"", line) for line in lines if needle in line]
            frames = decode(ours, codes, stream)
            if len(ours) != len(lines):
                others = [line.strip() for line in lines if needle not in line]
                sound_others = sum(line.endswith(b"}") and (line.startswith(b"{") or bool(_STAMP.match(line))) for line in others)
                junk = sum(1 for line in others if line) - sound_others
                frames = replace(frames, foreign=frames.foreign + sound_others, unreadable=frames.unreadable + junk)
            yield frames, position
    else:
        for batch, position in _tables(file, _wanted(file)):
            yield _columns(file, batch, codes), position


def _tables(file: File, wanted: tuple[str, ...]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of the wanted columns under our names."""
    theirs = [file.names[name] for name in wanted]
    try:
        if file.kind == PARQUET:
            with pq.ParquetFile(file.path) as parquet:
                rows, seen = max(parquet.metadata.num_rows, 1), 0
                for batch in parquet.iter_batches(BATCH, columns=theirs):
                    seen += len(batch)
                    yield batch.select(theirs).rename_columns(list(wanted)), file.size * seen // rows
            return
        with _opened(file.path) as (stream, raw):
            types = {name: _TYPES[ours] for ours, name in file.names.items()}
            if file.iso:
                types[file.names["time"]] = pa.timestamp("us", "UTC")
            with pa.csv.open_csv(
                stream,
                read_options=pa.csv.ReadOptions(
                    column_names=list(file.columns), skip_rows=int(file.header), block_size=BLOCK, use_threads=False
                ),
                convert_options=pa.csv.ConvertOptions(column_types=types, include_columns=theirs),
            ) as reader:
                for batch in reader:
                    yield batch.rename_columns(list(wanted)), raw.tell()
    except BROKEN as e:
        raise _broken(file, e) from e


def _broken(file: File, e: BaseException) -> UserError:
    """What is wrong with the file, and in which line where the reader tells a row: it does not count empty lines."""
    told = _ROW.fullmatch(_one_line(e))
    if not told:
        return UserError(f"{file.path}: cannot be read on: {_one_line(e)}: fetch or repair it")
    row, line, lines = int(told[1]), 0, 0
    for block, _ in _blocks(file):
        for text in block.split(b"\n"):
            lines += 1
            row -= bool(text.strip(b"\r"))
            if not row:
                line = lines
                break
        if line:
            break
    return UserError(f"{file.path}: line {line or told[1]}: {told[2]}: fetch or repair it")


def _one_line(e: object) -> str:
    return " ".join(str(e).split())[:200]


def _times(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    times = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return microseconds(np.where(times >= NANOSECONDS_FROM, times // 1000, times))


def _columns(file: File, batch: pa.RecordBatch, codes: Mapping[str, int]) -> Frames:
    try:
        return _converted(file, batch, codes)
    except (pa.ArrowException, TypeError, ValueError) as e:  # a Parquet column of another type
        raise _broken(file, e) from e


def _converted(file: File, batch: pa.RecordBatch, codes: Mapping[str, int]) -> Frames:
    n = len(batch)
    null = np.zeros(n, np.bool_)
    for name in batch.schema.names:
        if batch.column(name).null_count:
            null |= batch.column(name).is_null().to_numpy(zero_copy_only=False)
    columns = {name: batch.column(name) for name in batch.schema.names}
    if file.symbol is not None:
        symbol = np.full(n, codes.get(file.symbol, -1), np.int32)
    else:
        encoded = columns["symbol"].cast(pa.string()).fill_null("").dictionary_encode()
        known = np.array([codes.get(name, -1) for name in encoded.dictionary.to_pylist()] or [-1], np.int32)
        symbol = known[encoded.indices.to_numpy(zero_copy_only=False)]
    longs = {
        name: columns[name].cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        for name in ("id", "first", "last")
        if name in columns
    }
    if "is_buyer_maker" in columns:
        is_buyer_maker = columns["is_buyer_maker"].fill_null(False).to_numpy(zero_copy_only=False)
    else:
        side = columns["side"].cast(pa.string()).fill_null("")
        is_buyer_maker = pc.equal(side, "sell").to_numpy(zero_copy_only=False)
        null |= ~pc.is_in(side, value_set=pa.array(["buy", "sell"])).to_numpy(zero_copy_only=False)
    ts = _times(columns["time"])
    count = np.ones(n, np.int64)
    if "first" in longs:
        count = np.where((longs["first"] >= 0) & (longs["last"] >= longs["first"]), longs["last"] - longs["first"] + 1, 0)
    return sound(
        symbol,
        len(codes),
        id=np.where(null, -1, longs["id"]),
        ts=ts,
        price=columns["price"].cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False),
        qty=columns["qty"].cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False),
        is_buyer_maker=is_buyer_maker,
        count=count,
        event_ts=ts,
    )
