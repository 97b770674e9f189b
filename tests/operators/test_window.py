"""What kernels over windows share: rows by hand, moments against extended precision, nothing from before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.columns import Floats
from operators.rounding import ROUNDING
from operators.window import legs, means, moments, moves


def test_a_task_has_the_rows_before_its_end() -> None:
    values = np.arange(12.0).reshape(3, 4)
    ys, xs = legs(values, 2, 0, 3, 2, 2)
    assert (ys.tolist(), xs.tolist()) == ([9.0, 10.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("end", "window", "least"), [(1, 2, 2), (5, 2, 2), (4, 1, 2), (4, 2, 3), (-1, 2, 2), (4, 5, 2)]
)
def test_a_window_that_is_too_short_or_not_within_the_columns_has_no_rows(
    end: int, window: int, least: int
) -> None:
    ys, xs = legs(np.zeros((2, 4)), 0, 1, end, window, least)
    assert len(ys) == len(xs) == 0


@pytest.mark.parametrize("level", [0.0, 11.0, 61_800.0, 1e9])
def test_moments_equal_two_passes_in_extended_precision(level: float) -> None:
    ys, xs = level + np.random.default_rng(1).normal(0, 1e-3, (2, 500)).cumsum(axis=1)
    y, x = (leg.astype(np.longdouble) for leg in (ys, xs))
    dy, dx = y - y.mean(), x - x.mean()
    found = moments(ys, xs)
    assert (found.level_y, found.level_x) == (
        pytest.approx(float(y.mean()), rel=1e-14),
        pytest.approx(float(x.mean()), rel=1e-14),
    )
    expected = [float(dy @ dy), float(dx @ dx), float(dx @ dy)]
    assert [found.syy, found.sxx, found.sxy] == pytest.approx(expected, rel=1e-10)
    assert (found.mean_y, found.mean_x) == means(ys, xs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_passes_through_and_does_not_count_as_variance(bad: float) -> None:
    ys, xs = np.array([1.0, bad, 3.0]), np.array([1.0, 2.0, 3.0])
    found = moments(ys, xs)
    assert (
        np.isnan(found.syy) and not moves(found.syy, 3, found.level_y) and moves(found.sxx, 3, found.level_x)
    )


@given(level=st.floats(1e-6, 1e9), rows=st.integers(2, 1_000), times=st.floats(0.0, 4.0))
def test_a_leg_moves_when_its_deviation_is_beyond_the_rounding_of_its_level(
    level: float, rows: int, times: float
) -> None:
    squares = rows * (times * ROUNDING * level) ** 2
    if abs(times - 1.0) > 1e-9:
        assert moves(squares, rows, level) == (times > 1.0)
        assert moves(squares, rows, -level) == (times > 1.0)


def of(values: Floats, end: int, window: int) -> list[float]:
    return list(moments(*legs(values, 0, 1, end, window, 2)))


@given(seed=st.integers(0, 2**32 - 1), begin=st.integers(0, 60))
def test_what_lies_before_a_window_leaves_no_bit_behind(seed: int, begin: int) -> None:
    values = np.random.default_rng(seed).normal(size=(2, 100)).cumsum(axis=1)
    spoilt = values.copy()
    spoilt[:, :begin] = 1e12
    assert (
        of(spoilt, 100, 100 - begin)
        == of(values, 100, 100 - begin)
        == of(np.ascontiguousarray(values[:, begin:]), 100 - begin, 100 - begin)
    )
