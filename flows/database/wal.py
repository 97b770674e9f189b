"""The tables' write-ahead logs: transactions that SQL does not show yet, and suspended tables."""

import time
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.database.schema import tables
from flows.errors import UserError

SETTLE_POLL_S = 0.002


def suspended(connection: Any) -> list[tuple[str, str]]:
    """Tables that accept rows but do not show them, each with the server's reason."""
    return [(name, reason) for name, is_suspended, reason, *_ in _wal(connection) if is_suspended]


def pending(connection: Any) -> int:
    """How many transactions of all tables are acknowledged but not applied yet."""
    return sum(todo - done for *_, done, todo in _wal(connection))


def suspension(name: str, reason: str) -> str:
    """The message about a suspended table."""
    return (
        f"table {name}: suspended ({reason or 'no reason given'}): it takes rows but shows none of them: "
        f"see to the cause (disk space?), then ALTER TABLE {name} RESUME WAL"
    )


def _wal(connection: Any) -> list[tuple[str, bool, str, int, int]]:
    found = connection.execute(
        "SELECT name, suspended, errorTag, errorMessage, writerTxn, sequencerTxn FROM wal_tables()"
    ).fetchall()
    return [
        (name, is_suspended, tag or error, done, todo)
        for name, is_suspended, tag, error, done, todo in found
        if name in tables()
    ]


def settle(endpoint: Endpoint, deadline_s: float = 60.0) -> None:
    """Return when SQL shows everything that was acknowledged before this call."""
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
                raise UserError(
                    f"table {late[0]}: rows written are not visible after {deadline_s:g} s: see the "
                    "server's log"
                )
            time.sleep(SETTLE_POLL_S)
