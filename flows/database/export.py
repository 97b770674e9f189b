"""Exports a table to CSV or Parquet.

The rows are read one slice of time after another, so the memory needed does not depend on the size of the
table. They are sorted by ts, then by the table's other keys.

- CSV: times as YYYY-MM-DDTHH:MM:SS.ffffffZ; NULL is empty; booleans are true or false; doubles have the
  fewest digits that read back as the same number.
- Parquet: the same columns; times are UTC microseconds. QuestDB's own Parquet export is not used: it needs a
  server that may write files (COPY … TO), and there the read-only user could write some, too.

`flows.database.export_file` decides by the file's name which of them is written.
"""

import csv
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from flows.database.connection import Endpoint, connect
from flows.database.export_file import STDOUT, format_of, opened
from flows.database.schema import Table, tables
from flows.database.wal import suspended, suspension
from flows.errors import UserError

SLICE_ROWS = 50_000
PROGRESS_S = 1.0


def export(
    endpoint: Endpoint,
    table: str,
    format: str | None = None,
    out: str | Path = STDOUT,
    *,
    start: str | None = None,
    end: str | None = None,
    symbol: str | None = None,
    pair: str | None = None,
    timeframe: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the rows from `start` (included) to `end` (excluded); returns the number of rows.

    Times are ISO 8601, in UTC if they name no zone. `format` is csv or parquet; by default the name of the
    file decides. The file gets its name once it is complete. Rows that are newer than the newest one at the
    start of the export are left out.
    """
    chosen = {"start": start, "end": end, "symbol": symbol, "pair": pair, "timeframe": timeframe}
    spec, where, bound, first_us, end_us = refuse_wrong(table, format, out, **chosen)
    kind, compression = format_of(out, format)
    import psycopg

    with connect(endpoint) as connection, opened(out, kind, compression) as target:
        for name, reason in suspended(connection):
            if name == table:
                raise UserError(f"export: {suspension(name, reason)}; nothing was exported")
        writer = _Csv(target, spec) if kind == "csv" else _Parquet(target, spec)
        try:
            return _copy(connection, spec, where, bound, first_us, end_us, writer, progress)
        except psycopg.Error as error:
            raise UserError(
                f"export: table {table}: {str(error).strip().splitlines()[0]}: run `pairflow check`"
            ) from None
        finally:
            writer.close()


def refuse_wrong(
    table: str,
    format: str | None,
    out: str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    symbol: str | None = None,
    pair: str | None = None,
    timeframe: str | None = None,
) -> tuple[Table, str, list[str], int, int | None]:
    """Check the arguments of an export; raises UserError where they are wrong.

    Returns the table, the SQL conditions and their values, and the first and the last time in µs.
    """
    if table not in tables():
        raise UserError(f"export: there is no table {table!r}: choose one of {', '.join(tables())}")
    format_of(out, format)
    spec = tables()[table]
    where, bound = _filters(spec, symbol=symbol, pair=pair, timeframe=timeframe)
    first_us = _micros("--start", start) if start else 0
    end_us = _micros("--end", end) if end else None
    if end_us is not None and end_us <= first_us:
        raise UserError(f"export: --end {end} is not after --start {start or '1970-01-01'}")
    return spec, where, bound, first_us, end_us


def _filters(spec: Table, **wanted: str | None) -> tuple[str, list[str]]:
    conditions, bound = [], []
    for name, text in wanted.items():
        if text is None:
            continue
        column = "subject" if name in ("symbol", "pair") and "subject" in spec.columns else name
        if column not in spec.columns:
            raise UserError(f"export: --{name}: table {spec.name} has no {name}: leave it out")
        conditions.append(f" AND {column} = %s")
        bound.append(text)
    return "".join(conditions), bound


def _micros(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"export: {option}: expected a time such as 2024-08-09 or 2024-08-09T12:30:00Z, got {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


def _literal(us: int) -> str:
    # a literal, not a bound value: only then does the server skip the partitions outside the range
    return f"'{np.datetime64(us, 'us')}Z'"


def _copy(
    connection: Any,
    spec: Table,
    where: str,
    bound: list[str],
    first_us: int,
    end_us: int | None,
    writer: "_Csv | _Parquet",
    progress: Callable[[str], None],
) -> int:
    def one(select: str, since_us: int, suffix: str = "") -> int | None:
        until = "" if end_us is None else f" AND ts < {_literal(end_us)}"
        found = connection.execute(
            f"SELECT {select} FROM {spec.name} WHERE ts >= {_literal(since_us)}{until}{where} {suffix}", bound
        ).fetchone()
        return found[0] if found else None  # without rows the server returns no row, even for an aggregate

    newest_us = one("max(ts)::LONG", first_us)
    if newest_us is None:
        progress(
            f"{spec.name}: 0 rows"
            + (f": it has none with {' and '.join(map(repr, bound))} in that time" if bound else "")
        )
        return 0
    end_us = newest_us + 1
    total = one("count()", first_us) or 0
    columns = ", ".join(
        f"{name}::LONG" if type_ == "TIMESTAMP" else name for name, type_ in spec.columns.items()
    )
    order = ", ".join(spec.keys)
    written, reported, from_us = 0, time.monotonic(), first_us
    cursor = connection.cursor(binary=True)
    while from_us < end_us:
        # A slice ends between two times: all rows with the same ts come with one query.
        border_us = one("ts::LONG", from_us, f"ORDER BY ts LIMIT {SLICE_ROWS}, {SLICE_ROWS + 1}")
        to_us = end_us
        if border_us is not None:
            oldest_us = one("ts::LONG", from_us, "ORDER BY ts LIMIT 1")
            to_us = border_us + 1 if border_us == oldest_us else border_us
        span = f"ts >= {_literal(from_us)} AND ts < {_literal(to_us)}"
        cursor.execute(f"SELECT {columns} FROM {spec.name} WHERE {span}{where} ORDER BY {order}", bound)
        if rows := cursor.fetchall():
            writer.write(rows)
            written += len(rows)
        from_us = to_us
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            progress(f"{spec.name}: {written:,} of {max(total, written):,} rows")
    progress(f"{spec.name}: {written:,} rows")
    return written


class _Csv:
    def __init__(self, target: TextIO, spec: Table) -> None:
        self._types = tuple(spec.columns.values())
        self._writer = csv.writer(target, lineterminator="\n")
        self._writer.writerow(spec.columns)

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        columns = [
            _texts(column, type_) for column, type_ in zip(zip(*rows, strict=True), self._types, strict=True)
        ]
        # csv writes a float as its repr, the shortest text that reads back as the same number
        self._writer.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        pass


def _texts(column: tuple[Any, ...], type_: str) -> Any:
    if type_ == "TIMESTAMP":
        instants = np.array([np.datetime64("NaT") if us is None else us for us in column], "datetime64[us]")
        texts = np.char.add(np.datetime_as_string(instants, unit="us"), "Z")
        return np.where(np.isnat(instants), "", texts).tolist()
    if type_ == "BOOLEAN":
        return ["true" if flag else "false" for flag in column]
    return column


class _Parquet:
    def __init__(self, target: Any, spec: Table) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {
            "TIMESTAMP": pa.timestamp("us", "UTC"),
            "SYMBOL": pa.dictionary(pa.int32(), pa.string()),
            "DOUBLE": pa.float64(),
            "LONG": pa.int64(),
            "BOOLEAN": pa.bool_(),
        }
        self._schema = pa.schema([(name, kinds[type_]) for name, type_ in spec.columns.items()])
        self._writer = parquet.ParquetWriter(target, self._schema, compression="zstd")

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        import pyarrow as pa

        arrays = [
            pa.array(column, field.type)
            for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
