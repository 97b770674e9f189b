from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.replay.ids import ById
from flows.replay.packed import Packed, by_content, pack
from operators.columns import UNKNOWN
from tests.flows.replay.recorded import SECOND_US, START_US, of

HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US


def rows_of(times: dict[int, int]) -> Packed:
    """One trade each second with these ids; `times` shifts some of them, in µs."""
    return pack(
        of(
            [0] * len(times),
            list(times),
            [START_US + k * SECOND_US + off for k, off in enumerate(times.values())],
        )
    )


def checked(rows: Packed, cuts: list[int] | None = None) -> tuple[list[int], Counter[str]]:
    by_id = ById("AAAUSDT")
    rows = by_content(rows)
    parts = [part for part in np.split(rows, cuts or []) if len(part)]
    kept = [row for part in by_id.checked(iter(parts)) for row in part["id"].tolist()]
    return kept, +by_id.left_out


def steady(n: int = 40, **off: int) -> dict[int, int]:
    """Ids 1 … n, one second apart; arguments named `_id` shift the time of an id."""
    return dict.fromkeys(range(1, n + 1), 0) | {int(name[1:]): us for name, us in off.items()}


def test_trades_of_rising_ids_and_times_all_stay() -> None:
    assert checked(rows_of(steady())) == (list(range(1, 41)), Counter())


@pytest.mark.parametrize("pause_us", [30 * HOUR_US, 48 * HOUR_US, 400 * DAY_US])
@pytest.mark.parametrize("before", [1, 2, 100])
@pytest.mark.parametrize("after", [1, 2, 100])
def test_a_pause_is_never_wrong_however_long_and_however_few_trades_are_before_and_behind_it(
    pause_us: int, before: int, after: int
) -> None:
    rows = rows_of(
        dict.fromkeys(range(1, before + 1), 0)
        | dict.fromkeys(range(before + 1, before + after + 1), pause_us)
    )
    assert checked(rows) == (list(range(1, before + after + 1)), Counter())


@pytest.mark.parametrize(
    ("wrong", "us"),
    [(1, 26 * HOUR_US), (2, 2 * HOUR_US), (20, DAY_US), (20, -DAY_US), (39, 2 * HOUR_US), (40, -2 * HOUR_US)],
)
def test_a_time_that_contradicts_the_ids_is_left_out(wrong: int, us: int) -> None:
    kept, left_out = checked(rows_of(steady(**{f"_{wrong}": us})))
    assert kept == [i for i in range(1, 41) if i != wrong] and left_out == {"time": 1}


def test_four_wrong_times_in_a_row_are_found() -> None:
    kept, left_out = checked(rows_of(steady(**{f"_{i}": 5 * DAY_US for i in (17, 18, 19, 20)})))
    assert kept == [*range(1, 17), *range(21, 41)] and left_out == {"time": 4}


@pytest.mark.parametrize("back_us", [1_000, 900_000, 5 * SECOND_US])
def test_times_that_go_back_a_little_while_ids_rise_stay(back_us: int) -> None:
    assert checked(rows_of(steady(_20=-back_us))) == (list(range(1, 41)), Counter())


@pytest.mark.parametrize("wrong", [0, 9_223_372_036_854_775_807, 5_000_000])
def test_an_id_out_of_line_is_left_out(wrong: int) -> None:
    ids = [1_000 + k for k in range(40)]
    ids[20] = wrong
    kept, left_out = checked(pack(of([0] * 40, ids, [START_US + k * SECOND_US for k in range(40)])))
    assert kept == [i for i in ids if i != wrong] and left_out == {"order": 1}


def test_the_same_trade_counts_once_and_another_one_of_its_id_is_told() -> None:
    rows = rows_of(steady(10))
    other = rows[4:5].copy()
    other["price"] += 1
    kept, left_out = checked(np.concatenate((rows, rows[3:6], rows[3:4], other)))
    assert kept == list(range(1, 11)) and left_out == {"duplicate": 4, "conflict": 1}


def test_of_a_trade_with_its_side_and_without_the_one_with_stays() -> None:
    rows = rows_of(steady(10))
    sideless = rows.copy()
    sideless["is_buyer_maker"] = UNKNOWN
    by_id = ById("AAAUSDT")
    kept = np.concatenate(list(by_id.checked(iter([by_content(np.concatenate((sideless, rows)))]))))
    assert kept["is_buyer_maker"].tolist() == rows["is_buyer_maker"].tolist() and +by_id.left_out == {
        "duplicate": 10
    }


@pytest.mark.parametrize("second_begins", [1, 21, 0])
def test_ids_that_start_anew_are_refused(second_begins: int) -> None:
    """The next day has the same ids, half of them, or only ids below those of the day before."""
    first, second = (
        rows_of(dict.fromkeys(range(100, 140), 0)),
        rows_of(dict.fromkeys(range(99 + second_begins, 139 + second_begins), DAY_US)),
    )
    if not second_begins:
        second["id"] -= 60
    with pytest.raises(
        UserError,
        match=r"AAAUSDT: ids and times are in different orders \(id \d+ is of 2024-08-.*replay what is "
        r"before",
    ) as told:
        checked(np.concatenate((first, second)))
    assert "\n" not in str(told.value)


def test_ids_that_mean_nothing_are_refused() -> None:
    rng = np.random.default_rng(1)
    rows = pack(
        of(
            [0] * 500,
            rng.permutation(10_000)[:500].tolist(),
            [START_US + k * 60 * SECOND_US for k in range(500)],
        )
    )
    with pytest.raises(UserError, match="remove their column"):
        checked(rows)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from([0, 0, 0, 0, -1_000, 3_000_000, -HOUR_US * 2, DAY_US])),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_what_stays_does_not_depend_on_the_parts(drawn: list[tuple[int, int]], cuts: list[int]) -> None:
    rows = pack(
        of([0] * len(drawn), [i for i, _ in drawn], [START_US + i * SECOND_US + us for i, us in drawn])
    )
    ids = by_content(rows)["id"]
    cuts = sorted({k for k in cuts if 0 < k < len(ids) and ids[k - 1] != ids[k]})

    def outcome(cuts: list[int]) -> object:
        try:
            return checked(rows, cuts)
        except UserError as error:
            return str(error)[:60]

    assert outcome(cuts) == outcome([])
