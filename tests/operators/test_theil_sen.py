"""Theil and Sen's slope against scipy's, bit for bit, on ticks and ties too."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from operators.theil_sen import rolling_theil_sen


def one(y: np.ndarray, x: np.ndarray) -> list[float]:
    rows = np.array([len(y)])
    return [
        float(column[0])
        for column in rolling_theil_sen(np.stack((y, x)), np.array([0]), np.array([1]), rows, rows)
    ]


def scipys(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the confidence interval, which is not ours
        expected = theilslopes(y, x)
    return expected.slope, expected.intercept


@pytest.mark.parametrize("n", [2, 3, 20, 91, 92, 93, 300, 501])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_it_is_that_of_scipy_to_the_last_bit(n: int, decimals: int | None) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, n))
        y = np.log(3_000) + 0.6 * (x - x[0]) + 1e-4 * rng.standard_t(2, n)
        if decimals is not None:
            y, x = np.round(np.exp(y), decimals), np.round(np.exp(x), decimals - 1)
        if np.ptp(y) == 0 or np.ptp(x) == 0:
            assert np.isnan(one(y, x)).all()
            continue
        slope, constant, r2 = one(y, x)
        assert (slope, constant) == scipys(y, x)
        assert r2 == pytest.approx(
            1 - ((y - constant - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum(), abs=1e-9
        )


def test_slopes_of_which_half_are_equal_are_selected_too() -> None:
    x = np.arange(400.0)
    y = np.where(x < 300, 5.0, x)
    assert one(y, x)[0] == scipys(y, x)[0]


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=60))
def test_whatever_the_ties_it_is_that_of_scipy(points: list[tuple[int, int]]) -> None:
    y, x = (np.array(column, np.float64) for column in zip(*points, strict=True))
    slope, constant, _ = one(y, x)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(slope)
        return
    assert (slope, constant) == scipys(y, x)


def test_a_quarter_of_bad_ticks_hardly_moves_it() -> None:
    rng = np.random.default_rng(4)
    x = np.cumsum(rng.normal(size=200))
    y = 0.5 * x + 0.01 * rng.normal(size=200)
    y[::4] += 1e9
    assert one(y, x)[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf])
def test_a_window_with_a_value_that_is_none_is_undefined(spoiled: float) -> None:
    y = np.arange(30.0)
    y[3] = spoiled
    assert np.isnan(one(y, np.arange(30.0))).all()
