from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.replay.sequence import IdSequence
from operators.columns import NEVER
from tests.flows.replay.recorded import SECOND_US, START_US, SYMBOLS, by_time, of, walk

QUIET_US = 3 * SECOND_US


def sequence(contiguous: bool = True) -> IdSequence:
    n = len(SYMBOLS)
    return IdSequence(SYMBOLS, np.full(n, QUIET_US), np.full(n, contiguous))


def gaps(rows: object) -> list[tuple[int, int, int, int]]:
    columns = rows.columns  # type: ignore[attr-defined]
    return list(
        zip(
            columns["symbol"].codes.tolist(),
            *(columns[name].tolist() for name in ("ts", "first_id", "last_id")),
            strict=True,
        )
    )


def test_a_jump_of_contiguous_ids_is_a_hole_at_once() -> None:
    ids = [5, 6, 9, 10, 12]
    trades, ledger = sequence().take(of([0] * 5, ids, [START_US + k for k in range(5)]))
    assert trades.after_hole.tolist() == [True, False, True, False, True]
    assert gaps(ledger) == [(0, START_US + 1, 7, 8), (0, START_US + 3, 11, 11)]
    assert ledger.columns["trades"].tolist() == [2, 1]  # type: ignore[union-attr]


def test_a_jump_of_ids_that_only_grow_is_none() -> None:
    trades, ledger = sequence(contiguous=False).take(of([0] * 3, [5, 9, 12], [START_US] * 3))
    assert trades.after_hole.tolist() == [True, False, False] and len(ledger) == 0


def test_a_hole_between_two_batches_is_found() -> None:
    taker = sequence()
    taker.take(of([0, 1], [5, 8], [START_US, START_US]))
    trades, ledger = taker.take(of([1, 0], [9, 7], [START_US + 1, START_US + 2]))
    assert trades.after_hole.tolist() == [False, True] and gaps(ledger) == [(0, START_US, 6, 6)]


def test_a_symbol_is_as_far_as_its_newest_trade_or_as_all_less_the_allowance() -> None:
    taker = sequence()
    assert taker.take(walk(1, 1))[0].watermark.tolist() == [NEVER, START_US]
    assert taker.take(walk(20))[0].watermark.tolist() == [
        START_US + 19 * SECOND_US,
        START_US + 16 * SECOND_US,
    ]
    taker.pass_time(START_US + 60 * SECOND_US)
    assert taker.watermark().tolist() == [START_US + 57 * SECOND_US] * 2


def test_trades_that_are_not_in_order_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="come in order"):
        sequence().take(of([0, 0], [2, 1], [START_US, START_US]))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), max_size=80),
    st.lists(st.integers(0, 80), max_size=6),
)
def test_holes_do_not_depend_on_the_batches(drawn: list[tuple[int, int]], cuts: list[int]) -> None:
    ids = [sum(step for s, step in drawn[: k + 1] if s == symbol) for k, (symbol, _) in enumerate(drawn)]
    trades = of([s for s, _ in drawn], ids, [START_US + k * SECOND_US for k in range(len(drawn))])
    whole, ledger = sequence().take(trades)
    taker, flags, holes = sequence(), [], []
    bounds = [0, *sorted(min(k, len(drawn)) for k in cuts), len(drawn)]
    for a, b in pairwise(bounds):
        part, rows = taker.take(trades.rows(slice(a, b)))
        flags += part.after_hole.tolist()
        holes += gaps(rows)
        assert (part.watermark <= whole.watermark).all()
    assert flags == whole.after_hole.tolist() and sorted(holes) == sorted(gaps(ledger))
    steps = [step for k, (s, step) in enumerate(drawn) if (s in [other for other, _ in drawn[:k]])]
    assert taker.jumps == sum(step > 1 for step in steps) == len(holes)


@pytest.mark.parametrize(
    ("every", "told"),
    [
        (
            20,
            "jumps in the ids of 4.9 % of the trades: if this market's ids only grow, set source.ids: sparse",
        ),
        (
            1,
            "jumps in the ids of 99.9 % of the trades: if this market's ids only grow, set source.ids: "
            "sparse",
        ),
        (400, None),  # a few lost messages
    ],
)
def test_ids_that_jump_often_are_told_and_a_few_losses_are_not(every: int, told: str | None) -> None:
    k = np.arange(1_000)
    frames = of([0] * 1_000, (k + k // every).tolist(), (START_US + k).tolist())
    for contiguous in (True, False):
        taker = sequence(contiguous)
        taker.take(frames)
        assert taker.ids_that_jump() == (told if contiguous else None)


def test_a_handful_of_trades_gives_no_advice() -> None:
    taker = sequence()
    taker.take(by_time(of([0] * 5, [1, 3, 5, 7, 9], [START_US] * 5)))
    assert taker.ids_that_jump() is None
