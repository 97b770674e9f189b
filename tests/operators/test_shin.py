"""Shin's statistic against statsmodels' KPSS statistic of the same residuals."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import kpss

from operators.shin import CRITICAL_5, shin
from tests.operators.test_johansen import legs


@pytest.mark.parametrize("rho", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("n", [30, 100, 300, 1_800])
def test_it_is_that_of_statsmodels(n: int, rho: float) -> None:
    for seed in range(10):
        y, x = legs(seed, n, rho)
        residuals = sm.OLS(y, sm.add_constant(x)).fit().resid
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the p-value, which is not ours
            expected = kpss(residuals, regression="c", nlags="auto", result_object=False)[0]
        assert shin(y + 8.0, x + 11.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_residuals_that_swing_back_ask_for_very_many_lags_which_cost_no_more(share: float) -> None:
    rng = np.random.default_rng(5)
    y, x = legs(5, 300, 0.5)
    noise = rng.normal(size=300)
    y = x + noise - share * np.concatenate((noise[:1], noise[:-1]))
    residuals = sm.OLS(y, sm.add_constant(x)).fit().resid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = kpss(residuals, regression="c", nlags="auto", result_object=False)
    assert expected[2] > 5 or share < 0.9  # lags
    assert shin(y, x) == pytest.approx(expected[0], rel=1e-9)


def test_it_is_small_for_cointegrated_legs_and_large_for_unrelated_walks() -> None:
    cointegrated = [shin(*legs(seed, 500, 0.5)) for seed in range(200)]
    walks = [shin(*legs(seed, 500, 1.0)) for seed in range(200)]
    assert np.mean(np.array(cointegrated) > CRITICAL_5) < 0.12
    assert np.mean(np.array(walks) > CRITICAL_5) > 0.6


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_units_and_levels_do_not_matter(seed: int, scale: float, shift: float) -> None:
    y, x = legs(seed, 60, 0.9)
    assert shin(scale * y + shift * 1e-3, scale * x - shift * 1e-3) == pytest.approx(shin(y, x), rel=1e-6)


def test_what_cannot_be_told_is_undefined() -> None:
    y, x = legs(3, 50, 0.9)
    spoiled = y.copy()
    spoiled[4] = np.inf
    for one, other in (
        (y, y),
        (2.0 * x + 1.0, x),
        (np.ones(50), x),
        (y, np.ones(50)),
        (spoiled, x),
        (y[:1], x[:1]),
    ):
        assert np.isnan(shin(one, other))
