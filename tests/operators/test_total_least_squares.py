"""Total least squares: by hand, against a singular value decomposition on every window, and by its
symmetries.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from operators.columns import Floats, Longs
from operators.hedge_ratio import rolling_ols
from operators.total_least_squares import rolling_tls

BAD_TICK = 1e9


def fits(values: Floats, window: int, ends: Longs | None = None) -> Floats:
    """(3, ends): row 0 on row 1, at every column or at `ends`."""
    ends = np.arange(1, values.shape[1] + 1) if ends is None else ends
    first = np.zeros(len(ends), np.int64)
    return np.stack(rolling_tls(values, first, first + 1, ends, first + window))


def walks(seed: int, rows: int, sd: float = 1e-4) -> Floats:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return np.stack([11.0 + 0.7 * x + rng.normal(0, sd, rows), 8.0 + x])


# by hand


def test_points_at_equal_distances_from_the_diagonal() -> None:
    # Sxx = Syy = 2, Sxy = 1: the long axis is the diagonal
    assert fits(np.array([[1.0, 3.0, 2.0], [0.0, 1.0, 2.0]]), 3)[:, -1] == pytest.approx(
        [1.0, 1.0, 0.25], rel=1e-15
    )


def test_points_along_one_axis() -> None:
    square = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 3.0, 0.0, 3.0]])
    assert list(fits(square, 4)[:, -1]) == [0.0, 0.5, 0.0]  # flat along x
    assert np.isnan(fits(square[::-1], 4)[:, -1]).all()  # upright
    assert np.isnan(fits(square / np.array([[1.0], [3.0]]), 4)[:, -1]).all()  # a square has no direction


@pytest.mark.parametrize("flat", [0, 1])
def test_a_flat_leg_is_undefined_only_while_its_window_is_flat(flat: int) -> None:
    values = walks(2, 300)
    values[flat, 100:160] = np.log(61_800.1)
    columns = fits(values, 40)
    assert (
        np.isnan(columns[:, 139:160]).all()
        and np.isfinite(columns[:, 39:139]).all()
        and np.isfinite(columns[:, 160:]).all()
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_makes_its_windows_undefined_and_no_others(bad: float) -> None:
    values = walks(3, 200)
    values[1, 90] = bad
    columns = fits(values, 30)
    assert (
        np.isnan(columns[:, 90:120]).all()
        and np.isfinite(columns[:, 29:90]).all()
        and np.isfinite(columns[:, 120:]).all()
    )


def test_a_window_that_is_not_there_is_undefined() -> None:
    for end, window in ((19, 20), (61, 20), (0, 0), (5, 1), (5, -3)):
        assert np.isnan(fits(walks(1, 60), window, np.array([end]))).all()


# against a reference


@pytest.mark.parametrize("sd", [1e-5, 1e-3, 1.0])
def test_every_window_equals_the_first_singular_vector(sd: float) -> None:
    values = walks(4, 400, sd)
    columns = fits(values, 60)
    for end in range(60, 401):
        window = values[:, end - 60 : end]
        centre = window.mean(axis=1)
        along = np.linalg.svd((window - centre[:, None]).T)[2][0]
        assert columns[0, end - 1] == pytest.approx(along[0] / along[1], rel=1e-9)
        assert columns[1, end - 1] == pytest.approx(centre[0] - along[0] / along[1] * centre[1], rel=1e-9)


def test_no_other_line_is_closer_to_the_rows() -> None:
    values = walks(5, 200, 1.0)
    y, x = values - values.mean(axis=1, keepdims=True)
    distances = minimize_scalar(
        lambda angle: float(np.sum((np.cos(angle) * y - np.sin(angle) * x) ** 2)),
        bounds=(0, np.pi / 2),
        method="bounded",
    )
    assert np.arctan(fits(values, 200)[0, -1]) == pytest.approx(distances.x, abs=1e-5)


@pytest.mark.parametrize("leg", [0, 1])
def test_a_bad_tick_is_forgotten_when_it_leaves_the_window(leg: int) -> None:
    values = walks(6, 400)
    spoilt = values.copy()
    spoilt[leg, 200] = BAD_TICK
    assert np.array_equal(fits(spoilt, 60)[:, 260:], fits(values, 60)[:, 260:])


# properties

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_swapped_legs_have_the_inverse_slope_and_it_exceeds_that_of_least_squares(seed: int) -> None:
    values = walks(seed, 60)
    slope, _, r2 = fits(values, 30)[:, 29:]
    swapped, _, swapped_r2 = fits(values[::-1], 30)[:, 29:]
    assert slope * swapped == pytest.approx(1.0, rel=1e-6)
    assert swapped_r2 == pytest.approx(r2, rel=1e-9)
    first = np.zeros(31, np.int64)
    least = rolling_ols(values, first, first + 1, np.arange(30, 61), first + 30)[0]
    assert (np.abs(slope) >= np.abs(least) * (1 - 1e-9)).all()


@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0))
def test_a_common_scale_and_any_shift_leave_the_slope_alone(seed: int, scale: float, shift: float) -> None:
    values = walks(seed, 60, 0.01)
    moved = scale * values + np.array([[shift], [-shift]])
    assert np.arctan(fits(moved, 30)[0, 29:]) == pytest.approx(
        np.arctan(fits(values, 30)[0, 29:]), rel=1e-5, abs=1e-6
    )


@given(seed=SEEDS, cut=st.integers(0, 120), begin=st.integers(0, 60))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int) -> None:
    values = walks(seed, 120)
    whole = fits(values, 25)
    ends = np.arange(1, 121)
    halves = np.concatenate([fits(values, 25, ends[:cut]), fits(values, 25, ends[cut:])], axis=1)
    assert np.array_equal(whole, halves, equal_nan=True)
    assert np.array_equal(whole[:, begin + 24 :], fits(values[:, begin:], 25)[:, 24:])
