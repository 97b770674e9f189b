"""Exponentially weighted least squares: by hand, against statsmodels.WLS, and by its invariances."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from operators.columns import SECOND_US, Bars, Floats, Longs
from operators.ewls import rolling_ewls
from operators.hedge_ratio import rolling_ols
from operators.measures import Measurer, PairSpec

SEEDS = st.integers(0, 2**32 - 1)


def walks(seed: int, rows: int, sd: float = 1e-3, level: float = 11.0) -> Floats:
    rng = np.random.default_rng(seed)
    x = level + rng.normal(0, sd, rows).cumsum()
    return np.stack((0.7 * x + 0.1 * rng.normal(0, sd, rows).cumsum() + 3, x))


def fits(values: Floats, window: int, half_life: float, ends: Longs | None = None) -> Floats:
    """(4, ends) of the first leg on the second, at every column or at `ends`."""
    ends = np.arange(1, values.shape[1] + 1) if ends is None else ends
    zero = np.zeros(len(ends), np.int64)
    return np.stack(rolling_ewls(values, zero, zero + 1, ends, zero + window, np.full(len(ends), half_life)))


def reference(y: Floats, x: Floats, half_life: float) -> list[float]:
    """statsmodels about the newest row, where it keeps its digits."""
    weights = 0.5 ** (np.arange(len(y) - 1, -1, -1) / half_life)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = sm.WLS(y - y[-1], sm.add_constant(x - x[-1]), weights=weights).fit()
        return [fit.params[1], fit.params[0] + y[-1] - fit.params[1] * x[-1], fit.rsquared, fit.bse[1]]


# by hand


def test_three_rows_by_hand() -> None:
    # weights 1/4, 1/2, 1: means 16/7 and 10/7, Sxx 26/28, Sxy 36/28, Syy 13/7
    columns = fits(np.array([[0.0, 2.0, 3.0], [0.0, 1.0, 2.0]]), 3, 1)[:, -1]
    assert columns[:3] == pytest.approx(
        [36 / 26, 16 / 7 - 36 / 26 * 10 / 7, 36**2 / 28 / 26 / (13 / 7)], rel=1e-14
    )


def test_a_line_is_found_whatever_the_weights() -> None:
    x = np.random.default_rng(1).normal(size=60)
    slope, constant, r2, error = fits(np.stack((2.0 * x + 1.0, x)), 60, 7)[:, -1]
    assert (slope, constant, r2) == (
        pytest.approx(2.0),
        pytest.approx(1.0),
        pytest.approx(1.0),
    ) and error < 1e-14


def test_a_row_that_is_one_half_life_old_counts_half() -> None:
    """With a half-life of 1, three rows count as 1, 2 and 4 copies of them do in plain least squares."""
    y, x = np.array([0.0, 2.5, 3.0]), np.array([0.0, 1.0, 2.5])
    slope, constant = np.polyfit(np.repeat(x, [1, 2, 4]), np.repeat(y, [1, 2, 4]), 1)
    assert fits(np.stack((y, x)), 3, 1)[:2, -1] == pytest.approx([slope, constant], rel=1e-12)


def test_the_newest_rows_decide_and_none_before_the_window() -> None:
    values = walks(3, 400)
    values[0, 300:] = values[0, 299] + 5.0 * (values[1, 300:] - values[1, 299])  # a new line
    short, long = (fits(values, 200, half_life, np.array([400]))[0, 0] for half_life in (5, 10_000))
    assert short == pytest.approx(5.0, abs=1e-3) and abs(long - 5.0) > 0.5
    spoilt = values.copy()
    spoilt[:, :200] = 1e9
    assert np.array_equal(
        fits(spoilt, 200, 10_000, np.array([400])), fits(values, 200, 10_000, np.array([400]))
    )


def test_the_row_is_null_where_that_of_least_squares_is() -> None:
    values = walks(4, 120)
    values[0, 40], values[1, 60], values[0, 80:110] = np.nan, np.inf, values[0, 79]
    for window in (1, 2, 3, 25):
        ends = np.arange(0, 123)
        tasks = np.zeros(123, np.int64), np.ones(123, np.int64), ends, np.full(123, window)
        ours, theirs = (
            np.stack(rolling_ewls(values, *tasks, np.full(123, 50))),
            np.stack(rolling_ols(values, *tasks)),
        )
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert (
        np.isfinite(theirs[:, 30]).all() and np.isnan(theirs[:, 45]).all() and np.isnan(theirs[:, 107]).all()
    )


def test_a_leg_that_moved_only_when_rows_weigh_nothing_any_more_has_no_variance() -> None:
    values = walks(5, 2_000)
    values[0, 100:] = values[0, 99]
    columns = fits(values, 2_000, 1, np.array([2_000]))
    assert np.isnan(columns).all() and np.isfinite(fits(values, 2_000, 500, np.array([2_000]))).all()


# against a reference


@pytest.mark.parametrize(
    ("rows", "window", "half_life"), [(200, 30, 5), (200, 30, 1), (400, 120, 300), (2_000, 1_800, 450)]
)
@pytest.mark.parametrize(("sd", "level"), [(1e-4, 11.0), (1e-2, 0.1), (5.0, 61_800.0)])
def test_every_window_equals_statsmodels(
    rows: int, window: int, half_life: float, sd: float, level: float
) -> None:
    values = walks(6, rows, sd, level)
    columns = fits(values, window, half_life)
    assert np.isnan(columns[:, : window - 1]).all()
    for end in range(window, rows + 1, 1 if window < 1_000 else 20):
        expected = reference(values[0, end - window : end], values[1, end - window : end], half_life)
        assert columns[:, end - 1] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_very_long_half_life_is_least_squares() -> None:
    values = walks(7, 300)
    ends = np.arange(60, 301)
    zero = np.zeros(len(ends), np.int64)
    assert fits(values, 60, 1e13, ends) == pytest.approx(
        np.stack(rolling_ols(values, zero, zero + 1, ends, zero + 60)), rel=1e-9
    )


# properties


@given(
    seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-100.0, 100.0), half_life=st.integers(1, 200)
)
def test_scale_and_shift_of_y_pass_through(seed: int, scale: float, shift: float, half_life: int) -> None:
    values = walks(seed, 80, sd=0.01)
    slope, constant, r2, _ = fits(values, 40, half_life)
    moved = values.copy()
    moved[0] = scale * values[0] + shift
    moved_slope, moved_constant, moved_r2, _ = fits(moved, 40, half_life)
    assert moved_slope[39:] == pytest.approx(scale * slope[39:], rel=1e-6, abs=1e-8)
    assert moved_constant[39:] == pytest.approx(scale * constant[39:] + shift, rel=1e-6, abs=1e-5)
    assert moved_r2[39:] == pytest.approx(r2[39:], rel=1e-6, abs=1e-8)


@given(seed=SEEDS)
def test_tasks_with_half_lives_and_windows_of_their_own_in_any_order_are_each_their_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = 5 + np.cumsum(rng.normal(0, 1e-3, (4, 100)), axis=1)
    y, x, window = rng.integers(0, 4, 30), rng.integers(0, 4, 30), rng.integers(1, 120, 30)  # some do not fit
    end, half_life = rng.integers(2, 101, 30), rng.choice([1, 7, 50], 30)
    tasks = y, x, end, window, half_life
    together = np.stack(rolling_ewls(values, *tasks))
    alone = [np.stack(rolling_ewls(values, *(column[k : k + 1] for column in tasks))) for k in range(30)]
    assert np.array_equal(together, np.concatenate(alone, axis=1), equal_nan=True)


def test_each_pair_is_measured_with_its_own_half_life() -> None:
    n, values = 120, walks(8, 120)
    symbol, row = np.tile(np.arange(2, dtype=np.int32), n), np.repeat(np.arange(n), 2)
    close, ones = np.exp(values - 10)[symbol, row], np.ones(2 * n, np.int64)
    bars = Bars(
        symbol,
        ones * SECOND_US,
        row * SECOND_US,
        close,
        close,
        close,
        close,
        close,
        close,
        ones,
        close,
        ones > 0,
        row[:2],
    )
    pair = PairSpec(0, 1, True, ("ewls", "ols"), 60, 30, 20, True, 60, 1_000, "aic", 10.0, 1.0)
    pairs = [replace(pair, options={"half_life": 5}), pair, replace(pair, options={"half_life": 5_000})]
    signals = Measurer(2, SECOND_US, pairs).update(bars).signals
    for number, half_life in enumerate((5, 300, 5_000)):
        found = signals.hedge_ratio[(signals.pair == number) & (signals.method == 0)]
        expected = fits(np.log(np.exp(values - 10)), 60, half_life)[0]
        assert np.array_equal(found, expected, equal_nan=True)
