"""The Kalman filter against the textbook's matrices, cut anywhere, resumed, and gone back on."""

import itertools
import pickle

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from operators.kalman import REMEMBERED, HedgeKalman

Columns = tuple[np.ndarray, ...]


def legs(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, n))
    y = np.log(3_000) + np.linspace(0.5, 0.8, n) * (x - x[0]) + 1e-4 * rng.normal(size=n)
    return np.stack((y, x))


def run(
    kalman: HedgeKalman, values: np.ndarray, window: int, start: int, stop: int, filter: int = 0
) -> Columns:
    """The filter over columns start … stop − 1."""
    end = np.arange(start, stop) + 1
    zeros = np.zeros(len(end), np.int64)
    return kalman.update(values, zeros + filter, zeros, zeros + 1, end, zeros + window, (end + 1_000) * 5)


def textbook(values: np.ndarray, window: int) -> dict[int, list[float]]:
    y, x = values[0] - values[0, :window].mean(), values[1] - values[1, :window].mean()
    fit = sm.OLS(y[:window], sm.add_constant(x[:window])).fit()
    noise, state, covariance = fit.mse_resid, fit.params.copy(), fit.cov_params().copy()
    pace = (2 / window) ** 2 * np.diag([noise, noise / np.var(x[:window], ddof=1)])
    rows = {window - 1: [state[1], np.sqrt(covariance[1, 1]), np.nan]}
    for t in range(window, len(x)):
        covariance = covariance + pace
        row = np.array([1.0, x[t]])
        variance = row @ covariance @ row + noise
        innovation = y[t] - row @ state
        gain = covariance @ row / variance
        state = state + gain * innovation
        covariance = (np.eye(2) - np.outer(gain, row)) @ covariance
        rows[t] = [state[1], np.sqrt(covariance[1, 1]), innovation / np.sqrt(variance)]
    return rows


@pytest.mark.parametrize(("window", "n"), [(20, 200), (60, 600), (300, 900)])
def test_it_is_the_filter_of_the_textbook(window: int, n: int) -> None:
    values = legs(window, n)
    slope, constant, r2, se, z = run(HedgeKalman(1, 5), values, window, 0, n)
    expected = textbook(values, window)
    assert np.isnan(
        [slope[: window - 1], constant[: window - 1], r2[: window - 1], se[: window - 1], z[: window - 1]]
    ).all()
    for t, (of_slope, of_se, of_z) in expected.items():
        np.testing.assert_allclose([slope[t], se[t], z[t]], [of_slope, of_se, of_z], rtol=1e-7, atol=1e-7)
        rows = slice(t - window + 1, t + 1)
        residual = values[0, rows] - constant[t] - slope[t] * values[1, rows]
        total = values[0, rows] - values[0, rows].mean()
        assert r2[t] == pytest.approx(1 - (residual @ residual) / (total @ total), rel=1e-6)


def test_the_first_row_is_the_least_squares_line() -> None:
    values = legs(2, 50)
    slope, constant, r2, se, z = (float(column[-1]) for column in run(HedgeKalman(1, 5), values, 50, 0, 50))
    fit = sm.OLS(values[0], sm.add_constant(values[1] - values[1].mean())).fit()
    assert [slope, r2, se] == pytest.approx([fit.params[1], fit.rsquared, fit.bse[1]], rel=1e-8)
    assert constant == pytest.approx(fit.params[0] - slope * values[1].mean(), rel=1e-9)
    assert np.isnan(z)


def test_it_follows_a_hedge_ratio_that_changes_at_the_pace_of_its_window() -> None:
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.normal(size=2_000))
    y = np.where(np.arange(2_000) < 1_000, 1.0, 2.0) * x + rng.normal(size=2_000)
    slope, *_, z = run(HedgeKalman(1, 5), np.stack((y, x)), 100, 0, 2_000)
    assert slope[990] == pytest.approx(1.0, abs=0.1)
    assert slope[-1] == pytest.approx(2.0, abs=0.1)
    assert 0.7 < np.std(z[200:990]) < 1.3  # standardised


@given(st.integers(0, 1_000), st.lists(st.integers(1, 120), max_size=6))
def test_cuts_and_resumes_change_nothing(seed: int, cuts: list[int]) -> None:
    values = legs(seed, 120)
    whole = run(HedgeKalman(1, 5), values, 30, 0, 120)
    edges = sorted({0, 120, *cuts})
    kalman, parts = HedgeKalman(1, 5), []
    for start, stop in itertools.pairwise(edges):
        parts.append(run(kalman, values, 30, start, stop))
        kalman = pickle.loads(pickle.dumps(kalman))
    for column, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(column, np.concatenate(pieces))


@given(st.integers(0, 1_000), st.integers(60, 118))
def test_rows_that_come_again_with_other_numbers_count_as_if_they_had_come_so_at_first(
    seed: int, since: int
) -> None:
    values = legs(seed, 120)
    wrong = values.copy()
    wrong[:, since:] += 0.01
    kalman = HedgeKalman(1, 5)
    run(kalman, wrong, 30, 0, 119)
    again = run(kalman, values, 30, since, 120)
    for column, expected in zip(again, run(HedgeKalman(1, 5), values, 30, 0, 120), strict=True):
        np.testing.assert_array_equal(column, expected[since:])


def test_filters_do_not_mind_each_other() -> None:
    kalman = HedgeKalman(2, 5)
    first, second = legs(1, 80), legs(2, 80)
    run(kalman, first, 30, 0, 60, filter=0)
    run(kalman, second, 30, 0, 80, filter=1)
    np.testing.assert_array_equal(
        run(kalman, first, 30, 60, 80, filter=0), [c[60:] for c in run(HedgeKalman(1, 5), first, 30, 0, 80)]
    )


def test_it_begins_when_its_window_has_variance() -> None:
    values = legs(5, 100)
    values[1, :40] = values[1, 0]
    slope, *_ = run(HedgeKalman(1, 5), values, 30, 0, 100)
    assert np.isnan(slope[:40]).all()
    assert np.isfinite(slope[45:]).all()


def test_more_rows_than_are_remembered_cannot_be_gone_back_on() -> None:
    values = legs(6, 400)
    kalman = HedgeKalman(1, 5)
    run(kalman, values, 30, 0, 400)
    assert (kalman.times[0] > 0).sum() == REMEMBERED
