"""QuestDB: where it is, its tables, and the writer that loses no row."""

import base64
import http.client
import json
import logging
import re
import select
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np

from flows.database import credentials
from flows.database.columns import Column, Rows, Symbols
from flows.errors import UserError
from operators.columns import DAY_US, NEVER

log = logging.getLogger(__name__)

SCHEMA = files("flows.database") / "schema.sql"  # a link to questdb/schema.sql; a wheel has a copy
CONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a database answers, and the data directory that keeps its passwords: None for a server of somebody else's."""

    host: str
    http_port: int
    pg_port: int
    directory: Path | None = None


def connect(endpoint: Endpoint) -> Any:
    """A psycopg connection in autocommit; `with connect(endpoint) as connection: connection.execute(…)`."""
    import psycopg

    who = credentials.login("PG", endpoint.directory)
    try:
        return psycopg.connect(
            host=endpoint.host,
            port=endpoint.pg_port,
            dbname="qdb",
            user=who.user,
            password=who.password,
            autocommit=True,
            connect_timeout=CONNECT_S,
        )
    except psycopg.OperationalError as error:
        where = f"questdb: {endpoint.host}:{endpoint.pg_port} (PostgreSQL)"
        if "invalid username/password" in str(error):
            raise UserError(f"{where}: user or password refused: {credentials.refused('PG', endpoint.directory)}") from None
        raise UserError(f"{where}: no connection ({str(error).strip().splitlines()[0]}): is the server running?") from None


@dataclass(frozen=True, slots=True)
class Table:
    """One table as schema.sql states it: columns in order with their types, and the keys of its deduplication."""

    name: str
    columns: dict[str, str]
    keys: tuple[str, ...]
    create: str

    def types(self, type_: str) -> tuple[str, ...]:
        return tuple(name for name, each in self.columns.items() if each == type_)


@cache
def tables() -> dict[str, Table]:
    """The tables of schema.sql, in its order."""
    text = re.sub(r"--[^\n]*", "", SCHEMA.read_text(encoding="utf-8"))
    found = {}
    for statement in filter(None, map(str.strip, text.split(";"))):
        match = re.fullmatch(
            r"CREATE TABLE IF NOT EXISTS (\w+) \((.*)\) TIMESTAMP\(ts\) PARTITION BY \w+ WAL DEDUP UPSERT KEYS\((.*)\)",
            statement,
            re.DOTALL,
        )
        assert match, statement
        name, columns, keys = match.groups()
        words = [column.split() for column in columns.split(",")]
        found[name] = Table(name, {column: type_ for column, type_, *_ in words}, tuple(re.split(r",\s*", keys)), statement)
    return found


def prepare(endpoint: Endpoint) -> None:
    """Create the tables that are missing and verify the others: a table that would lose or mix up rows is refused.

    What a later version has appended to a table of an earlier one is added, and NULL in the rows that are there.
    """
    grown = False
    with connect(endpoint) as connection:
        for table in tables().values():
            connection.execute(table.create)
            for column in _verify(connection, table):
                connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {column} {table.columns[column]}")
                log.info("table %s: column %s added", table.name, column)
                grown = True
    if grown:
        settle(endpoint)  # until then SQL does not know the columns


def _verify(connection: Any, table: Table) -> list[str]:
    """The columns that are missing at the table's end; raises UserError for any other difference."""
    wal, partition_by, dedup = connection.execute(
        "SELECT walEnabled, partitionBy, dedup FROM tables() WHERE table_name = %s", (table.name,)
    ).fetchone()
    rows = connection.execute(
        f"SELECT \"column\", type, designated, upsertKey FROM table_columns('{table.name}')"
    ).fetchall()  # a name of ours
    found = {column: type_ for column, type_, _, _ in rows}
    way_out = f"rename or drop it and start again (RENAME TABLE {table.name} TO {table.name}_old)"

    def refuse(what: str, has: object, expected: object) -> UserError:
        return UserError(f"table {table.name}: {what}: found {has}, expected {expected}: {way_out}")

    expected = list(table.columns)
    appended = expected[len(rows) :] if list(found) == expected[: len(rows)] else []
    for position, (column, type_) in enumerate(table.columns.items()):
        if column in appended:
            break
        if column not in found:
            raise refuse(f"column {column}", "none", type_)
        if found[column] != type_:
            raise refuse(f"column {column}", found[column], type_)
        if rows[position][0] != column:
            raise refuse(f"column {position + 1}", rows[position][0], column)
    if len(rows) > len(table.columns):
        column, type_ = rows[len(table.columns)][:2]
        raise refuse(f"column {column}", type_, "none")
    if not wal:
        raise refuse("write-ahead log", "none", "WAL")
    if partition_by == "NONE":
        raise refuse("partitions", "none", "PARTITION BY DAY")
    designated = [column for column, _, designated, _ in rows if designated]
    if designated != ["ts"]:
        raise refuse("designated timestamp", ", ".join(designated) or "none", "ts")
    keys = {column for column, _, _, key in rows if key} if dedup else set()
    if keys != set(table.keys):
        raise refuse("deduplication", f"keys {', '.join(sorted(keys))}" if keys else "none", f"DEDUP UPSERT KEYS({', '.join(table.keys)})")
    return appended


def newest(connection: Any, table: str) -> int | None:
    """The newest `ts` of a table, µs since the epoch; None where it has no row."""
    found = connection.execute(f"SELECT max(ts)::LONG FROM {tables()[table].name}").fetchone()
    return found[0] if found else None  # of an empty table the server answers no row at all


def suspended(connection: Any) -> list[tuple[str, str]]:
    """Tables that still take rows but show none of them, each with the server's reason."""
    return [(name, reason) for name, is_suspended, reason, *_ in _wal(connection) if is_suspended]


def pending(connection: Any) -> int:
    """Transactions that were acknowledged but are not applied yet, in all tables."""
    return sum(todo - done for *_, done, todo in _wal(connection))


def suspension(name: str, reason: str) -> str:
    """What to say of a suspended table."""
    return (
        f"table {name}: suspended ({reason or 'no reason given'}): it takes rows but shows none of them: "
        f"see to the cause (disk space?), then ALTER TABLE {name} RESUME WAL"
    )


def _wal(connection: Any) -> list[tuple[str, bool, str, int, int]]:
    found = connection.execute("SELECT name, suspended, errorTag, errorMessage, writerTxn, sequencerTxn FROM wal_tables()").fetchall()
    return [(name, is_suspended, tag or error, done, todo) for name, is_suspended, tag, error, done, todo in found if name in tables()]


def settle(endpoint: Endpoint, deadline_s: float = 60.0) -> None:
    """Return when all that was acknowledged before this call is visible to SQL."""
    until = time.monotonic() + deadline_s
    with connect(endpoint) as connection:
        aims = {name: todo for name, *_, todo in _wal(connection)}
        while True:
            late = []
            for name, is_suspended, reason, done, _ in _wal(connection):
                if is_suspended:
                    raise UserError(suspension(name, reason))
                if done < aims.get(name, 0):
                    late.append(name)
            if not late:
                return
            if time.monotonic() > until:
                raise UserError(f"table {late[0]}: rows written are not visible after {deadline_s:g} s: see the server's log")
            time.sleep(SETTLE_POLL_S)


def _days(retention: str) -> int:
    match = re.fullmatch(r"(\d+)([hdw])", retention)
    hours = int(match[1]) * {"h": 1, "d": 24, "w": 168}[match[2]] if match else 0
    if hours <= 0 or hours % 24:
        raise UserError(f"retention: expected whole days such as 7d, got {retention!r}")
    return hours // 24


def set_retention(endpoint: Endpoint, trades: str, bars: str, signals: str) -> None:
    """Set every table's TTL: QuestDB drops whole days, counted from the table's newest row. For `run` only."""
    wanted = {"trades": _days(trades), "bars": _days(bars)}
    with connect(endpoint) as connection:
        have = _ttl_us(connection)
        for name in tables():
            days = wanted.get(name, _days(signals))
            if have.get(name) != days * DAY_US:
                connection.execute(f"ALTER TABLE {name} SET TTL {days} DAYS")


def _ttl_us(connection: Any) -> dict[str, int]:
    """Tables with a TTL, in µs; a month counts as its shortest."""
    days = {"HOUR": 1 / 24, "DAY": 1, "WEEK": 7, "MONTH": 28, "YEAR": 365}
    found = connection.execute("SELECT table_name, ttlValue, ttlUnit FROM tables() WHERE ttlValue > 0").fetchall()
    return {name: round(count * days[unit] * DAY_US) for name, count, unit in found if name in tables()}


def ttl_would_drop(endpoint: Endpoint, first_us: int, last_us: int | None = None) -> str | None:
    """Why rows from `first_us` to `last_us` (µs since the epoch) would not stay in this database: one line, or None if they would."""
    with connect(endpoint) as connection:
        for name, ttl_us in _ttl_us(connection).items():
            last = max(newest(connection, name) or first_us, first_us if last_us is None else last_us)
            if (first_us // DAY_US + 1) * DAY_US <= last - ttl_us:
                first_day, last_day = (np.datetime64(us, "us").astype("datetime64[D]") for us in (first_us, last))
                return (
                    f"table {name}: keeps {ttl_us // DAY_US} days before its newest row ({last_day}): rows of {first_day} would be deleted "
                    "at once: use a database of its own (--dir DIR), or a longer retention"
                )
    return None


# Writing: InfluxDB line protocol over HTTP. Deduplication makes a second delivery harmless, so whatever is in doubt is sent again.

REQUEST_ROWS = 50_000  # about 5 MB
FRAME_ROWS = 1_000  # from here on a DataFrame is faster than a call per row
REQUEST_S = 30.0
STOPPING_S = 5.0  # of a request, once the process is to end
LOOK_S = 0.1  # how often a request that is under way looks whether it is
SEND_BYTES = 1 << 16
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
SETTLE_POLL_S = 0.002


@cache
def _encoder() -> Any:
    """Makes buffers; told the protocol's version it connects to nothing. Version 2 sends doubles bit for bit."""
    from questdb import Protocol, Sender

    sender = Sender(Protocol.Http, "127.0.0.1", 9000, protocol_version=2, auto_flush=False)
    sender.establish()
    return sender


@lru_cache(maxsize=256)
def _categories(names: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.CategoricalDtype(list(names))


def _pieces(column: Column, start: int, stop: int) -> Column:
    return Symbols(column.codes[start:stop], column.names) if isinstance(column, Symbols) else column[start:stop]


def _slices(rows: Rows, size: int) -> Iterator[Rows]:
    if len(rows) <= size:
        yield rows
        return
    for start in range(0, len(rows), size):
        yield Rows(rows.table, {name: _pieces(column, start, start + size) for name, column in rows.columns.items()})


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


def _gathered(many: Iterable[Rows]) -> list[Rows]:
    """Small batches joined to few large ones; rows of one table stay in their order, for the last of equal keys wins."""
    runs: dict[str, list[tuple[object, list[Rows]]]] = {}
    for rows in many:
        shape = tuple((name, column.names if isinstance(column, Symbols) else None) for name, column in rows.columns.items())
        table = runs.setdefault(rows.table, [])
        if table and table[-1][0] == shape:
            table[-1][1].append(rows)
        else:
            table.append((shape, [rows]))
    return [_joined(run) for table in runs.values() for _, run in table]


def _checked(rows: Rows) -> Rows:
    """Refuse what no retry and no server would put right: these are mistakes of the program, not of its user."""
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
    """Append the rows to a client's buffer in their order: NaN, infinity, NEVER and symbol code -1 become NULL."""
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
            columns[name] = pd.Categorical.from_codes(column.codes, dtype=_categories(column.names), validate=False)
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
            names: tuple[str | None, ...] = (*column.names, None)  # so that code -1 is NULL
            symbols.append((name, [names[code] for code in column.codes.tolist()]))
        elif types[name] == "DOUBLE":
            columns.append((name, _finite(column).tolist()))
        elif name != "ts":
            column_list = column.tolist()
            if types[name] != "BOOLEAN":
                as_time = types[name] == "TIMESTAMP"
                column_list = [None if each == NEVER else TimestampMicros(each) if as_time else each for each in column_list]
            columns.append((name, column_list))
    for index, ts in enumerate(rows.columns["ts"].tolist()):  # type: ignore[union-attr]
        buffer.row(
            rows.table,
            symbols={name: texts[index] for name, texts in symbols},
            columns={name: numbers[index] for name, numbers in columns},
            at=TimestampNanos(ts * 1000),
        )


def _row_text(rows: Rows, index: int) -> str:
    """One row for a person to read."""
    words = []
    for name, column in rows.columns.items():
        if isinstance(column, Symbols):
            words.append(f"{name}={(*column.names, None)[column.codes[index]]}")
        elif name == "ts":
            words.append(f"ts={np.datetime64(int(column[index]), 'us')}Z")
        else:
            words.append(f"{name}={'NULL' if column[index] == NEVER else column[index]}")
    return " ".join(words)


class Stopping(Protocol):
    """Whether the process is to end: `flows.runtime.stop.Stop`, or a threading.Event."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> object: ...


class _Never:
    """Of a writer that nobody stops."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float, /) -> None:
        time.sleep(timeout)


class _InDoubt(Exception):
    """The request failed in a way that leaves open whether the rows are in."""


class Writer:
    """Rows to the database, each at least once, so that deduplication makes it once.

    `write` keeps the rows and sends whenever REQUEST_ROWS are together; `flush` returns only when the server has acknowledged all. Both
    block while the database is away, for as long as it takes: nothing is dropped and nothing grows. Once `stop` is set a failure is not
    tried again, and a request fails after STOPPING_S; a database that answers still gets everything. Not for use by several threads.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        log: Callable[[str], None] = print,
        stop: Stopping | None = None,
        request_s: float = REQUEST_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        random: Random | None = None,
    ) -> None:
        self.waiting = 0  # rows that are not acknowledged
        self.acknowledged = 0  # rows
        self.away_since: float | None = None  # by `now`; None while the database answers
        self._endpoint, self._log, self._request_s, self._now = endpoint, log, request_s, now
        self._stop: Stopping = _Never() if stop is None else stop
        self._sleep = sleep or self._stop.wait
        self._random = random or Random()
        self._rows: list[Rows] = []
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        who = credentials.login("HTTP", endpoint.directory)
        if who.password is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(f"{who.user}:{who.password}".encode()).decode()

    def write(self, many: Sequence[Rows]) -> None:
        """Take the rows; block while more than a request of them waits for the database."""
        for rows in many:
            if len(rows):
                self._rows.append(_checked(rows))
                self.waiting += len(rows)
        if self.waiting >= REQUEST_ROWS:
            self.flush()

    def flush(self, tables: Collection[str] | None = None) -> None:
        """Return when every row written so far is acknowledged; `tables`: when those of these tables are, while the others wait on."""
        if tables is None:
            chosen, self._rows = self._rows, []
        else:
            chosen = [rows for rows in self._rows if rows.table in tables]
            self._rows = [rows for rows in self._rows if rows.table not in tables]
        due = [part for rows in _gathered(chosen) for part in _slices(rows, REQUEST_ROWS)]
        try:
            while due:
                request: list[Rows] = []
                count = 0
                for rows in due:
                    if request and count + len(rows) > REQUEST_ROWS:
                        break
                    request.append(rows)
                    count += len(rows)
                self._deliver(request, count)
                del due[: len(request)]
                self.waiting -= count
                self.acknowledged += count
        finally:
            self._rows = due + self._rows  # what was not acknowledged still waits, before what came later

    def close(self) -> None:
        """Drop the connection; rows that wait are not sent."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _deliver(self, request: Sequence[Rows], count: int) -> None:
        buffer = _encoder().new_buffer()
        for rows in request:
            encode(rows, buffer)
        body = bytes(buffer)
        where = f"questdb {self._endpoint.host}:{self._endpoint.http_port}"
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._post(body, request)
            except _InDoubt as failure:
                if self.away_since is None:
                    self.away_since = self._now()
                    self._log(f"{where}: away ({failure}): {count} rows wait, trying again")
                if self._stop.is_set():
                    away = f"away for {self._now() - self.away_since:.0f} s ({failure})"
                    raise UserError(f"{where}: {away}: stopped with {self.waiting} rows not written: start again when it answers") from None
                self._sleep(pause_s * (0.5 + 0.5 * self._random.random()))
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
            else:
                if self.away_since is not None:
                    self._log(f"{where}: back after {self._now() - self.away_since:.0f} s, {count} rows written")
                    self.away_since = None
                return

    def _post(self, body: bytes, request: Sequence[Rows]) -> None:
        reused = self._connection is not None
        if self._connection is None:
            connect_s = min(self._request_s, STOPPING_S)  # nothing can cut it short
            self._connection = http.client.HTTPConnection(self._endpoint.host, self._endpoint.http_port, timeout=connect_s)
        try:
            self._send(self._connection, body)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            if reused and isinstance(error, ConnectionError):  # the server may hang up on an idle connection: no failure yet
                return self._post(body, request)
            raise _InDoubt("no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__) from None
        if status not in (http.client.OK, http.client.NO_CONTENT):
            self._connection.close()
            self._connection = None
            raise _refusal(self._endpoint, status, answer, request)

    def _send(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        """Send the request and wait for the first byte of its answer, but not longer than it may take."""
        connection.putrequest("POST", "/write")
        for name, text in (*self._headers.items(), ("Content-Length", str(len(body)))):
            connection.putheader(name, text)
        connection.endheaders()
        began, stopping = time.monotonic(), False
        until = began + self._request_s
        unsent = memoryview(body)
        while True:
            readable, writable, _ = select.select([connection.sock], [connection.sock] if unsent else [], [], LOOK_S)
            if readable:  # also when the server has hung up, or refuses before it has read everything
                return
            if writable:
                unsent = unsent[connection.sock.send(unsent[:SEND_BYTES]) :]
            if not stopping and self._stop.is_set():
                stopping, until = True, min(until, time.monotonic() + STOPPING_S)
            if time.monotonic() > until:
                raise TimeoutError


def _refusal(endpoint: Endpoint, status: int, answer: bytes, request: Sequence[Rows]) -> Exception:
    """What an answer other than success means: try again, or stop with the server's words and the row."""
    where = f"questdb {endpoint.host}:{endpoint.http_port}"
    try:
        told = json.loads(answer)
        words, line = " ".join(str(told["message"]).split()), int(told.get("line") or 1)
    except (ValueError, KeyError, TypeError):
        words, line = " ".join(answer.decode(errors="replace").split())[:300], 1
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        way_out = credentials.refused("HTTP", endpoint.directory)
        return UserError(f"{where}: user or password refused (HTTP {status}): {way_out}")
    if status == http.client.NOT_FOUND:
        return UserError(f"{where}: takes no rows (HTTP 404 on /write): is it QuestDB's HTTP port?")
    if status == http.client.BAD_REQUEST:
        for rows in request:
            if line <= len(rows):
                row = _row_text(rows, line - 1)
                return UserError(f"table {rows.table}: refused by the database: {words}: row {row}: correct the table, then start again")
            line -= len(rows)
        return UserError(f"{where}: refused: {words}")
    return _InDoubt(f"HTTP {status} {words}".strip())
