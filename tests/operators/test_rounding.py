"""The mean of equal values is that value, and of others the mean."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rounding import mean_of


@given(st.floats(1e-9, 1e9), st.integers(1, 2_000))
def test_equal_values_have_themselves_as_mean(value: float, rows: int) -> None:
    assert mean_of(np.full(rows, value)) == value


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_it_is_the_mean(seed: int, rows: int) -> None:
    values = 11.0 + np.random.default_rng(seed).normal(0, 1e-4, rows)
    assert mean_of(values) == pytest.approx(math.fsum(values) / rows, rel=1e-15)


def test_a_value_that_is_none_makes_it_none() -> None:
    assert math.isnan(mean_of(np.array([1.0, np.nan])))
