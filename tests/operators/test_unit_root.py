"""The shared regression: its invariances, its p-values, and where it is undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.adfvalues import mackinnonp

from operators.columns import Floats
from operators.unit_root import CRITERIA, mackinnon_pvalue, most_lags, unit_root


def walk(seed: int, rows: int, pull: float = 0.0) -> Floats:
    steps = np.random.default_rng(seed).normal(size=rows)
    series = np.zeros(rows)
    for t in range(1, rows):
        series[t] = (1 - pull) * series[t - 1] + steps[t]
    return series


# by hand


def test_without_lags_or_constant_the_slope_is_a_ratio_of_products() -> None:
    # levels 1, 2, 1 and steps 1, −1, −1: λ = −2/6, residuals 4/3, −1/3, −2/3, ssr 7/3, se = √(7/3 / 2 / 6)
    slope, stat, lag = unit_root(np.array([1.0, 2.0, 1.0, 0.0]), 0, "fixed", False)
    assert (slope, stat, lag) == (
        pytest.approx(-1 / 3, rel=1e-15),
        pytest.approx(-1 / 3 / np.sqrt(7 / 36), rel=1e-14),
        0,
    )


# against a reference


@pytest.mark.parametrize("integrated", [1, 2])
def test_pvalues_equal_statsmodels_everywhere(integrated: int) -> None:
    for stat in np.concatenate([np.linspace(-25, 5, 4_001), [-18.83, -18.86, -1.61, -2.62, 2.74, 0.92]]):
        assert mackinnon_pvalue(stat, integrated) == pytest.approx(
            mackinnonp(stat, "c", integrated), rel=1e-12, abs=1e-300
        )


def test_an_undefined_statistic_has_an_undefined_pvalue() -> None:
    assert np.isnan(mackinnon_pvalue(np.nan, 1)) and np.isnan(mackinnon_pvalue(-np.inf, 2))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("lag", [0, 1, 7, 24])
def test_the_fit_equals_a_pseudo_inverse(lag: int, constant: bool) -> None:
    series = np.cumsum(np.convolve(walk(1, 500, 0.3), np.r_[1.0, np.zeros(lag), 0.9], "same"))
    if constant:
        series += 50
    step = np.diff(series)
    columns = (
        [series[lag:-1]]
        + [step[lag - i : len(step) - i] for i in range(1, lag + 1)]
        + [np.ones(len(step) - lag)] * constant
    )
    explaining = np.stack(columns, axis=1)
    weights = np.linalg.lstsq(explaining, step[lag:])[0]
    residual = step[lag:] - explaining @ weights
    error = np.sqrt(
        residual @ residual / (len(residual) - len(weights)) * np.linalg.inv(explaining.T @ explaining)[0, 0]
    )
    slope, stat, used = unit_root(series, lag, "fixed", constant)
    assert (slope, stat, used) == (
        pytest.approx(weights[0], abs=1e-10),
        pytest.approx(weights[0] / error, abs=1e-8),
        lag,
    )


# where it is undefined

UNDEFINED = {
    "empty": [],
    "one row": [1.0],
    "constant": np.full(100, 11.03),
    "straight": np.log(61_800.1) + 1e-3 * np.arange(100),
    "a sine": np.sin(0.3 * np.arange(100)),
    "geometric": 0.9 ** np.arange(100.0),
    "NaN": [*np.arange(50.0) ** 0.5, np.nan, *np.arange(50.0)],
    "infinity": [*np.arange(50.0) ** 0.5, np.inf, *np.arange(50.0)],
    "huge": [1e308, -1e308] * 50,
    "flips by one rounding": np.where(np.arange(100) % 3, 11.03, np.nextafter(11.03, 12)),
}


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_series_without_a_test_is_undefined_without_a_word(name: str, criterion: str) -> None:
    slope, stat, lag = unit_root(np.array(UNDEFINED[name]), 3, criterion, True)
    assert np.isnan(slope) and np.isnan(stat) and lag == -1


def test_too_many_lags_are_undefined() -> None:
    assert (
        most_lags(30, True) == 9
        and most_lags(24, True) == 9
        and most_lags(18, True) == 7
        and most_lags(1_800, True) == 25
    )
    assert unit_root(walk(1, 30), 13, "fixed", True)[2] == 13
    for lag in (14, 15, 100, -1):
        assert unit_root(walk(1, 30), lag, "fixed", True)[2] == -1


def test_a_step_among_flat_rows_never_raises() -> None:
    for at in range(40):
        series = np.zeros(40)
        series[at:] = 1.0
        for criterion in CRITERIA:
            slope, stat, lag = unit_root(series, 8, criterion, True)
            assert (lag >= 0) == bool(np.isfinite(slope)) == bool(np.isfinite(stat))


# properties


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-10.0, 10.0),
    sign=st.sampled_from([-1, 1]),
)
def test_scale_shift_and_sign_of_the_series_do_not_matter(
    seed: int, scale: float, shift: float, sign: int
) -> None:
    series = walk(seed, 120, 0.1)
    for criterion in CRITERIA:
        slope, stat, lag = unit_root(series, 8, criterion, True)
        moved_slope, moved_stat, moved_lag = unit_root(sign * scale * (series + shift), 8, criterion, True)
        assert moved_lag == lag
        assert (moved_slope, moved_stat) == (
            pytest.approx(slope, rel=1e-9, abs=1e-9),
            pytest.approx(stat, rel=1e-9, abs=1e-9),
        )


@given(series=st.lists(st.floats(), max_size=60), lag=st.integers(-2, 20), constant=st.booleans())
def test_any_numbers_give_a_number_or_undefined(series: list[float], lag: int, constant: bool) -> None:
    for criterion in CRITERIA:
        slope, stat, used = unit_root(np.array(series), lag, criterion, constant)
        assert (used >= 0) == bool(np.isfinite(slope)) == bool(np.isfinite(stat))
