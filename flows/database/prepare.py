"""Creates the tables of a database, and verifies them against schema.sql."""

import logging
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.database.schema import Table, tables
from flows.database.wal import settle
from flows.errors import UserError

log = logging.getLogger(__name__)


def prepare(endpoint: Endpoint) -> None:
    """Create the tables that are missing, and refuse tables that would lose or mix up rows.

    Columns that a later version has appended are added to the table of an earlier one; they are NULL in its
    rows.
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
        settle(endpoint)  # SQL does not know the new columns before that


def _verify(connection: Any, table: Table) -> list[str]:
    """The columns that are missing at the table's end; raises UserError for any other difference."""
    wal, partition_by, dedup = connection.execute(
        "SELECT walEnabled, partitionBy, dedup FROM tables() WHERE table_name = %s", (table.name,)
    ).fetchone()
    rows = connection.execute(
        f"SELECT \"column\", type, designated, upsertKey FROM table_columns('{table.name}')"
    ).fetchall()  # the name is Pairflow's own, so it needs no quoting
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
        raise refuse(
            "deduplication",
            f"keys {', '.join(sorted(keys))}" if keys else "none",
            f"DEDUP UPSERT KEYS({', '.join(table.keys)})",
        )
    return appended
