"""Row 29: a non-finite value anywhere.

docs/faults.md says what Pairflow promises in this case.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from flows.database import encode
from flows.database.columns import Column, Rows, Symbols
from flows.database.connection import Endpoint
from flows.database.schema import tables as schema
from flows.database.writer import Writer
from flows.feed.frames import Frames
from flows.settings.model import Settings
from tests.faults.stage import START_US, Tables, replay, tables

BAD = (math.nan, math.inf, -math.inf)


def finite(found: Tables) -> None:
    for name, rows in found.items():
        bad = [
            row
            for row in rows
            if any(isinstance(number, float) and not math.isfinite(number) for number in row)
        ]
        assert not bad, (name, bad[:3])


@pytest.mark.parametrize("by_frame", [False, True])
def test_in_every_column_of_every_table_it_becomes_null(
    database: Endpoint, monkeypatch: pytest.MonkeyPatch, by_frame: bool
) -> None:
    monkeypatch.setattr(encode, "FRAME_ROWS", 1 if by_frame else 1_000)
    writer = Writer(database)
    for table in schema().values():
        n = len(BAD)
        columns: dict[str, Column] = {}
        for name, type_ in table.columns.items():
            if type_ == "DOUBLE":
                columns[name] = np.array(BAD)
            elif type_ == "SYMBOL":
                columns[name] = Symbols(np.zeros(n, np.int32), ("a",))
            elif type_ == "BOOLEAN":
                columns[name] = np.zeros(n, np.bool_)
            else:
                columns[name] = START_US + np.arange(n)
        writer.write([Rows(table.name, columns)])
    writer.flush()
    writer.close()
    found = tables(database, schema())
    finite(found)
    for name, rows in found.items():
        doubles = [k for k, type_ in enumerate(schema()[name].columns.values()) if type_ == "DOUBLE"]
        assert len(rows) == len(BAD) and {row[k] for row in rows for k in doubles} <= {None}


def test_numbers_at_the_edge_of_what_a_double_holds_leave_nothing_non_finite(
    database: Endpoint, settings: Settings, trades: Frames, r: Tables
) -> None:
    price, qty = trades.price.copy(), trades.qty.copy()
    price[1_000:1_050], qty[1_000:1_050] = 1e300, 1e300
    price[3_000:3_050] = 1e-300
    price[5_000:5_050] = 5e-324
    replay([replace(trades, price=price, qty=qty)], settings, database)
    found = tables(database)
    finite(found)
    assert [len(rows) for name, rows in found.items() if name != "alerts"] == [
        len(rows) for name, rows in r.items() if name != "alerts"
    ]


def test_r_is_finite(r: Tables) -> None:
    finite(r)
