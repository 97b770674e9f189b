"""Huber regression against statsmodels' own, and what it must not mind."""

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.huber import NORMAL_MAD, TUNING, _optimum, rolling_huber


def one(y: np.ndarray, x: np.ndarray) -> list[float]:
    rows = np.array([len(y)])
    return [
        float(column[0])
        for column in rolling_huber(np.stack((y, x)), np.array([0]), np.array([1]), rows, rows)
    ]


def walk(seed: int, n: int, raw: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, n))
    y = np.log(3_000) + 0.6 * (x - x[0]) + 1e-4 * rng.standard_t(2, n)
    return (np.exp(y), np.exp(x)) if raw else (y, x)


def statsmodels(y: np.ndarray, x: np.ndarray, **until: object) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: some windows are chosen for that
        return sm.RLM(y - y.mean(), sm.add_constant(x - x.mean()), M=sm.robust.norms.HuberT()).fit(**until)


def to_the_end(y: np.ndarray, x: np.ndarray) -> Any:
    return statsmodels(y, x, maxiter=5_000, tol=1e-14, conv="coefs")


def off(y: np.ndarray, x: np.ndarray, slope: float, constant: float) -> float:
    """By how much the estimating equations do not hold, of the sums of their terms' sizes."""
    residuals = y - constant - slope * x
    psi = np.clip(residuals / (np.median(np.abs(residuals)) / NORMAL_MAD), -TUNING, TUNING)
    terms = psi, psi * (x - x.mean())
    return max(float(abs(term.sum()) / np.abs(term).sum()) for term in terms)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("n", [10, 60, 300, 1_000])
def test_it_is_that_of_statsmodels_run_to_its_end(n: int, raw: bool) -> None:
    for seed in range(5):
        y, x = walk(seed, n, raw)
        slope, constant, r2, se = one(y, x)
        fit = to_the_end(y, x)
        assert slope == pytest.approx(fit.params[1], rel=1e-9)
        assert constant == pytest.approx(y.mean() + fit.params[0] - fit.params[1] * x.mean(), rel=1e-9)
        assert se == pytest.approx(fit.bse[1], rel=1e-9)
        assert r2 == pytest.approx(1 - (fit.resid**2).sum() / ((y - y.mean()) ** 2).sum(), abs=1e-9)


def test_windows_in_which_50_steps_are_not_enough_are_at_their_optimum_all_the_same() -> None:
    """Rows on two levels: which ones count less is decided slowly. The hedge ratio after 50 steps was off by
    more than its standard error.
    """
    short = 0
    for seed in (4, 15, 27, 28, 31):
        rng = np.random.default_rng(seed)
        x, level = np.cumsum(rng.normal(size=120)), (rng.random(120) < 0.4) * 1e5
        y = level + rng.normal(size=120)
        slope, constant, _, se = one(y, x)
        assert off(y, x, slope, constant) < 1e-9
        after_50 = statsmodels(y, x)
        if abs(after_50.params[1] - slope) > se:
            short += 1
            assert slope == pytest.approx(to_the_end(y, x).params[1], rel=1e-8)
    assert short > 0  # or this shows nothing


@settings(deadline=None)  # the first example compiles a kernel
@given(
    st.integers(0, 2**32 - 1),
    st.integers(10, 400),
    st.sampled_from(["t", "cauchy", "walk", "ticks", "jumps"]),
    st.floats(1e-3, 1e3),
    st.floats(-5, 5),
)
def test_the_estimating_equations_hold(seed: int, n: int, kind: str, scale: float, beta: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, 1.0, n))
    errors = {
        "t": rng.standard_t(3, n),
        "cauchy": rng.standard_cauchy(n),
        "walk": np.cumsum(rng.normal(size=n)),
    }.get(kind, rng.normal(size=n))
    if kind == "jumps":
        errors = errors + (rng.random(n) < 0.3) * 20.0
    y = scale * (beta * x + errors)
    if kind == "ticks":
        y, x = np.round(y / scale), np.round(x)
    slope, constant, _, se = one(y, x)
    if np.isnan(slope):
        assert (
            np.ptp(x) == 0
            or np.ptp(y) == 0
            or len(statsmodels(y, x, maxiter=1_000).fit_history["params"]) > 1_000
        )
    elif np.isnan(se):  # more than half of the rows lie on one line
        assert np.median(np.abs(y - constant - slope * x)) <= 1e-11 * np.abs(y).max()
    else:
        assert off(y, x, slope, constant) < 1e-9


def test_more_than_half_of_the_rows_on_a_line_give_the_line_though_reweighting_would_take_thousands_of_steps_to_it() -> (
    None
):
    x = np.array([-2.0, -2, -2, -3, -1, -1, -1, -2, -2, -2])
    y = np.array([1.0, -1, -1, -2, 0, 0, 0, 0, -1, 0])  # seven on y = x + 1
    slope, constant, _, se = one(y, x)
    assert (slope, constant) == (pytest.approx(1.0, abs=1e-12), pytest.approx(1.0, abs=1e-12))
    assert np.isnan(se)


def test_a_window_whose_steps_do_not_end_is_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = walk(1, 100, raw=False)
    off_their_means = y - y.mean(), x - x.mean()
    assert np.isfinite(_optimum.py_func(*off_their_means, 0.0)).all()
    monkeypatch.setattr("operators.huber.MOST_STEPS", 1)
    assert np.isnan(_optimum.py_func(*off_their_means, 0.0)).all()


def test_a_bad_tick_hardly_moves_it() -> None:
    y, x = walk(3, 300, raw=False)
    before, _, _, se = one(y, x)
    y[150] += 10.0
    assert abs(one(y, x)[0] - before) < se
    assert abs(np.polyfit(x - x.mean(), y - y.mean(), 1)[0] - before) > 10 * se


def test_rows_on_a_line_give_the_line_without_an_error() -> None:
    x = np.arange(10.0)
    slope, constant, r2, se = one(3.0 + 2.0 * x, x)
    assert [slope, constant, r2] == pytest.approx([2.0, 3.0, 1.0])
    assert np.isnan(se)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, None])
def test_a_window_without_a_number_in_it_or_without_variance_is_undefined(spoiled: float | None) -> None:
    y, x = walk(1, 30, raw=False)
    if spoiled is None:
        x[:] = x[0]
    else:
        y[7] = spoiled
    assert np.isnan(one(y, x)).all()


def test_too_few_rows_are_undefined() -> None:
    assert np.isnan(one(np.array([1.0, 2.0]), np.array([1.0, 3.0]))).all()


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-100, 100), st.floats(0.01, 100))
def test_scales_and_shifts_of_the_legs_scale_it(
    seed: int, scale: float, shift: float, scale_x: float
) -> None:
    y, x = walk(seed, 40, raw=False)
    y, x = 1e4 * (y - y[0]), 1e4 * (x - x[0])
    slope, _, r2, _ = one(y, x)
    moved, _, r2_moved, _ = one(scale * y + shift, scale_x * x - shift)
    assert moved == pytest.approx(slope * scale / scale_x, rel=1e-5, abs=1e-9)
    assert r2_moved == pytest.approx(r2, abs=1e-5)
