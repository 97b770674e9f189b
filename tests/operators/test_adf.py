"""ADF test: by hand, against statsmodels on walks, returning series and windows, and where it is undefined."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import adfuller

from operators.adf import adf
from operators.columns import Floats
from tests.answers import kept

Lags = int | str


def walk(seed: int, rows: int, pull: float = 0.0, echo: float = 0.0) -> Floats:
    steps = np.random.default_rng(seed).normal(size=rows)
    series = np.zeros(rows)
    for t in range(1, rows):
        series[t] = (1 - pull) * series[t - 1] + steps[t] + (echo * steps[t - 5] if t >= 5 else 0.0)
    return series


@kept
def reference(series: Floats, lags: Lags) -> tuple[float, float, int]:
    fixed = isinstance(lags, int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        centred = series - series.mean()  # far from 0 it loses digits
        stat, pvalue, used, *_ = adfuller(
            centred, lags if fixed else None, "c", None if fixed else lags, result_object=False
        )
    return stat, pvalue, used


def equals_the_reference(series: Floats, lags: Lags) -> bool:
    stat, pvalue, used = reference(series, lags)
    return adf(series, lags) == (
        pytest.approx(stat, rel=1e-9, abs=1e-9),
        pytest.approx(pvalue, rel=1e-8, abs=1e-8),
        used,
    )


# by hand


def test_a_step_that_undoes_the_level_has_the_slope_of_its_regression() -> None:
    # levels 0, 2, 1, 3, 0, 1 of mean 7/6 and steps 2, −1, 2, −3, 1, −2 of mean −1/6
    series = np.array([0.0, 2.0, 1.0, 3.0, 0.0, 1.0, -1.0])
    level, step = series[:-1] - 7 / 6, np.diff(series) + 1 / 6
    slope = (level @ step) / (level @ level)
    residual = step - slope * level
    stat, _, lags = adf(series, 0)
    assert (stat, lags) == (
        pytest.approx(slope / np.sqrt(residual @ residual / 4 / (level @ level)), rel=1e-12),
        0,
    )


def test_a_series_that_returns_at_once_is_stationary_and_a_walk_is_not() -> None:
    assert adf(walk(1, 300, pull=1.0))[1] < 1e-6
    assert adf(walk(1, 300))[1] > 0.05


@pytest.mark.parametrize(
    "series",
    [
        [],
        [1.0],
        [1.0, 2.0],
        np.full(50, 8.0),
        np.arange(50.0),
        [*range(30), np.nan, *range(20)],
        [*range(30), -np.inf, *range(20)],
    ],
    ids=["empty", "one", "two", "constant", "straight", "NaN", "infinite"],
)
def test_a_series_without_a_test_is_undefined_without_a_word(series: list[float]) -> None:
    for lags in ("aic", "bic", 0, 1):
        stat, pvalue, used = adf(np.array(series, np.float64), lags)
        assert np.isnan(stat) and np.isnan(pvalue) and used == -1


def test_more_lags_than_rows_can_bear_are_undefined() -> None:
    assert adf(walk(1, 40), 18)[2] == 18
    assert adf(walk(1, 40), 19)[2] == -1
    assert adf(walk(1, 40), -1)[2] == -1


# against a reference


@pytest.mark.parametrize("lags", ["aic", "bic", 0, 3])
def test_three_hundred_walks_equal_statsmodels(lags: Lags) -> None:
    rows = (25, 60, 120)
    assert all(equals_the_reference(walk(seed, rows[seed % 3]), lags) for seed in range(300))


@pytest.mark.parametrize("rows", [300, 1_000])
@pytest.mark.parametrize(("pull", "echo"), [(0.0, 0.0), (0.02, 0.0), (0.3, 0.6), (1.0, -0.8)])
def test_long_series_with_echoes_equal_statsmodels(rows: int, pull: float, echo: float) -> None:
    assert all(
        equals_the_reference(walk(seed, rows, pull, echo), lags)
        for seed in range(5)
        for lags in ("aic", "bic")
    )


@pytest.mark.long
def test_two_thousand_walks_equal_statsmodels() -> None:
    assert all(equals_the_reference(walk(seed, 200), "aic") for seed in range(2_000))


def test_every_window_of_a_spread_in_ticks_equals_statsmodels() -> None:
    spread = np.round(walk(3, 200, pull=0.1) * 2) / 100 + 4.5  # few distinct values, many repeats
    assert all(equals_the_reference(spread[end - 60 : end], "aic") for end in range(60, 201))


def test_an_integrated_walk_whose_steps_repeat_equals_statsmodels() -> None:
    assert all(equals_the_reference(np.cumsum(walk(seed, 300)), "aic") for seed in range(20))


def test_a_bad_tick_in_the_window_equals_statsmodels() -> None:
    # at the window's ends its columns are all but collinear: statsmodels' answer is noise, ours may be
    # undefined
    for at in (30, 50, 100):
        series = walk(4, 120)
        series[at] = 1e9
        assert all(equals_the_reference(series, lags) for lags in ("aic", 0, 2))


def test_a_level_far_from_zero_costs_no_digits() -> None:
    # exact in binary, so that the level can be taken off without a rounding
    series = walk(5, 300, pull=0.1) * 2.0**-14
    series = np.round(series * 2.0**30) / 2.0**30
    assert adf(series + 2.0**16) == pytest.approx(adf(series), rel=1e-9)


# properties


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), shift=st.floats(-10.0, 10.0))
def test_scale_and_shift_do_not_matter(seed: int, scale: float, shift: float) -> None:
    series = walk(seed, 80, 0.1)
    stat, pvalue, lags = adf(series)
    assert adf(scale * (series + shift)) == (
        pytest.approx(stat, abs=1e-8),
        pytest.approx(pvalue, abs=1e-8),
        lags,
    )


@given(seed=st.integers(0, 2**32 - 1), begin=st.integers(0, 100))
def test_only_the_rows_of_the_window_matter_bit_for_bit(seed: int, begin: int) -> None:
    series = walk(seed, 200)
    assert adf(series[begin : begin + 100]) == adf(series[begin : begin + 100].copy())
