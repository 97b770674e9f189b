"""Tables of trades in Parquet and Feather (Arrow's file and stream formats)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import UserError
from flows.markets import AGG_TRADE, TRADE
from flows.replay.files import File, Layout, Part
from flows.replay.names import columns_of, symbol_of, with_sides
from flows.replay.unpack import opened

BATCH: Final = 10_000  # rows of a part

_PARQUET: Final = "Parquet"
_FEATHER: Final = "Feather"
_STREAM: Final = "an Arrow stream"
_OLD: Final = "Feather of version 1"
_KINDS: Final = {b"PAR1": _PARQUET, b"ARROW1": _FEATHER, b"\xff\xff\xff\xff": _STREAM, b"FEA1": _OLD}

_BROKEN: Final = (pa.ArrowException, TypeError, ValueError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Arrow(Layout):
    """A table in one of Arrow's formats."""

    kind: str  # Parquet | Feather | an Arrow stream
    names: dict[str, str]  # Pairflow's name of a column to the file's


def kind_of(start: bytes) -> str | None:
    """The format of Arrow that begins with these bytes, or None."""
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)


def peek_arrow(path: Path, kind: str, packed: bool) -> File:
    """Describe a table by its schema. `packed`: the file is compressed, so only a stream can be read."""
    if kind == _OLD:
        raise UserError(f"{path}: is {_OLD}: save it as version 2, or as Parquet")
    if packed and kind != _STREAM:
        raise UserError(f"{path}: is {kind} within another archive: unpack it first")
    try:
        columns = _schema(path, kind).names
    except _BROKEN as e:
        raise _damaged(path, kind) from e
    names = columns_of(str(path), columns)
    aggregate = "first" in names
    symbol = None if "symbol" in names else symbol_of(path, aggregate)
    return File(
        path,
        Arrow(kind, names),
        (AGG_TRADE if aggregate else TRADE,),
        symbol,
        "id" in names,
        with_sides(names),
    )


def _damaged(path: Path, kind: str) -> UserError:
    return UserError(f"{path}: cannot be read as {kind}: it is cut off or damaged: fetch or repair it")


def _schema(path: Path, kind: str) -> pa.Schema:
    if kind == _PARQUET:
        with pq.ParquetFile(path) as parquet:
            return parquet.schema_arrow
    if kind == _FEATHER:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            return reader.schema
    with opened(path) as (stream, _), pa.ipc.open_stream(stream) as reader:
        return reader.schema


def arrow_parts(file: File, layout: Arrow) -> Iterator[Part]:
    """The rows of a table, 10,000 at a time."""
    done, wanted = 0, list(layout.names.values())
    batches = {_PARQUET: _parquet, _FEATHER: _feather, _STREAM: _stream}[layout.kind](file, layout)
    while True:
        try:
            batch, position = next(batches, (None, 0))
            if batch is None:
                return
            batch = batch.select(wanted)
            batch.validate(full=True)  # Arrow trusts the offsets and codes that a file holds
        except _BROKEN as e:
            raise _damaged(file.path, layout.kind) from e
        columns = {ours: batch.column(theirs) for ours, theirs in layout.names.items()}
        yield Part(columns, position, partial(_where, done), layout.names)
        done += len(batch)


def _where(before: int, row: int) -> str:
    return f"row {before + row + 1:,}"


def _parquet(file: File, layout: Arrow) -> Iterator[tuple[pa.RecordBatch, int]]:
    with pq.ParquetFile(file.path) as parquet:
        rows, seen = max(parquet.metadata.num_rows, 1), 0
        for batch in parquet.iter_batches(BATCH, columns=list(layout.names.values())):
            seen += len(batch)
            yield batch, file.size * seen // rows


def _feather(file: File, layout: Arrow) -> Iterator[tuple[pa.RecordBatch, int]]:
    with pa.memory_map(str(file.path)) as mapped:
        columns = pa.ipc.open_file(mapped).schema.names
        wanted = pa.ipc.IpcReadOptions(
            included_fields=sorted(columns.index(name) for name in layout.names.values())
        )
        with pa.ipc.open_file(mapped, options=wanted) as reader:
            for number in range(reader.num_record_batches):
                for batch in _cut(reader.get_batch(number)):
                    yield batch, file.size * (number + 1) // reader.num_record_batches


def _stream(file: File, _: Arrow) -> Iterator[tuple[pa.RecordBatch, int]]:
    with opened(file.path) as (stream, raw), pa.ipc.open_stream(stream) as reader:
        for whole in reader:
            for batch in _cut(whole):
                yield batch, raw.tell()


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield from (batch.slice(start, BATCH) for start in range(0, len(batch), BATCH))
