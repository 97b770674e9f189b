"""QuestDB: where it is, its tables, and the writer that loses no row."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flows.errors import UserError

SCHEMA = Path(__file__).parent.parent / "questdb" / "schema.sql"
CONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a database answers. Users and passwords come from the environment, never from here."""

    host: str
    http_port: int
    pg_port: int


def connect(endpoint: Endpoint) -> Any:
    """A psycopg connection in autocommit; `with connect(endpoint) as connection: connection.execute(…)`."""
    import psycopg

    try:
        return psycopg.connect(
            host=endpoint.host,
            port=endpoint.pg_port,
            dbname="qdb",
            user=os.environ.get("QDB_PG_USER") or "admin",
            password=os.environ.get("QDB_PG_PASSWORD") or "quest",
            autocommit=True,
            connect_timeout=CONNECT_S,
        )
    except psycopg.OperationalError as error:
        where = f"questdb: {endpoint.host}:{endpoint.pg_port} (PostgreSQL)"
        if "invalid username/password" in str(error):
            raise UserError(f"{where}: user or password refused: set QDB_PG_USER and QDB_PG_PASSWORD to the server's") from None
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
    text = re.sub(r"--[^\n]*", "", SCHEMA.read_text())
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
    """Create the tables that are missing and verify the others: a table that would lose or mix up rows is refused."""
    with connect(endpoint) as connection:
        for table in tables().values():
            connection.execute(table.create)
            _verify(connection, table)


def _verify(connection: Any, table: Table) -> None:
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

    for position, (column, type_) in enumerate(table.columns.items()):
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


def newest(connection: Any, names: Sequence[str] | None = None) -> dict[str, int | None]:
    """The newest `ts` of each table, µs since the epoch; None where it has no row."""
    return {
        name: connection.execute(f"SELECT max(ts)::LONG FROM {tables()[name].name}").fetchone()[0]
        for name in (tables() if names is None else names)
    }
