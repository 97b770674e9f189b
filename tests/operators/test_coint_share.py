"""The share of tests passed: by hand, against a plain count, and by batches, pickles and tests done again."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.coint_share import PASSED_PVALUE, STATIONARY_SHARE, TESTS, CointShares
from operators.columns import Flags, Floats, Longs


def share_by_hand(pvalues: list[float]) -> tuple[list[float], list[bool]]:
    begun = [p for k, p in enumerate(pvalues) if not np.isnan(pvalues[: k + 1]).all()]
    before = len(pvalues) - len(begun)
    shares = [np.nan] * before + [
        sum(p < PASSED_PVALUE for p in begun[k + 1 - TESTS : k + 1]) / TESTS if k + 1 >= TESTS else np.nan
        for k in range(len(begun))
    ]
    return shares, [share >= STATIONARY_SHARE for share in shares]


def broken_by_hand(pvalues: list[float]) -> list[float]:
    _, stationary = share_by_hand(pvalues)
    begun = [not np.isnan(pvalues[: k + 1]).all() for k in range(len(pvalues))]
    failed = [begun[k] and not p < PASSED_PVALUE for k, p in enumerate(pvalues)]
    return [
        float(next((back for back in range(k + 1) if not failed[k - back]), k + 1))
        if any(stationary[: k + 1])
        else np.nan
        for k in range(len(pvalues))
    ]


def update(
    shares: CointShares, pvalues: list[float], pair: int = 0, first: int = 0
) -> tuple[Floats, Flags, Floats]:
    return shares.update(
        np.full(len(pvalues), pair), np.arange(first, first + len(pvalues)), np.array(pvalues, np.float64)
    )


def test_twenty_tests_make_a_share() -> None:
    share, stationary, _ = update(CointShares(1), [0.01] * 10 + [0.05] * 10 + [0.2])
    assert np.isnan(share[:19]).all() and list(share[19:]) == [0.5, 0.45]
    assert list(stationary[19:]) == [True, False] and not stationary[:19].any()


def test_windows_that_are_not_yet_full_are_no_tests_but_undefined_tests_are_not_passed() -> None:
    share, _, broken = update(CointShares(1), [np.nan] * 30 + [0.01] * 12 + [np.nan] * 8 + [np.nan])
    assert np.isnan(share[:49]).all() and list(share[49:]) == [0.6, 0.55]
    assert np.isnan(broken[:49]).all() and list(broken[49:]) == [8.0, 9.0]


def test_broken_counts_the_tests_in_a_row_that_were_not_passed_since_the_pair_was_stationary() -> None:
    *_, broken = update(CointShares(1), [0.01] * 20 + [0.5, 0.05, np.nan, 0.049] + [0.5] * 30 + [0.01, 0.5])
    assert list(broken[19:24]) == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert list(broken[24:54]) == [float(n) for n in range(1, 31)]  # long after it ceased to be stationary
    assert list(broken[54:]) == [0.0, 1.0]


def test_a_pair_that_was_never_stationary_is_not_broken() -> None:
    *_, broken = update(CointShares(1), [0.01] * 9 + [0.5] * 60)
    assert np.isnan(broken).all()


# against a count, and properties

PVALUES = st.lists(st.sampled_from([0.001, 0.049, 0.05, 0.9, np.nan]), max_size=80)


@given(pvalues=PVALUES)
def test_the_share_equals_a_count_over_the_last_twenty(pvalues: list[float]) -> None:
    share, stationary, broken = update(CointShares(1), pvalues)
    expected, expected_stationary = share_by_hand(pvalues)
    assert np.array_equal(share, expected, equal_nan=True) and list(stationary) == expected_stationary
    assert np.array_equal(broken, broken_by_hand(pvalues), equal_nan=True)


@given(pvalues=PVALUES, cut=st.integers(0, 80), other=PVALUES)
def test_batches_pickles_and_other_pairs_change_nothing(
    pvalues: list[float], cut: int, other: list[float]
) -> None:
    whole = update(CointShares(1), pvalues)
    shares = CointShares(3)
    first = update(shares, pvalues[:cut], pair=2)
    update(shares, other, pair=1)
    resumed = pickle.loads(pickle.dumps(shares))
    second = update(resumed, pvalues[cut:], pair=2, first=min(cut, len(pvalues)))
    for before, after, expected in zip(first, second, whole, strict=True):
        assert np.array_equal(np.concatenate([before, after]), expected, equal_nan=expected.dtype != np.bool_)


@given(tests=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.01, 0.5])), max_size=150))
def test_pairs_mixed_in_a_batch_keep_their_own_share(tests: list[tuple[int, float]]) -> None:
    pair: Longs = np.array([k for k, _ in tests], np.int64)
    pvalue = np.array([p for _, p in tests], np.float64)
    number = np.array([np.count_nonzero(pair[:k] == pair[k]) for k in range(len(pair))], np.int64)
    share, _, broken = CointShares(3).update(pair, number, pvalue)
    for k in range(3):
        assert np.array_equal(share[pair == k], share_by_hand(list(pvalue[pair == k]))[0], equal_nan=True)
        assert np.array_equal(broken[pair == k], broken_by_hand(list(pvalue[pair == k])), equal_nan=True)


AGAIN = 6


@given(
    runs=st.lists(
        st.tuples(st.integers(0, AGAIN), PVALUES.filter(lambda pvalues: len(pvalues) > 0)), max_size=6
    )
)
def test_a_test_done_again_takes_the_place_of_itself_and_of_all_after_it(
    runs: list[tuple[int, list[float]]],
) -> None:
    shares = CointShares(1, AGAIN)
    kept: list[float] = []
    for back, pvalues in runs:
        # whatever is tested again is tested up to where the tests had been
        redone = pvalues if len(pvalues) >= back else pvalues * back
        first = max(len(kept) - back, 0)
        kept[first:] = redone
        share, _, broken = update(shares, redone, first=first)
        assert np.array_equal(share, share_by_hand(kept)[0][first:], equal_nan=True)
        assert np.array_equal(broken, broken_by_hand(kept)[first:], equal_nan=True)
        shares = pickle.loads(pickle.dumps(shares))
