"""The median of all slopes is found without computing them all: equal, to the last bit, to the median of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.median_slope import ALL_PAIRS, median_slope
from operators.methods import METHODS


def of_all(ys: np.ndarray, xs: np.ndarray) -> float:
    i, j = np.triu_indices(len(xs), 1)
    apart = xs[i] != xs[j]
    return float(np.median((ys[i] - ys[j])[apart] / (xs[i] - xs[j])[apart]))


def legs(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices of y and x, in logarithms."""
    rng = np.random.default_rng(seed)
    x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, rows))
    return np.log(3_000) + 0.6 * (x - x[0]) + 1e-4 * rng.standard_t(2, rows), x


ROWS = [2, 3, ALL_PAIRS, ALL_PAIRS + 1, 200, 201, 777, 1_000]


@pytest.mark.parametrize("rows", ROWS)
def test_of_prices_and_their_logarithms(rows: int) -> None:
    for seed in range(4):
        y, x = legs(seed, rows)
        assert median_slope(y, x) == of_all(y, x)
        assert median_slope(np.exp(y), np.exp(x)) == of_all(np.exp(y), np.exp(x))


@pytest.mark.parametrize("rows", ROWS[2:])
@pytest.mark.parametrize("decimals", [2, 0, -1, -2])
def test_of_prices_in_ticks_of_which_many_slopes_are_equal(rows: int, decimals: int) -> None:
    for seed in range(3):
        y, x = legs(seed, rows)
        y, x = np.round(np.exp(y), decimals), np.round(np.exp(x), decimals)
        if np.ptp(x) > 0:
            assert median_slope(y, x) == of_all(y, x)


@pytest.mark.parametrize(
    ("y", "x"),
    [
        pytest.param(2.0 * np.arange(300) + 1, np.arange(300.0), id="a line"),
        pytest.param(np.full(300, 7.0), np.arange(300.0), id="a leg that does not move"),
        pytest.param(
            np.where(np.arange(400) < 300, 5.0, np.arange(400.0)),
            np.arange(400.0),
            id="half of the slopes are 0",
        ),
        pytest.param(
            -np.where(np.arange(400) < 300, 5.0, np.arange(400.0)), np.arange(400.0), id="the same downwards"
        ),
        pytest.param(np.arange(300.0) / 3.0, np.arange(300.0), id="thirds, which no double is"),
        pytest.param(np.arange(300) % 2, np.arange(300) // 150, id="x takes two values"),
        pytest.param(
            np.where(np.arange(401) == 200, 1.0, 0.0), np.arange(401.0), id="but for one row all is 0"
        ),
        pytest.param(np.repeat(np.arange(150.0), 2), np.repeat(np.arange(150.0), 2), id="each point twice"),
        pytest.param(1e300 * np.sin(np.arange(300.0)), np.arange(300.0), id="slopes near the largest double"),
        pytest.param(1e-300 * np.sin(np.arange(300.0)), np.arange(300.0), id="slopes near 0 on either side"),
    ],
)
def test_of_degenerate_points(y: np.ndarray, x: np.ndarray) -> None:
    assert median_slope(y.astype(float), x.astype(float)) == pytest.approx(
        of_all(y.astype(float), x.astype(float)), rel=1e-12, abs=1e-280
    )


def test_an_even_number_of_slopes_of_which_the_middle_two_are_far_apart_gives_their_mean() -> None:
    x = np.concatenate((np.zeros(200), np.ones(1)))  # one slope a row of the first 200, and no other
    y = np.concatenate((np.repeat([1.0, 3.0], 100), np.zeros(1)))
    assert median_slope(y, x) == of_all(y, x) == -2.0


@settings(deadline=None)  # the first example compiles a kernel
@given(st.integers(ALL_PAIRS + 1, 300), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_of_points_on_any_grid(rows: int, width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-width, width + 1, rows).astype(float), rng.integers(-height, height + 1, rows) / 8.0
    if np.ptp(x) > 0:
        assert median_slope(y, x) == of_all(y, x)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_of_points_whose_differences_are_rounded_to_within_rounding(
    seed: int, scale_x: float, scale_y: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    x = scale_x * rng.standard_cauchy(200)
    y = shift * x + scale_y * rng.standard_cauchy(200)
    slopes_of = of_all(y, x)
    assert median_slope(y, x) == pytest.approx(slopes_of, rel=1e-12, abs=1e-12 * scale_y / scale_x)


def test_points_that_all_have_the_same_x_have_no_slope() -> None:
    assert np.isnan(median_slope(np.arange(200.0), np.full(200, 3.0)))


@pytest.mark.parametrize("rows", [20_000, METHODS["theil_sen"].longest_window])
def test_of_the_longest_windows_as_many_slopes_lie_below_as_above(rows: int) -> None:
    """All slopes would be hundreds of millions: those of every point to the points `step` rows on are a large
    sample of them.
    """
    y, x = legs(1, rows)
    slope = median_slope(y, x)
    below = above = 0
    for step in range(1, rows, 97):
        pairs = (y[step:] - y[:-step]) / (x[step:] - x[:-step])
        below, above = below + int((pairs < slope).sum()), above + int((pairs > slope).sum())
    assert below == pytest.approx(above, rel=0.02)
    # exactly: pairs in the reverse order of y − b·x, by a sort that knows only ranks
    assert _reversed(y - slope * x, np.argsort(x)) == pytest.approx(rows * (rows - 1) / 4, rel=1e-6)


def _reversed(key: np.ndarray, order: np.ndarray) -> int:
    """How many pairs of rows stand in `order` the other way round than by their keys, counted block by block."""
    values, count = key[order], 0
    for start in range(0, len(values), 500):
        block = values[start : start + 500]
        count += int((np.triu(block[:, None] > block[None, :], 1)).sum())
        later = np.sort(values[start + 500 :])
        count += int(np.searchsorted(later, block, side="left").sum())
    return count
