"""The variance ratio against the formula as it stands in the paper, and on series whose ratio is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.variance_ratio import SPAN, variance_ratio


def paper(series: np.ndarray) -> float:
    n, q = len(series) - 1, SPAN
    mu = (series[n] - series[0]) / n
    a = sum((series[t] - series[t - 1] - mu) ** 2 for t in range(1, n + 1)) / (n - 1)
    m = q * (n - q + 1) * (1 - q / n)
    return sum((series[t] - series[t - q] - q * mu) ** 2 for t in range(q, n + 1)) / m / a


@pytest.mark.parametrize("n", [41, 100, 1_000])
def test_it_is_the_formula_of_the_paper(n: int) -> None:
    series = np.cumsum(np.random.default_rng(n).normal(size=n))
    assert variance_ratio(series + 1e3) == pytest.approx(paper(series), rel=1e-9)


def test_it_is_one_for_a_walk_below_for_one_that_turns_back_above_for_one_that_trends() -> None:
    rng = np.random.default_rng(2)
    shocks = rng.normal(size=(300, 400))
    walks = [variance_ratio(np.cumsum(row)) for row in shocks]
    assert np.mean(walks) == pytest.approx(1.0, abs=0.06)
    assert np.mean([variance_ratio(row) for row in shocks]) < 0.1
    assert np.mean([variance_ratio(np.cumsum(row[1:] + row[:-1])) for row in shocks]) > 1.5


@given(st.integers(0, 1_000), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_units_and_levels_do_not_matter(seed: int, scale: float, shift: float) -> None:
    series = np.cumsum(np.random.default_rng(seed).normal(size=90))
    assert variance_ratio(scale * (series + shift)) == pytest.approx(variance_ratio(series), rel=1e-6)


def test_what_cannot_be_told_is_undefined() -> None:
    spoiled = np.arange(90.0) ** 2
    spoiled[5] = np.nan
    for series in (np.zeros(0), np.arange(2.0 * SPAN), np.ones(90), np.arange(90.0), spoiled):
        assert np.isnan(variance_ratio(series))
