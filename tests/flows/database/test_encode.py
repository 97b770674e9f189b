"""Any rows are read as they were written."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flows.database import encode
from flows.database.columns import Column, Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.schema import tables
from operators.columns import NEVER
from tests.flows.database.written import T0, expected, gap, read, trades, writing, written


def test_rows_are_read_as_they_were_written(database: Endpoint) -> None:
    written(database, trades(5), gap(T0, "open"), gap(T0, "filled", filled_at=T0 + 1))
    assert read(database, "trades") == expected(trades(5))
    assert read(database, "gaps") == [(T0, "BTCUSDT", 2**53 + 1, None, 3, "drop", "filled", T0 + 1)]


def test_a_frame_and_single_rows_write_the_same(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    count = encode.FRAME_ROWS + 1
    written(database, trades(count))
    by_frame = read(database, "trades")
    monkeypatch.setattr(encode, "FRAME_ROWS", 2 * count)
    with connect(database) as connection:
        connection.execute("TRUNCATE TABLE trades")
    written(database, trades(count))
    assert read(database, "trades") == by_frame == expected(trades(count))


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=6)
longs = st.one_of(st.just(NEVER), st.integers(-(2**63) + 1, 2**63 - 1))
times = st.one_of(st.just(NEVER), st.integers(0, 4_000_000_000_000_000))


@st.composite
def any_rows(draw: st.DrawFn) -> Rows:
    table = tables()[draw(st.sampled_from(sorted(tables())))]
    count = draw(st.integers(1, 12))
    columns: dict[str, Column] = {}
    for name, type_ in table.columns.items():

        def many(each: st.SearchStrategy[Any], dtype: type) -> Any:
            return np.array(draw(st.lists(each, min_size=count, max_size=count)), dtype)

        if name == "ts":
            columns[name] = many(st.integers(0, 3), np.int64) * 40_000_000_000 + T0
        elif type_ == "SYMBOL":
            known = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
            columns[name] = Symbols(many(st.integers(-1, len(known) - 1), np.int32), known)
        elif type_ == "DOUBLE":
            columns[name] = many(st.floats(), np.float64)
        elif type_ == "BOOLEAN":
            columns[name] = many(st.booleans(), np.bool_)
        else:
            columns[name] = many(times if type_ == "TIMESTAMP" else longs, np.int64)
    return Rows(table.name, columns)


def bits(lines: list[tuple[Any, ...]]) -> list[str]:
    return sorted(repr(line) for line in lines)  # distinguishes 0.0 from -0.0, and needs no order among NULLs


@pytest.mark.parametrize("frame_rows", [1, 1_000])
def test_any_rows_are_read_as_they_were_written(
    database: Endpoint, monkeypatch: pytest.MonkeyPatch, frame_rows: int
) -> None:
    monkeypatch.setattr(encode, "FRAME_ROWS", frame_rows)

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(any_rows())
    def round_trip(rows: Rows) -> None:
        # a row with only NULLs cannot be sent
        assume(all(any(cell is not None for cell in line[1:]) for line in expected(rows)))
        with connect(database) as connection:
            connection.execute(f"TRUNCATE TABLE {rows.table}")
        written(database, rows)
        assert bits(read(database, rows.table)) == bits(expected(rows))

    round_trip()


def test_small_batches_are_joined_in_their_order() -> None:
    parts = [trades(1, first_id=index) for index in range(5)] + [
        gap(T0, "open"),
        trades(2, first_id=9),
        gap(T0, "filled"),
    ]
    joined = encode.gathered(parts)
    assert [(rows.table, len(rows)) for rows in joined] == [("trades", 7), ("gaps", 1), ("gaps", 1)]
    assert joined[0].columns["id"].tolist() == [0, 1, 2, 3, 4, 9, 10]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("price", np.ones(2, np.float32), "trades.price: float32 is not float64"),
        ("id", np.ones(3, np.int64), "trades.id: its length is not that of ts"),
        ("ts", np.array([NEVER, 1], np.int64), "trades.ts: -9223372036854775808 is before 1970"),
    ],
)
def test_columns_of_the_wrong_kind_never_reach_the_database(column: str, wrong: Any, message: str) -> None:
    with (
        writing(Endpoint("127.0.0.1", 1, 1)) as writer,
        pytest.raises((TypeError, ValueError), match=f"^{message}$"),
    ):
        writer.write([Rows("trades", {**trades(2).columns, column: wrong})])
