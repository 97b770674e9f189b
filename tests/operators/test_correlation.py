"""Rolling correlation: by hand, against scipy on every window, and by its bounds and symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from operators.columns import Floats, Longs
from operators.correlation import rolling_correlation

BAD_TICK = 1e9
OF_RETURNS = pytest.mark.parametrize("of_returns", [True, False])


def correlations(values: Floats, window: int, of_returns: bool, ends: Longs | None = None) -> Floats:
    """Row 0 with row 1, at every column or at `ends`."""
    ends = np.arange(1, values.shape[1] + 1) if ends is None else ends
    first = np.zeros(len(ends), np.int64)
    return rolling_correlation(values, first, first + 1, ends, first + window, of_returns)


def two_pass(values: Floats, window: int, of_returns: bool, end: int) -> float:
    """The textbook formula in extended precision."""
    wide = values[:, :end].astype(np.longdouble)
    wide = (np.diff(wide, axis=1) if of_returns else wide)[:, -window:]
    a, b = wide - wide.mean(axis=1, keepdims=True)
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


def walks(seed: int, rows: int, sd: float = 1e-4, level: float = 11.0) -> Floats:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return np.stack([level + 0.7 * x + rng.normal(0, sd, rows), 8.0 + x])


# by hand


def test_returns_that_move_together_and_against_each_other() -> None:
    assert correlations(np.array([[0.0, 1.0, 1.0, 2.0], [0.0, 2.0, 2.0, 4.0]]), 3, True)[-1] == pytest.approx(
        1.0, rel=1e-15
    )
    assert correlations(np.array([[0.0, 1.0, 1.0, 2.0], [4.0, 2.0, 2.0, 0.0]]), 3, True)[-1] == pytest.approx(
        -1.0, rel=1e-15
    )


def test_four_prices_by_hand() -> None:
    # Sxx = Syy = 5, Sxy = 2
    assert correlations(np.array([[1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 4.0, 3.0]]), 4, False)[
        -1
    ] == pytest.approx(0.4, rel=1e-15)


def test_n_returns_need_one_row_more_than_n_prices() -> None:
    values = walks(1, 60)
    assert list(np.isfinite(correlations(values, 20, True))) == [False] * 20 + [True] * 40
    assert list(np.isfinite(correlations(values, 20, False))) == [False] * 19 + [True] * 41


def test_each_task_may_choose_returns_or_prices() -> None:
    values = walks(1, 60)
    both = rolling_correlation(
        values, *np.array([[0, 0], [1, 1], [50, 50], [20, 20]]), np.array([True, False])
    )
    assert list(both) == [correlations(values, 20, True)[49], correlations(values, 20, False)[49]]


@OF_RETURNS
def test_a_window_that_is_not_there_is_undefined(of_returns: bool) -> None:
    values = walks(2, 60)
    for end, window in ((19, 20), (61, 20), (0, 0), (5, 1), (5, -3)):
        assert np.isnan(correlations(values, window, of_returns, np.array([end]))).all()


@OF_RETURNS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_makes_its_windows_undefined_and_no_others(
    bad: float, of_returns: bool
) -> None:
    values = walks(3, 200)
    values[1, 90] = bad
    column = correlations(values, 30, of_returns)
    last = 90 + 30 + of_returns
    assert (
        np.isnan(column[90:last]).all()
        and np.isfinite(column[30:90]).all()
        and np.isfinite(column[last:]).all()
    )


@OF_RETURNS
@pytest.mark.parametrize("flat", [0, 1])
def test_a_flat_leg_is_undefined_only_while_its_window_is_flat(flat: int, of_returns: bool) -> None:
    values = walks(4, 300)
    values[flat, 100:160] = np.log(61_800.1)
    column = correlations(values, 40, of_returns)
    first = 139 + of_returns
    assert (
        np.isnan(column[first:160]).all()
        and np.isfinite(column[40:first]).all()
        and np.isfinite(column[160:]).all()
    )


def test_a_price_that_rises_by_the_same_step_has_no_variance_of_returns() -> None:
    values = walks(5, 100)
    values[0] = np.log(61_800.1) + 0.001 * np.arange(100)  # the steps differ by rounding alone
    assert np.isnan(correlations(values, 40, True)).all()


# against a reference


@OF_RETURNS
@pytest.mark.parametrize(("sd", "level"), [(1e-5, 11.0), (1e-4, 11.0), (10.0, 1e5)])
def test_every_window_equals_scipy(sd: float, level: float, of_returns: bool) -> None:
    values = walks(6, 400, sd, level)
    column = correlations(values, 60, of_returns)
    of = np.diff(values, axis=1, prepend=np.nan) if of_returns else values
    for end in range(61, 401):
        assert column[end - 1] == pytest.approx(stats.pearsonr(*of[:, end - 60 : end]).statistic, abs=1e-9)


@OF_RETURNS
@pytest.mark.parametrize("leg", [0, 1])
def test_a_bad_tick_counts_while_it_is_in_the_window_and_is_forgotten_after(
    leg: int, of_returns: bool
) -> None:
    values = walks(7, 400)
    spoilt = values.copy()
    spoilt[leg, 200] = BAD_TICK
    clean, column = correlations(values, 60, of_returns), correlations(spoilt, 60, of_returns)
    assert np.array_equal(column[261:], clean[261:])
    for end in range(201, 261):
        assert column[end - 1] == pytest.approx(two_pass(spoilt, 60, of_returns, end), abs=1e-9)


def drifts_less_than(rows: int, bound: float) -> bool:
    values = walks(8, rows, 1e-5)
    worst = 0.0
    for of_returns in (True, False):
        column = correlations(values, 120, of_returns)
        checked = np.unique(
            np.concatenate([np.arange(rows - 50, rows + 1), np.linspace(121, rows, 50).astype(int)])
        )
        worst = max(
            worst,
            *(
                abs(column[end - 1] - two_pass(values[:, end - 121 : end], 120, of_returns, 121))
                for end in checked
            ),
        )
    return worst < bound


def test_a_hundred_thousand_windows_do_not_drift() -> None:
    assert drifts_less_than(100_000, 1e-10)


@pytest.mark.long
def test_a_million_windows_do_not_drift() -> None:
    assert drifts_less_than(1_000_000, 1e-10)


# properties

SEEDS = st.integers(0, 2**32 - 1)


@OF_RETURNS
@given(seed=SEEDS, window=st.integers(2, 40))
def test_correlation_stays_within_one_and_is_symmetric(seed: int, window: int, of_returns: bool) -> None:
    values = walks(seed, 60)
    column = correlations(values, window, of_returns)
    assert np.nanmax(np.abs(column)) <= 1
    swapped = correlations(np.ascontiguousarray(values[::-1]), window, of_returns)
    assert swapped == pytest.approx(column, rel=1e-12, nan_ok=True)


@OF_RETURNS
@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-100.0, 100.0))
def test_scale_and_shift_leave_it_alone(seed: int, scale: float, shift: float, of_returns: bool) -> None:
    values = walks(seed, 80, sd=0.01)
    moved = np.stack([scale * values[0] + shift, -scale * values[1]])
    column = correlations(values, 40, of_returns)
    assert correlations(moved, 40, of_returns) == pytest.approx(-column, abs=1e-7, nan_ok=True)


@OF_RETURNS
@given(seed=SEEDS, cut=st.integers(0, 120), begin=st.integers(0, 60))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int, of_returns: bool) -> None:
    values = walks(seed, 120)
    whole = correlations(values, 25, of_returns)
    ends = np.arange(1, 121)
    halves = [
        correlations(values, 25, of_returns, ends[:cut]),
        correlations(values, 25, of_returns, ends[cut:]),
    ]
    assert np.array_equal(whole, np.concatenate(halves), equal_nan=True)
    assert np.array_equal(whole[begin + 25 :], correlations(values[:, begin:], 25, of_returns)[25:])
