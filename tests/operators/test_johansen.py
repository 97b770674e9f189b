"""Johansen's statistics against statsmodels'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from operators.johansen import CRITICAL_MAX_EIG, CRITICAL_TRACE, johansen


def legs(seed: int, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, 1e-4, n))
    noise = np.zeros(n)
    for t in range(1, n):
        noise[t] = rho * noise[t - 1] + 1e-4 * rng.normal()
    return 0.6 * x + noise, x


@pytest.mark.parametrize("rho", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("n", [30, 100, 300, 1_800])
def test_they_are_those_of_statsmodels(n: int, rho: float) -> None:
    for seed in range(10):
        y, x = legs(seed, n, rho)
        expected = coint_johansen(np.column_stack((y, x)), 0, 1)
        assert johansen(y + 8.0, x + 11.0) == pytest.approx((expected.lr1[0], expected.lr2[0]), rel=1e-8)


def test_its_critical_values_are_those_of_statsmodels() -> None:
    y, x = legs(1, 100, 0.9)
    expected = coint_johansen(np.column_stack((y, x)), 0, 1)
    assert (expected.cvt[0, 1], expected.cvm[0, 1]) == (CRITICAL_TRACE, CRITICAL_MAX_EIG)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_neither_the_order_nor_the_units_of_the_legs_matter(seed: int, scale: float, shift: float) -> None:
    y, x = legs(seed, 80, 0.9)
    assert johansen(x, y) == pytest.approx(johansen(y, x), rel=1e-8)
    assert johansen(scale * y + shift * 1e-3, x) == pytest.approx(johansen(y, x), rel=1e-6)


def test_what_cannot_be_told_is_undefined() -> None:
    y, x = legs(3, 50, 0.9)
    spoiled = y.copy()
    spoiled[4] = np.nan
    for one, other in ((y, y), (2.0 * x + 1.0, x), (np.ones(50), x), (spoiled, x), (y[:7], x[:7])):
        assert np.isnan(johansen(one, other)).all()
