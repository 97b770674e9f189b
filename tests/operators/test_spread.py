"""Spread series: by hand, where it is flat, and what the tests make of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.adf import adf
from operators.spread import spread_series


def test_three_rows_by_hand() -> None:
    assert spread_series(np.array([5.0, 6.0, 9.0]), np.array([1.0, 2.0, 2.0]), 0.5).tolist() == [
        0.0,
        0.5,
        3.5,
    ]


def test_undefined_inputs_give_undefined_rows() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=50))
    assert np.isnan(spread_series(walk, walk[::-1], np.nan)).all()
    assert np.isnan(spread_series(np.where(np.arange(50) == 3, np.nan, walk), walk[::-1], 0.5)).all()
    assert np.isnan(spread_series(walk[:1], walk[:1], 0.5)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_rounding_of_legs_that_move_as_one_is_not_called_stationary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(2_600 * np.exp(np.cumsum(rng.normal(0, 1e-3, 300))), 2)
    slope = rng.uniform(0.5, 2.0)
    y = np.log(x**slope)
    assert adf(y - slope * np.log(x))[1] < 0.05  # what it looks like without the guard
    assert adf(spread_series(y, np.log(x), slope))[2] == -1


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(-10.0, 10.0))
def test_levels_do_not_matter(seed: int, level: float) -> None:
    y, x = np.cumsum(np.random.default_rng(seed).normal(size=(2, 60)), axis=1)
    assert spread_series(y + level, x - level, 0.7) == pytest.approx(spread_series(y, x, 0.7), abs=1e-12)
    assert np.diff(spread_series(y, x, 0.7)) == pytest.approx(np.diff(y - 0.7 * x), abs=1e-12)
