from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.replay import cells
from flows.replay.cells import CellError

US = 1_735_689_600_123_456  # 2025-01-01T00:00:00.123456Z


@pytest.mark.parametrize(
    ("cell", "us"),
    [
        ("1735689600", US // 10**6 * 10**6),
        ("1735689600.123456", US),
        ("1735689600.1234564", US),
        ("1735689600.1234556", US),
        ("1735689600123", US // 1000 * 1000),
        ("1735689600123.456", US),
        ("1.735689600123456e9", US),
        ("1735689600123456", US),
        ("1735689600123456.0", US),
        ("1735689600123456789", US),
        ("2025-01-01T00:00:00.123456Z", US),
        ("2025-01-01 00:00:00.123456", US),
        ("2025-01-01T00:00:00.123456789Z", US),
        ("2025-01-01T00:00:00,123456", US),
        ("2025-01-01 00:00:00.123456 UTC", US),
        ("2025-01-01 00:00:00.123456 +0000", US),
        ("2025-01-01T09:00:00.123456+09:00", US),
        ("2024-12-31T19:00:00.123456-0500", US),
        ("2024-12-31t19:00:00.123456-05", US),
        ("2025/01/01 00:00:00.123456", US),
        ("2025-01-01T00:00:00.1Z", US // 10**5 * 10**5),
        ("2025-01-01 00:00:00", US // 10**6 * 10**6),
        ("2025-01-01", US // 10**6 * 10**6),
        (" 1735689600123456\t", US),
        ("", -1),
        ("NaN", -1),
        ("null", -1),
        ("0", -1),
        ("1", -1),
    ],
)
def test_a_time_is_read_exactly(cell: str, us: int) -> None:
    assert cells.times(pa.array([cell])).tolist() == [us]
    assert cells.times(pa.array([cell, "1735689600123456", "2025-01-01T00:00:00.123456Z"])).tolist() == [
        us,
        US,
        US,
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us"),
        pa.timestamp("ns"),
        pa.timestamp("ns", "America/New_York"),
        pa.timestamp("us", "UTC"),
    ],
)
def test_a_timestamp_is_read_exactly(kind: pa.DataType) -> None:
    assert cells.times(pa.array([US, None]).cast(pa.timestamp("us")).cast(kind)).tolist() == [US, -1]


@settings(deadline=None)
@given(st.integers(2 * 10**14, 4 * 10**15))  # until 2096: a float64 of seconds has no microseconds after 2106
def test_seconds_and_milliseconds_with_a_fraction_are_the_nearest_microsecond(us: int) -> None:
    seconds, milliseconds = Decimal(us).scaleb(-6), Decimal(us).scaleb(-3)
    assert cells.times(pa.array([float(seconds), float(milliseconds)])).tolist() == [us, us]
    assert cells.times(pa.array([f"{seconds:f}", f"{milliseconds:f}"])).tolist() == [us, us]


@settings(deadline=None)
@given(st.decimals(0, 10**9, allow_nan=False, places=8))
def test_a_price_is_the_nearest_float_of_what_is_written(price: Decimal) -> None:
    written = f"{price:f}"
    for column in (
        pa.array([written]),
        pa.array([f"+{written}"]),
        pa.array([price], pa.decimal128(38, 8)),
        pa.array([written]).dictionary_encode(),
    ):
        assert cells.numbers(column).tolist() == [float(written)]


@pytest.mark.parametrize("cell", ["", "nan", "NULL", "None", "n/a", None])
def test_a_price_that_is_not_there_is_undefined(cell: str | None) -> None:
    assert np.isnan(cells.numbers(pa.array([cell], pa.string()))).all()


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["True", " false"]),
        pa.array(["1", "0"]),
        pa.array(["T", "F"]),
        pa.array([1, 0], pa.int8()),
        pa.array([1.0, 0.0]),
        pa.array([True, False]),
        pa.array([b"true", b"FALSE"]),
        pa.array(["yes", "no"]).dictionary_encode(),
        pa.chunked_array([["true"], ["false"]]),
    ],
)
def test_a_flag_is_read_however_it_is_written(column: pa.Array) -> None:
    assert cells.flags(column).tolist() == [True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["sell", "buy"]),
        pa.array(["SELL", "BUY"]),
        pa.array(["Sell ", " Buy"]),
        pa.array(["s", "B"]),
        pa.array([-1, 1]),
        pa.array(["sell", "buy"]).dictionary_encode(),
    ],
)
def test_a_side_is_read_however_it_is_written(column: pa.Array) -> None:
    assert cells.sells(column).tolist() == [True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["7", "8.0"]),
        pa.array([7, 8], pa.uint64()),
        pa.array([7.0, 8.0]),
        pa.array([Decimal(7), Decimal(8)]),
    ],
)
def test_an_id_is_a_whole_number_in_any_type(column: pa.Array) -> None:
    assert cells.whole_numbers(column).tolist() == [7, 8]


@pytest.mark.parametrize(
    ("read", "column", "row", "says"),
    [
        (cells.numbers, pa.array(["1", "dear"]), 1, "expected a number such as 0.25, got 'dear'"),
        (cells.numbers, pa.array(["1", "100,5"]), 1, "expected a number such as 0.25, got '100,5'"),
        (cells.numbers, pa.array([[1.0]]), 0, "expected a number such as 0.25, got '[1.0]'"),
        (cells.numbers, pa.array([True]), 0, "expected a number such as 0.25, got True"),
        (cells.whole_numbers, pa.array(["1", "x7"]), 1, "expected a whole number from 0, got 'x7'"),
        (cells.whole_numbers, pa.array(["1", None]), 1, "expected a whole number from 0, got nothing"),
        (cells.whole_numbers, pa.array([1.0, 1.5]), 1, "expected a whole number from 0, got 1.5"),
        (cells.whole_numbers, pa.array([1, -5]), 1, "expected a whole number from 0, got -5"),
        (
            cells.whole_numbers,
            pa.array([2**64 - 1], pa.uint64()),
            0,
            f"expected a whole number from 0, got {2**64 - 1}",
        ),
        (cells.flags, pa.array(["true", "perhaps"]), 1, "expected true or false, got 'perhaps'"),
        (cells.flags, pa.array([True, None]), 1, "expected true or false, got nothing"),
        (cells.flags, pa.array([0, 2]), 1, "expected true or false, got '2'"),
        (cells.sells, pa.array(["buy", "long"]), 1, "expected buy or sell, got 'long'"),
        (cells.sells, pa.array(["buy", ""]), 1, "expected buy or sell, got nothing"),
        (cells.sells, pa.array([b"\xff"]), 0, "expected text in UTF-8, got \"b'\\\\xff'\""),
        (
            cells.times,
            pa.array(["1735689600", "yesterday"]),
            1,
            "expected a time such as 2024-08-09T00:00:00.5Z or 1723161600500, got 'yesterday'",
        ),
        (
            cells.times,
            pa.array(["2025-01-01T00:00:00Z", "2025-13-01T00:00:00"]),
            1,
            "expected a time such as",
        ),
        (cells.times, pa.array(["00:00:01.5"]), 0, "expected a time such as"),
    ],
)
def test_a_cell_that_cannot_be_meant_is_named_with_its_row(
    read, column: pa.Array, row: int, says: str
) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CellError) as refused:
        read(column)
    assert (refused.value.row, str(refused.value)[: len(says)]) == (row, says)
