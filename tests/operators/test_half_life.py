"""Half-life: by hand, against statsmodels, and by its invariances."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from operators.columns import Floats
from operators.half_life import half_life


def returning(seed: int, rows: int, pull: float) -> Floats:
    steps = np.random.default_rng(seed).normal(size=rows)
    series = np.zeros(rows)
    for t in range(1, rows):
        series[t] = (1 - pull) * series[t - 1] + steps[t]
    return series


# by hand


def test_a_slope_of_minus_a_half_is_one_bar() -> None:
    # levels 2, 1, 1, 0 of mean 1 and steps −1, 0, −1, 0 of mean −½: Sxx = 2, Sxy = −1
    assert half_life(np.array([2.0, 1.0, 1.0, 0.0, 0.0])) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(("pull", "bars"), [(0.5, 1.0), (0.1, 6.5788), (0.01, 68.97)])
def test_a_long_series_shows_the_half_life_it_was_made_with(pull: float, bars: float) -> None:
    assert half_life(returning(2, 200_000, pull)) == pytest.approx(bars, rel=0.05)


@pytest.mark.parametrize(
    "series",
    [
        [],
        [1.0, 2.0],
        np.full(50, 8.0),
        np.arange(50.0),
        np.exp(0.1 * np.arange(50)),
        [0.0, 1.0] * 20 + [0.3],
        [1.0, np.nan, 2.0, 0.5, 3.0],
    ],
    ids=["empty", "two", "constant", "straight", "explosive", "overshooting", "NaN"],
)
def test_a_series_that_does_not_return_has_no_half_life(series: list[float]) -> None:
    assert np.isnan(half_life(np.array(series, np.float64)))


# against a reference


def test_every_window_equals_statsmodels() -> None:
    series = returning(3, 400, 0.1)
    for end in range(60, 401):
        window = series[end - 60 : end]
        slope = sm.OLS(np.diff(window), sm.add_constant(window[:-1])).fit().params[1]
        expected = -np.log(2) / np.log1p(slope) if -1 < slope < 0 else np.nan
        assert half_life(window) == pytest.approx(expected, rel=1e-9, nan_ok=True)


# properties


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), shift=st.floats(-10.0, 10.0))
def test_scale_and_shift_do_not_matter(seed: int, scale: float, shift: float) -> None:
    series = returning(seed, 60, 0.3)
    assert half_life(-scale * (series + shift)) == pytest.approx(half_life(series), rel=1e-8, nan_ok=True)


@given(series=st.lists(st.floats(), max_size=30))
def test_any_numbers_give_a_positive_half_life_or_none(series: list[float]) -> None:
    assert not half_life(np.array(series, np.float64)) <= 0
