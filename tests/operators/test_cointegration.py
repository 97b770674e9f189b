"""Engle–Granger test: by hand, against statsmodels, and by properties."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import coint

from operators.coint_share import PASSED_PVALUE
from operators.cointegration import engle_granger
from operators.columns import Floats
from tests.answers import kept


def legs(seed: int, rows: int, pull: float, sd: float = 1.0) -> tuple[Floats, Floats]:
    """Two legs whose spread returns to its mean by `pull` a bar: 0 is two unrelated walks."""
    rng = np.random.default_rng(seed)
    x, spread = np.cumsum(rng.normal(size=rows)), np.zeros(rows)
    for t in range(1, rows):
        spread[t] = (1 - pull) * spread[t - 1] + rng.normal()
    return sd * (0.8 * x + spread), sd * x


@kept
def reference(y: Floats, x: Floats) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stat, pvalue, _ = coint(y - y.mean(), x - x.mean(), trend="c", autolag="aic")
    return stat, pvalue


def equals_the_reference(y: Floats, x: Floats) -> bool:
    stat, pvalue = reference(y, x)
    return engle_granger(y, x) == (
        pytest.approx(stat, rel=1e-9, abs=1e-9),
        pytest.approx(pvalue, rel=1e-8, abs=1e-8),
    )


# by hand


def test_a_spread_of_noise_is_cointegrated_and_unrelated_walks_are_not() -> None:
    assert engle_granger(*legs(1, 300, pull=1.0))[1] < 1e-6
    assert engle_granger(*legs(1, 300, pull=0.0))[1] > PASSED_PVALUE


WALK = np.cumsum(np.random.default_rng(0).normal(size=100))


@pytest.mark.parametrize(
    ("y", "x"),
    [
        (np.full(100, 11.0), WALK),
        (WALK, np.full(100, 11.0)),
        (2 * WALK + 1, WALK),
        (WALK + 1e-4 * np.sin(np.arange(100.0) ** 2), WALK),  # r² = 1 − 1e-9
        (np.where(np.arange(100) == 7, np.nan, WALK), WALK),
        (WALK, np.where(np.arange(100) == 99, np.inf, WALK)),
        (WALK[:2], WALK[1:3]),
        (WALK[:1], WALK[:1]),
        (WALK[:0], WALK[:0]),
    ],
    ids=[
        "flat y",
        "flat x",
        "collinear",
        "almost collinear",
        "NaN",
        "infinite",
        "two rows",
        "one row",
        "empty",
    ],
)
def test_legs_without_a_test_are_undefined_without_a_word(y: Floats, x: Floats) -> None:
    assert np.isnan(engle_granger(y, x)).all()


# against a reference


@pytest.mark.parametrize("pull", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("rows", [27, 60, 300])
def test_pairs_equal_statsmodels(rows: int, pull: float) -> None:
    assert all(equals_the_reference(*legs(seed, rows, pull)) for seed in range(25))


def test_log_prices_of_small_sd_far_from_zero_equal_statsmodels() -> None:
    for seed in range(10):
        y, x = legs(seed, 300, 0.1, sd=1e-5)
        stat, pvalue = reference(y, x)
        assert engle_granger(y + np.log(61_800), x + np.log(2_600)) == (
            pytest.approx(stat, rel=1e-6),
            pytest.approx(pvalue, rel=1e-5),
        )


def test_every_window_equals_statsmodels() -> None:
    y, x = legs(7, 160, 0.2)
    assert all(equals_the_reference(y[end - 60 : end], x[end - 60 : end]) for end in range(60, 161))


def test_windows_shorter_than_their_lags_can_bear_are_undefined_where_statsmodels_fits_them_perfectly() -> (
    None
):
    y, x = legs(8, 20, 0.2)
    assert np.isnan(engle_granger(y, x)).all()
    assert abs(reference(y, x)[0]) < 1e-6  # ten rows, ten parameters


# properties

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0))
def test_scale_and_shift_of_a_leg_do_not_matter(seed: int, scale: float, shift: float) -> None:
    y, x = legs(seed, 80, 0.2)
    expected = engle_granger(y, x)
    assert engle_granger(scale * y + shift, x) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert engle_granger(y, scale * x - shift) == pytest.approx(expected, rel=1e-8, abs=1e-8)
