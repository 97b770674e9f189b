"""How long tables keep their rows, counted back from the newest row."""

import re
from typing import Any

import numpy as np

from flows.database.connection import Endpoint, connect
from flows.database.schema import tables
from flows.errors import UserError
from operators.columns import DAY_US


def newest(connection: Any, table: str) -> int | None:
    """The newest `ts` of a table, µs since the epoch; None if it has no row."""
    found = connection.execute(f"SELECT max(ts)::LONG FROM {tables()[table].name}").fetchone()
    return found[0] if found else None  # for an empty table the server returns no row


def _days(retention: str) -> int:
    match = re.fullmatch(r"(\d+)([hdw])", retention)
    hours = int(match[1]) * {"h": 1, "d": 24, "w": 168}[match[2]] if match else 0
    if hours <= 0 or hours % 24:
        raise UserError(f"retention: expected whole days such as 7d, got {retention!r}")
    return hours // 24


def set_retention(endpoint: Endpoint, trades: str, bars: str, signals: str) -> None:
    """Set every table's TTL; for `run` only. QuestDB drops whole days, counted back from the newest row."""
    wanted = {"trades": _days(trades), "bars": _days(bars)}
    with connect(endpoint) as connection:
        have = _ttl_us(connection)
        for name in tables():
            days = wanted.get(name, _days(signals))
            if have.get(name) != days * DAY_US:
                connection.execute(f"ALTER TABLE {name} SET TTL {days} DAYS")


def _ttl_us(connection: Any) -> dict[str, int]:
    """Tables with a TTL, in µs; a month counts as the shortest one, 28 days."""
    days = {"HOUR": 1 / 24, "DAY": 1, "WEEK": 7, "MONTH": 28, "YEAR": 365}
    found = connection.execute(
        "SELECT table_name, ttlValue, ttlUnit FROM tables() WHERE ttlValue > 0"
    ).fetchall()
    return {name: round(count * days[unit] * DAY_US) for name, count, unit in found if name in tables()}


def ttl_would_drop(endpoint: Endpoint, first_us: int, last_us: int | None = None) -> str | None:
    """Why this database would drop rows from `first_us` to `last_us` (µs since the epoch), in one line.

    None if it would keep them.
    """
    with connect(endpoint) as connection:
        for name, ttl_us in _ttl_us(connection).items():
            last = max(newest(connection, name) or first_us, first_us if last_us is None else last_us)
            if (first_us // DAY_US + 1) * DAY_US <= last - ttl_us:
                first_day, last_day = (
                    np.datetime64(us, "us").astype("datetime64[D]") for us in (first_us, last)
                )
                return (
                    f"table {name}: keeps {ttl_us // DAY_US} days before its newest row ({last_day}): rows "
                    f"of {first_day} would be deleted "
                    "at once: use a database of its own (--dir DIR), or a longer retention"
                )
    return None
