"""Encodes rows as the bytes of a request in InfluxDB's line protocol."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.database.schema import tables
from operators.columns import NEVER

FRAME_ROWS = 1_000  # with at least so many rows a DataFrame is faster than a call for each row


@cache
def encoder() -> Any:
    """The client that makes buffers. Version 2 of the protocol sends doubles bit for bit.

    It opens no connection, because the version is given here instead of asked from the server.
    """
    from questdb import Protocol, Sender

    sender = Sender(Protocol.Http, "127.0.0.1", 9000, protocol_version=2, auto_flush=False)
    sender.establish()
    return sender


@lru_cache(maxsize=256)
def _categories(names: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.CategoricalDtype(list(names))


def _pieces(column: Column, start: int, stop: int) -> Column:
    return (
        Symbols(column.codes[start:stop], column.names) if isinstance(column, Symbols) else column[start:stop]
    )


def slices(rows: Rows, size: int) -> Iterator[Rows]:
    if len(rows) <= size:
        yield rows
        return
    for start in range(0, len(rows), size):
        yield Rows(
            rows.table, {name: _pieces(column, start, start + size) for name, column in rows.columns.items()}
        )


def _joined(many: Sequence[Rows]) -> Rows:
    if len(many) == 1:
        return many[0]
    columns: dict[str, Column] = {}
    for name, column in many[0].columns.items():
        parts: list[Any] = [rows.columns[name] for rows in many]
        if isinstance(column, Symbols):
            columns[name] = Symbols(np.concatenate([part.codes for part in parts]), column.names)
        else:
            columns[name] = np.concatenate(parts)
    return Rows(many[0].table, columns)


def gathered(many: Iterable[Rows]) -> list[Rows]:
    """Join small batches into few large ones.

    The rows of a table stay in their order, because the last of several rows with equal keys wins.
    """
    runs: dict[str, list[tuple[object, list[Rows]]]] = {}
    for rows in many:
        shape = tuple(
            (name, column.names if isinstance(column, Symbols) else None)
            for name, column in rows.columns.items()
        )
        table = runs.setdefault(rows.table, [])
        if table and table[-1][0] == shape:
            table[-1][1].append(rows)
        else:
            table.append((shape, [rows]))
    return [_joined(run) for table in runs.values() for _, run in table]


def checked(rows: Rows) -> Rows:
    """Return the rows if the schema accepts them.

    Raises TypeError or ValueError: what is wrong here is a mistake of the program, not of its user.
    """
    table = tables()[rows.table]
    for name, column in rows.columns.items():
        kind = {"SYMBOL": "symbols", "DOUBLE": "float64", "BOOLEAN": "bool"}.get(table.columns[name], "int64")
        found = "symbols" if isinstance(column, Symbols) else str(column.dtype)
        if found != kind:
            raise TypeError(f"{rows.table}.{name}: {found} is not {kind}")
        if len(column.codes if isinstance(column, Symbols) else column) != len(rows):
            raise ValueError(f"{rows.table}.{name}: its length is not that of ts")
    ts = rows.columns["ts"]
    if not isinstance(ts, Symbols) and len(ts) and ts.min() < 0:
        raise ValueError(f"{rows.table}.ts: {ts.min()} is before 1970")
    return rows


def _finite(values: Any) -> Any:
    return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)


def encode(rows: Rows, buffer: Any) -> None:
    """Append the rows to a client's buffer. NaN, infinity, NEVER and the symbol code -1 become NULL."""
    types = tables()[rows.table].columns
    if len(rows) < FRAME_ROWS:
        _encode_rows(rows, types, buffer)
    else:
        _encode_frame(rows, types, buffer)


def _encode_frame(rows: Rows, types: dict[str, str], buffer: Any) -> None:
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, column in rows.columns.items():
        if isinstance(column, Symbols):
            columns[name] = pd.Categorical.from_codes(
                column.codes, dtype=_categories(column.names), validate=False
            )
        elif types[name] == "TIMESTAMP":
            columns[name] = np.ascontiguousarray(column).view("datetime64[us]")
        elif types[name] == "DOUBLE":
            columns[name] = _finite(column)
        else:
            columns[name] = column
    symbols = [name for name in columns if types[name] == "SYMBOL"]
    buffer.dataframe(pd.DataFrame(columns, copy=False), table_name=rows.table, symbols=symbols, at="ts")


def _encode_rows(rows: Rows, types: dict[str, str], buffer: Any) -> None:
    from questdb import TimestampMicros, TimestampNanos

    symbols, columns = [], []
    for name, column in rows.columns.items():
        if isinstance(column, Symbols):
            names: tuple[str | None, ...] = (*column.names, None)  # the code -1 means NULL
            symbols.append((name, [names[code] for code in column.codes.tolist()]))
        elif types[name] == "DOUBLE":
            columns.append((name, _finite(column).tolist()))
        elif name != "ts":
            column_list = column.tolist()
            if types[name] != "BOOLEAN":
                as_time = types[name] == "TIMESTAMP"
                column_list = [
                    None if each == NEVER else TimestampMicros(each) if as_time else each
                    for each in column_list
                ]
            columns.append((name, column_list))
    for index, ts in enumerate(rows.columns["ts"].tolist()):  # type: ignore[union-attr]
        buffer.row(
            rows.table,
            symbols={name: texts[index] for name, texts in symbols},
            columns={name: numbers[index] for name, numbers in columns},
            at=TimestampNanos(ts * 1000),
        )


def row_text(rows: Rows, index: int) -> str:
    """One row as text for an error message."""
    words = []
    for name, column in rows.columns.items():
        if isinstance(column, Symbols):
            words.append(f"{name}={(*column.names, None)[column.codes[index]]}")
        elif name == "ts":
            words.append(f"ts={np.datetime64(int(column[index]), 'us')}Z")
        else:
            words.append(f"{name}={'NULL' if column[index] == NEVER else column[index]}")
    return " ".join(words)
