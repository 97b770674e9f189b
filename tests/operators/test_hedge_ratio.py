"""Rolling hedge ratio: by hand, against fresh fits on every window, and by its symmetries."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from operators.columns import Floats, Longs
from operators.hedge_ratio import rolling_ols

BAD_TICK = 1e9


def fits(values: Floats, window: int, ends: Longs | None = None) -> tuple[Floats, Floats, Floats, Floats]:
    """Row 0 on row 1, at every column or at `ends`."""
    ends = np.arange(1, values.shape[1] + 1) if ends is None else ends
    first = np.zeros(len(ends), np.int64)
    return rolling_ols(values, first, first + 1, ends, first + window)


def two_pass(y: Floats, x: Floats) -> tuple[float, float, float, float]:
    """The textbook formulas in extended precision."""
    wide_y, wide_x = y.astype(np.longdouble), x.astype(np.longdouble)
    dy, dx = wide_y - wide_y.mean(), wide_x - wide_x.mean()
    slope = (dx @ dy) / (dx @ dx)
    residuals = dy - slope * dx
    error = np.sqrt(residuals @ residuals / (len(y) - 2) / (dx @ dx))
    return (
        float(slope),
        float(wide_y.mean() - slope * wide_x.mean()),
        float(slope * (dx @ dy) / (dy @ dy)),
        float(error),
    )


def walks(seed: int, rows: int, sd: float = 1e-4, level: float = 11.0) -> Floats:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return np.stack([level + 0.7 * x + rng.normal(0, sd, rows), 8.0 + x])


# by hand


def test_a_line_is_found() -> None:
    slope, constant, r2, error = fits(np.array([[1.0, 3.0, 5.0], [0.0, 1.0, 2.0]]), 3, np.array([3]))
    assert (slope[0], constant[0], r2[0], error[0]) == (2.0, 1.0, 1.0, 0.0)


def test_four_points_by_hand() -> None:
    # x̄ = ȳ = 2.5, Sxx = Syy = 5, Sxy = 2, Σe² = 5 − 0.4·2
    slope, constant, r2, error = fits(
        np.array([[1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 4.0, 3.0]]), 4, np.array([4])
    )
    assert (slope[0], constant[0], r2[0], error[0]) == pytest.approx(
        (0.4, 1.5, 0.16, np.sqrt(4.2 / 2 / 5)), rel=1e-15
    )


def test_a_window_that_begins_before_the_first_column_or_ends_after_the_last_is_undefined() -> None:
    values = walks(1, 50)
    for ends, window in (([19], 20), ([51], 20), ([0], 0), ([5], 1), ([5], 0), ([5], -3)):
        assert all(np.isnan(column[0]) for column in fits(values, window, np.array(ends)))


@pytest.mark.parametrize("flat", [0, 1])
def test_a_flat_leg_is_undefined_only_while_its_window_is_flat(flat: int) -> None:
    values = walks(2, 300)
    values[flat, 100:160] = np.log(61_800.1)
    columns = fits(values, 40)
    for column in columns:
        defined = np.isfinite(column)
        assert not defined[:39].any() and not defined[139:160].any()
        assert defined[39:139].all() and defined[160:].all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_makes_its_windows_undefined_and_no_others(bad: float) -> None:
    values = walks(3, 200)
    values[1, 90] = bad
    for column in fits(values, 30):
        assert (
            np.isnan(column[90:120]).all()
            and np.isfinite(column[29:90]).all()
            and np.isfinite(column[120:]).all()
        )


def test_no_task_is_no_result() -> None:
    assert all(len(column) == 0 for column in fits(walks(1, 30), 20, np.array([], np.int64)))


# against a reference


@pytest.mark.parametrize("window", [20, 61, 300])
def test_every_window_equals_statsmodels(window: int) -> None:
    values = walks(4, 700)
    values[0, 400:430] += 1e-3  # a jump that reverts
    slope, constant, r2, error = fits(values, window)
    for end in range(window, values.shape[1] + 1):
        y, x = values[:, end - window : end]
        # on levels the pseudo-inverse of statsmodels loses five digits to the condition number
        level, centre = y.mean(), x.mean()
        fit = sm.OLS(y - level, sm.add_constant(x - centre)).fit()
        assert slope[end - 1] == pytest.approx(fit.params[1], rel=1e-9)
        assert constant[end - 1] == pytest.approx(level + fit.params[0] - fit.params[1] * centre, rel=1e-9)
        assert r2[end - 1] == pytest.approx(fit.rsquared, rel=1e-9, abs=1e-14)
        assert error[end - 1] == pytest.approx(fit.bse[1], rel=1e-9)


@pytest.mark.parametrize(("sd", "level"), [(1e-5, 11.0), (1e-4, 11.0), (10.0, 1e5)])
def test_every_window_equals_two_passes_at_small_spreads_and_high_levels(sd: float, level: float) -> None:
    values = walks(5, 1_200, sd, level)
    columns = fits(values, 300)
    for end in range(300, 1_201, 7):
        expected = two_pass(values[0, end - 300 : end], values[1, end - 300 : end])
        assert [column[end - 1] for column in columns] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("leg", [0, 1])
def test_a_bad_tick_counts_while_it_is_in_the_window_and_is_forgotten_after(leg: int) -> None:
    values = walks(6, 600)
    spoilt = values.copy()
    spoilt[leg, 200] = BAD_TICK
    clean, columns = fits(values, 60), fits(spoilt, 60)
    for column, clean_column in zip(columns, clean, strict=True):
        assert np.array_equal(column[260:], clean_column[260:])
    for end in range(201, 261):
        expected = two_pass(spoilt[0, end - 60 : end], spoilt[1, end - 60 : end])
        assert [column[end - 1] for column in columns] == pytest.approx(expected, rel=1e-9)


def drifts_less_than(rows: int, bound: float) -> bool:
    values = walks(7, rows, 1e-5)
    window = 600
    columns = fits(values, window)
    checked = np.unique(
        np.concatenate([np.arange(rows - 50, rows + 1), np.linspace(window, rows, 50).astype(int)])
    )
    worst = 0.0
    for end in checked:
        expected = two_pass(values[0, end - window : end], values[1, end - window : end])
        worst = max(
            worst,
            *(abs(column[end - 1] / value - 1) for column, value in zip(columns, expected, strict=True)),
        )
    return worst < bound


def test_a_hundred_thousand_windows_do_not_drift() -> None:
    assert drifts_less_than(100_000, 1e-10)


@pytest.mark.long
def test_a_million_windows_do_not_drift() -> None:
    assert drifts_less_than(1_000_000, 1e-10)


# properties

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-100.0, 100.0))
def test_scale_and_shift_of_y_pass_through(seed: int, scale: float, shift: float) -> None:
    values = walks(seed, 80, sd=0.01)
    slope, constant, r2, _ = fits(values, 40)
    moved = values.copy()
    moved[0] = scale * values[0] + shift
    moved_slope, moved_constant, moved_r2, _ = fits(moved, 40)
    assert moved_slope[39:] == pytest.approx(scale * slope[39:], rel=1e-6, abs=1e-8)
    assert moved_constant[39:] == pytest.approx(scale * constant[39:] + shift, rel=1e-6, abs=1e-6)
    assert moved_r2[39:] == pytest.approx(r2[39:], rel=1e-6, abs=1e-8)


@given(seed=SEEDS)
def test_the_slopes_of_swapped_legs_multiply_to_r2(seed: int) -> None:
    values = walks(seed, 60)
    slope, _, r2, _ = fits(values, 30)
    swapped, _, swapped_r2, _ = fits(np.ascontiguousarray(values[::-1]), 30)
    assert slope[29:] * swapped[29:] == pytest.approx(r2[29:], rel=1e-9)
    assert swapped_r2[29:] == pytest.approx(r2[29:], rel=1e-9)


@given(seed=SEEDS, cut=st.integers(0, 120), begin=st.integers(0, 60))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int) -> None:
    values = walks(seed, 120)
    window = 25
    whole = np.stack(fits(values, window))
    ends = np.arange(1, 121)
    halves = np.concatenate(
        [np.stack(fits(values, window, ends[:cut])), np.stack(fits(values, window, ends[cut:]))], axis=1
    )
    assert np.array_equal(whole, halves, equal_nan=True)
    later = np.stack(fits(np.ascontiguousarray(values[:, begin:]), window))
    assert np.array_equal(whole[:, begin + window - 1 :], later[:, window - 1 :])
    # a view is as good as a copy
    assert np.array_equal(later, np.stack(fits(values[:, begin:], window)), equal_nan=True)


@given(seed=SEEDS)
def test_tasks_of_many_pairs_are_each_their_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = 5 + np.cumsum(rng.normal(0, 1e-3, (5, 100)), axis=1)
    y, x, window = rng.integers(0, 5, 20), rng.integers(0, 5, 20), rng.integers(2, 60, 20)
    end = rng.integers(60, 101, 20)
    together = np.stack(rolling_ols(values, y, x, end, window))
    alone = [
        np.stack(rolling_ols(values, y[k : k + 1], x[k : k + 1], end[k : k + 1], window[k : k + 1]))
        for k in range(20)
    ]
    # a window of 2 rows has no standard error
    assert np.array_equal(together, np.concatenate(alone, axis=1), equal_nan=True)
