"""Huber regression against statsmodels' own, and what it must not mind."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from operators.huber import rolling_huber


def one(y: np.ndarray, x: np.ndarray) -> list[float]:
    rows = np.array([len(y)])
    return [float(column[0]) for column in rolling_huber(np.stack((y, x)), np.array([0]), np.array([1]), rows, rows)]


def walk(seed: int, n: int, raw: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.log(60_000) + np.cumsum(rng.normal(0, 1e-4, n))
    y = np.log(3_000) + 0.6 * (x - x[0]) + 1e-4 * rng.standard_t(2, n)
    return (np.exp(y), np.exp(x)) if raw else (y, x)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("n", [10, 60, 300, 1_000])
def test_it_is_that_of_statsmodels(n: int, raw: bool) -> None:
    for seed in range(10):
        y, x = walk(seed, n, raw)
        slope, constant, r2, se = one(y, x)
        fit = sm.RLM(y - y.mean(), sm.add_constant(x - x.mean()), M=sm.robust.norms.HuberT()).fit()
        assert slope == pytest.approx(fit.params[1], rel=1e-9)
        assert constant == pytest.approx(y.mean() + fit.params[0] - fit.params[1] * x.mean(), rel=1e-9)
        assert se == pytest.approx(fit.bse[1], rel=1e-9)
        assert r2 == pytest.approx(1 - (fit.resid**2).sum() / ((y - y.mean()) ** 2).sum(), abs=1e-9)


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
def test_scales_and_shifts_of_the_legs_scale_it(seed: int, scale: float, shift: float, scale_x: float) -> None:
    y, x = walk(seed, 40, raw=False)
    y, x = 1e4 * (y - y[0]), 1e4 * (x - x[0])
    slope, _, r2, _ = one(y, x)
    moved, _, r2_moved, _ = one(scale * y + shift, scale_x * x - shift)
    assert moved == pytest.approx(slope * scale / scale_x, rel=1e-5, abs=1e-9)
    assert r2_moved == pytest.approx(r2, abs=1e-5)
