"""Spread and z-score: by hand, against fresh two-pass computations on every window, and by their symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from operators.columns import Floats, Longs
from operators.hedge_ratio import rolling_ols
from operators.zscore import spread_zscore

BAD_TICK = 1e9


def zscores(values: Floats, window: int, slope: Floats | float, ends: Longs | None = None) -> Floats:
    """(5, ends): row 0 against row 1, at every column or at `ends`."""
    ends = np.arange(1, values.shape[1] + 1) if ends is None else ends
    first = np.zeros(len(ends), np.int64)
    slopes = np.ascontiguousarray(np.broadcast_to(np.asarray(slope, np.float64), len(ends)))
    return np.stack(spread_zscore(values, first, first + 1, ends, first + window, slopes))


def two_pass(y: Floats, x: Floats, slope: float) -> list[float]:
    """The textbook formula in extended precision."""
    spread = y.astype(np.longdouble) - np.longdouble(slope) * x.astype(np.longdouble)
    mean, std = spread.mean(), spread.std(ddof=1)
    deviation = spread[-1] - mean
    return [float(spread[-1]), float(mean), float(std), float(deviation), float(deviation / std)]


def walks(seed: int, rows: int, sd: float = 1e-4, level: float = 11.0) -> Floats:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return np.stack([level + 0.7 * x + rng.normal(0, sd, rows), 8.0 + x])


# by hand


def test_three_rows_by_hand() -> None:
    # spread with β = 2: 0, 2, 7; mean 3, variance ((−3)² + (−1)² + 4²) / 2 = 13
    columns = zscores(np.array([[2.0, 4.0, 11.0], [1.0, 1.0, 2.0]]), 3, 2.0, np.array([3]))[:, 0]
    assert columns == pytest.approx([7.0, 3.0, np.sqrt(13), 4.0, 4 / np.sqrt(13)], rel=1e-15)


def test_the_hedge_ratio_of_now_holds_for_the_whole_window() -> None:
    values = walks(1, 100)
    slope = np.linspace(0.5, 0.9, 100)
    columns = zscores(values, 40, slope)
    assert columns[:, 69] == pytest.approx(two_pass(values[0, 30:70], values[1, 30:70], slope[69]), rel=1e-9)


@pytest.mark.parametrize("window", [2, 3, 20, 300])
def test_a_lone_step_at_the_end_reaches_the_bound_of_z(window: int) -> None:
    values = np.stack([np.full(window, 11.0), np.full(window, 8.0)])
    values[0, -1] += 1e-3
    assert zscores(values, window, 0.5)[4, -1] == pytest.approx((window - 1) / np.sqrt(window), rel=1e-9)


def test_an_undefined_hedge_ratio_or_window_leaves_all_five_undefined() -> None:
    values = walks(2, 60)
    assert np.isnan(zscores(values, 20, np.nan)).all()
    assert np.isnan(zscores(values, 20, np.inf)).all()
    for end, window in ((19, 20), (61, 20), (0, 0), (5, 1), (5, -3)):
        assert np.isnan(zscores(values, window, 0.7, np.array([end]))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_makes_its_windows_undefined_and_no_others(bad: float) -> None:
    values = walks(3, 200)
    values[0, 90] = bad
    columns = zscores(values, 30, 0.7)
    assert (
        np.isnan(columns[:, 90:120]).all()
        and np.isfinite(columns[:, 29:90]).all()
        and np.isfinite(columns[:, 120:]).all()
    )


@pytest.mark.parametrize("f", [np.log, np.asarray])
def test_a_flat_spread_has_a_mean_but_neither_std_nor_zscore(f: np.ufunc) -> None:
    values = f(np.full((2, 300), [[61_800.1], [2_605.37]]))
    values[:, 200:] = f(np.exp(np.log([[61_800.1], [2_605.37]]) + walks(4, 100) - walks(4, 100)[:, :1]))
    columns = zscores(values, 50, 0.7)
    assert np.isnan(columns[[2, 4], :200]).all() and np.isfinite(columns[[0, 1, 3], 49:]).all()
    assert np.isfinite(columns[:, 201:]).all()  # column 200 still stands where the flat ones do


@pytest.mark.parametrize("f", [np.log, np.asarray])
@pytest.mark.parametrize("seed", range(20))
def test_legs_that_move_as_one_have_no_zscore_whatever_their_rounding(f: np.ufunc, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(2_600 * np.exp(np.cumsum(rng.normal(0, 1e-3, 2_000))), 2)
    values = f(np.stack([rng.uniform(0.1, 30) * x, x]))
    ends = np.arange(400, 2_001, 50)
    first = np.zeros(len(ends), np.int64)
    slope, *_ = rolling_ols(values, first, first + 1, ends, first + 400)
    columns = zscores(values, 100, slope, ends)
    assert np.isnan(columns[[2, 4]]).all() and np.isfinite(columns[[0, 1, 3]]).all()


def test_a_spread_far_above_rounding_has_a_zscore() -> None:
    values = walks(5, 200)
    # a ten-thousandth of a tick of BTC
    values[0] = 0.7 * values[1] + np.random.default_rng(5).normal(0, 1e-11, 200)
    assert np.isfinite(zscores(values, 100, 0.7)[:, 99:]).all()


# against a reference


@pytest.mark.parametrize(("sd", "level"), [(1e-5, 11.0), (1e-4, 11.0), (10.0, 1e5)])
@pytest.mark.parametrize("window", [20, 300])
def test_every_window_equals_two_passes(window: int, sd: float, level: float) -> None:
    values = walks(6, 1_000, sd, level)
    columns = zscores(values, window, 0.69)
    for end in range(window, 1_001):
        expected = two_pass(values[0, end - window : end], values[1, end - window : end], 0.69)
        assert columns[:, end - 1] == pytest.approx(expected, rel=1e-9, abs=1e-14 * level)


def test_every_window_equals_scipy() -> None:
    values = walks(7, 500)
    columns = zscores(values, 60, 0.69)
    spread = values[0] - 0.69 * values[1]
    for end in range(60, 501):
        assert columns[4, end - 1] == pytest.approx(
            stats.zscore(spread[end - 60 : end], ddof=1)[-1], abs=1e-9
        )


@pytest.mark.parametrize("leg", [0, 1])
def test_a_bad_tick_counts_while_it_is_in_the_window_and_is_forgotten_after(leg: int) -> None:
    values = walks(8, 400)
    spoilt = values.copy()
    spoilt[leg, 200] = BAD_TICK
    clean, columns = zscores(values, 60, 0.7), zscores(spoilt, 60, 0.7)
    assert np.array_equal(columns[:, 260:], clean[:, 260:])
    for end in range(201, 261):
        expected = two_pass(spoilt[0, end - 60 : end], spoilt[1, end - 60 : end], 0.7)
        assert columns[1:, end - 1] == pytest.approx(expected[1:], rel=1e-9)


def drifts_less_than(rows: int, bound: float) -> bool:
    values = walks(9, rows, 1e-5)
    window = 300
    columns = zscores(values, window, 0.69)
    checked = np.unique(
        np.concatenate([np.arange(rows - 50, rows + 1), np.linspace(window, rows, 50).astype(int)])
    )
    worst = 0.0
    for end in checked:
        expected = two_pass(values[0, end - window : end], values[1, end - window : end], 0.69)
        worst = max(worst, abs(columns[2, end - 1] / expected[2] - 1), abs(columns[4, end - 1] - expected[4]))
    return worst < bound


def test_a_hundred_thousand_windows_do_not_drift() -> None:
    assert drifts_less_than(100_000, 1e-9)


@pytest.mark.long
def test_a_million_windows_do_not_drift() -> None:
    assert drifts_less_than(1_000_000, 1e-9)


# properties

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-100.0, 100.0))
def test_scale_and_shift_leave_z_alone(seed: int, scale: float, shift: float) -> None:
    values = walks(seed, 80, sd=0.01)
    z = zscores(values, 40, 0.7)[4, 39:]
    moved = np.stack([scale * values[0] + shift, scale * values[1] - shift])
    assert zscores(moved, 40, 0.7)[4, 39:] == pytest.approx(z, abs=1e-7)


@given(seed=SEEDS, slope=st.floats(-5.0, 5.0), window=st.integers(2, 40))
def test_z_stays_within_its_bound(seed: int, slope: float, window: int) -> None:
    z = zscores(walks(seed, 60), window, slope)[4, window - 1 :]
    assert np.nanmax(np.abs(z)) <= (window - 1) / np.sqrt(window) * (1 + 1e-9)


@given(seed=SEEDS)
def test_the_mirrored_spread_has_the_opposite_z(seed: int) -> None:
    values = walks(seed, 60)
    columns, mirrored = zscores(values, 30, 0.7), zscores(-values, 30, 0.7)
    assert np.array_equal(columns[[0, 1, 3, 4]], -mirrored[[0, 1, 3, 4]], equal_nan=True)
    assert np.array_equal(columns[2], mirrored[2], equal_nan=True)


@given(seed=SEEDS, cut=st.integers(0, 120), begin=st.integers(0, 60))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int) -> None:
    values = walks(seed, 120)
    whole = zscores(values, 25, 0.7)
    ends = np.arange(1, 121)
    halves = np.concatenate(
        [zscores(values, 25, 0.7, ends[:cut]), zscores(values, 25, 0.7, ends[cut:])], axis=1
    )
    assert np.array_equal(whole, halves, equal_nan=True)
    assert np.array_equal(whole[:, begin + 24 :], zscores(values[:, begin:], 25, 0.7)[:, 24:])
