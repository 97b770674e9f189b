"""Rows of trades and gaps for tests to write, and the tables as they are then read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.schema import tables
from flows.database.wal import settle
from flows.database.writer import Writer
from operators.columns import NEVER
from tests.line import LAST_S

T0 = 1_723_161_600_000_007  # on 2024-08-09, between two milliseconds


def trades(count: int, first_id: int = 1, price: float = 61_000.5) -> Rows:
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    return Rows(
        "trades",
        {
            "ts": T0 + ids * 1000,
            "symbol": Symbols((ids % 2).astype(np.int32), ("BTCUSDT", "ETHUSDT")),
            "id": ids,
            "price": np.full(count, price),
            "qty": ids / 8,
            "side": Symbols((ids % 3 % 2).astype(np.int32), ("buy", "sell")),
        },
    )


def gap(ts: int, status: str, filled_at: int = NEVER) -> Rows:
    def one(name: str) -> Symbols:
        return Symbols(np.zeros(1, np.int32), (name,))

    long = {
        name: np.array([number], np.int64)
        for name, number in (("ts", ts), ("first_id", 2**53 + 1), ("last_id", NEVER), ("trades", 3))
    }
    return Rows(
        "gaps",
        {
            **long,
            "symbol": one("BTCUSDT"),
            "cause": one("drop"),
            "status": one(status),
            "filled_at": np.array([filled_at], np.int64),
        },
    )


def read(endpoint: Endpoint, table: str) -> list[tuple[Any, ...]]:
    """All rows, with times in µs, sorted by key."""
    columns = ", ".join(
        f"{name}::LONG" if type_ == "TIMESTAMP" else name for name, type_ in tables()[table].columns.items()
    )
    with connect(endpoint) as connection:
        return connection.execute(
            f"SELECT {columns} FROM {table} ORDER BY {', '.join(tables()[table].keys)}"
        ).fetchall()


def expected(rows: Rows) -> list[tuple[Any, ...]]:
    """What `read` should return: for each key the row that was written last."""
    table = tables()[rows.table]

    def plain(name: str, type_: str) -> list[Any]:
        column = rows.columns[name]
        if isinstance(column, Symbols):
            return [(*column.names, None)[code] for code in column.codes]
        if type_ == "DOUBLE":
            return [float(number) if np.isfinite(number) else None for number in column]
        if type_ == "BOOLEAN":
            return [bool(flag) for flag in column]
        return [None if number == NEVER else int(number) for number in column]

    lines = zip(*(plain(name, type_) for name, type_ in table.columns.items()), strict=True)
    where = [list(table.columns).index(key) for key in table.keys]
    by_key = {tuple(line[index] for index in where): line for line in lines}
    return [
        by_key[key] for key in sorted(by_key, key=lambda key: tuple((part is not None, part) for part in key))
    ]


@contextmanager
def writing(endpoint: Endpoint, **options: Any) -> Iterator[Writer]:
    writer = Writer(endpoint, **({"log": lambda _: None} | options))
    try:
        yield writer
    finally:
        writer.close()


def written(endpoint: Endpoint, *many: Rows) -> None:
    with writing(endpoint) as writer:
        writer.write(many)
        writer.flush()
    settle(endpoint)


def eventually(condition: Callable[[], object], deadline_s: float = LAST_S) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "not within the deadline"
        time.sleep(0.01)
