"""Five hedge ratios side by side: a recording through the whole line into a real QuestDB, each row beside its
reference on its window.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import theilslopes
from statsmodels.robust.norms import HuberT
from statsmodels.tsa.stattools import adfuller, coint
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from flows.database.connection import Endpoint
from operators.columns import Floats
from tests.conftest import emptied
from tests.line import configure, pairflow, rows, tables

METHODS = ("ols", "kalman", "huber", "theil_sen", "tls")
WINDOW, ZSCORE = 120, 60  # of the 1s bars, as configured
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, recording: Path, questdb: Endpoint) -> dict[str, str]:
    """The tables after a replay with every method."""
    home = configure(tmp_path_factory.mktemp("methods") / "home", emptied(questdb))
    text = (home / "pipeline.yaml").read_text()
    assert text.count("hedge: {window") == 1
    (home / "pipeline.yaml").write_text(
        text.replace("hedge: {window", f"hedge: {{method: [{', '.join(METHODS)}], window")
    )
    pairflow(home, "replay", str(recording))
    return tables(home)


@pytest.fixture(scope="module")
def legs(found: dict[str, str]) -> tuple[list[str], Floats, Floats]:
    """Times that both legs have a 1s bar of, and the logarithms of their closes, from the database itself."""
    closes = [
        {bar["ts"]: float(bar["close"]) for bar in rows(found["bars"], symbol=s, timeframe="1s")}
        for s in ("ETHUSDT", "BTCUSDT")
    ]
    common = sorted(closes[0].keys() & closes[1].keys())
    y, x = (np.log([of[ts] for ts in common]) for of in closes)
    return common, y, x


@pytest.fixture(scope="module")
def signals(found: dict[str, str]) -> dict[str, Rows]:
    """Rows at 1s by method, in order of time."""
    by_method: dict[str, Rows] = defaultdict(list)
    for row in rows(found["signals"], timeframe="1s"):
        by_method[row["method"]].append(row)
    return by_method


def numbers(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name] or "nan") for name in names]


def test_every_bar_has_a_row_of_each_method(
    signals: dict[str, Rows], legs: tuple[list[str], Floats, Floats], found: dict[str, str]
) -> None:
    assert set(signals) == set(METHODS)
    for method in METHODS:
        assert [row["ts"] for row in signals[method]] == legs[0]
        assert all(row["hedge_ratio"] == row["zscore"] == "" for row in signals[method][: WINDOW - 1])
        assert all(row["hedge_ratio"] and row["zscore"] for row in signals[method][WINDOW - 1 :])
    minutes = rows(found["signals"], timeframe="1m")
    assert {(row["ts"], row["method"]) for row in minutes} == {
        (row["ts"], m) for row in minutes for m in METHODS
    }


def fits(method: str, ys: Floats, xs: Floats) -> list[float]:
    """Hedge ratio, intercept and, where there is a reference of it, standard error."""
    level_y, level_x = ys.mean(), xs.mean()
    design = sm.add_constant(xs - level_x)
    match method:
        case "ols":
            fit = sm.OLS(ys - level_y, design).fit()
        case "huber":
            fit = sm.RLM(ys - level_y, design, M=HuberT()).fit(maxiter=5_000, tol=1e-14, conv="coefs")
        case "theil_sen":
            slope, intercept, *_ = theilslopes(ys, xs)
            return [slope, intercept, np.nan]
        case _:
            axis = np.linalg.svd(np.stack((xs - level_x, ys - level_y)), full_matrices=False)[0][:, 0]
            return [axis[1] / axis[0], level_y - axis[1] / axis[0] * level_x, np.nan]
    return [fit.params[1], fit.params[0] + level_y - fit.params[1] * level_x, fit.bse[1]]


@pytest.mark.parametrize("method", ["ols", "huber", "theil_sen", "tls"])
def test_a_row_is_the_reference_fit_on_its_window(
    method: str, signals: dict[str, Rows], legs: tuple[list[str], Floats, Floats]
) -> None:
    _, y, x = legs
    for k in range(WINDOW - 1, len(y), 1 if method in ("ols", "tls") else 5):
        expected = fits(method, y[k - WINDOW + 1 : k + 1], x[k - WINDOW + 1 : k + 1])
        got = numbers(signals[method][k], "hedge_ratio", "intercept", "hedge_ratio_se")
        np.testing.assert_allclose(got[:2], expected[:2], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(got[2], expected[2], rtol=1e-6)
        assert signals[method][k]["innovation_z"] == ""


def test_the_filter_is_the_textbook_recursion(
    signals: dict[str, Rows], legs: tuple[list[str], Floats, Floats]
) -> None:
    _, y, x = legs
    first_y, first_x = y[:WINDOW], x[:WINDOW]
    level_y, level_x = first_y.mean(), first_x.mean()
    fit = sm.OLS(first_y - level_y, sm.add_constant(first_x - level_x)).fit()
    state, covariance, noise = fit.params, fit.cov_params(), fit.mse_resid
    wander = (2 / WINDOW) ** 2 * np.diag([noise, noise / first_x.var(ddof=1)])
    for k in range(WINDOW - 1, len(y)):
        z = np.nan
        if k >= WINDOW:
            covariance = covariance + wander
            design = np.array([1.0, x[k] - level_x])
            variance = design @ covariance @ design + noise
            innovation = y[k] - level_y - design @ state
            gain = covariance @ design / variance
            state, covariance, z = (
                state + gain * innovation,
                covariance - np.outer(gain, design @ covariance),
                innovation / np.sqrt(variance),
            )
        intercept = level_y + state[0] - state[1] * level_x
        got = numbers(signals["kalman"][k], "hedge_ratio", "intercept", "hedge_ratio_se", "innovation_z")
        np.testing.assert_allclose(
            got, [state[1], intercept, np.sqrt(covariance[1, 1]), z], rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("method", METHODS)
def test_the_z_score_is_that_of_the_window_with_the_methods_hedge_ratio(
    method: str, signals: dict[str, Rows], legs: tuple[list[str], Floats, Floats]
) -> None:
    _, y, x = legs
    for k in range(WINDOW - 1, len(y)):
        beta, *got = numbers(
            signals[method][k], "hedge_ratio", "spread", "spread_mean", "spread_std", "deviation", "zscore"
        )
        spread = y[k - ZSCORE + 1 : k + 1] - beta * x[k - ZSCORE + 1 : k + 1]
        deviation, std = spread[-1] - spread.mean(), spread.std(ddof=1)
        np.testing.assert_allclose(
            got[:4], [spread[-1], spread.mean(), std, deviation], rtol=1e-8, atol=1e-11
        )
        np.testing.assert_allclose(got[4], deviation / std, rtol=1e-7, atol=1e-7)


def test_every_methods_spread_is_tested_and_the_pair_itself_with_ols(
    found: dict[str, str], signals: dict[str, Rows], legs: tuple[list[str], Floats, Floats]
) -> None:
    common, y, x = legs
    tested = [row for row in rows(found["cointegration"], timeframe="1s") if row["adf_stat"]]
    times = {row["ts"] for row in tested}
    assert len(times) >= 10 and {(row["ts"], row["method"]) for row in tested} == {
        (ts, m) for ts in times for m in METHODS
    }
    of_ols = (
        "coint_stat",
        "coint_pvalue",
        "coint_pvalue_reversed",
        "johansen_trace",
        "johansen_max_eig",
        "shin_stat",
    )
    for row in tested:
        k = common.index(row["ts"])
        ys, xs = (leg[k - WINDOW + 1 : k + 1] - leg[k - WINDOW + 1 : k + 1].mean() for leg in (y, x))
        stat, pvalue, lags, *_ = adfuller(
            ys - float(signals[row["method"]][k]["hedge_ratio"]) * xs, autolag="AIC", result_object=False
        )
        np.testing.assert_allclose(
            numbers(row, "adf_stat", "adf_pvalue", "adf_lags"), [stat, pvalue, lags], atol=1e-7
        )
        if row["method"] != "ols":
            assert all(row[name] == "" for name in of_ols) and row["stationary"] == "false"
            continue
        both = coint_johansen(np.stack((ys, xs), axis=1), 0, 1)
        expected = [*coint(ys, xs)[:2], coint(xs, ys)[1], both.lr1[0], both.lr2[0]]
        np.testing.assert_allclose(numbers(row, *of_ols[:-1]), expected, rtol=1e-6, atol=1e-8)
        assert 0 < float(row["shin_stat"]) < 100 and float(row["variance_ratio"]) > 0


def test_every_alert_carries_the_newest_pvalue_before_it(found: dict[str, str]) -> None:
    tests = rows(found["cointegration"], timeframe="1s", method="ols")
    alerts = rows(found["alerts"], timeframe="1s")
    assert len(alerts) > 10
    for alert in alerts:
        bar = str(np.datetime64(alert["ts"][:-1], "us") - np.timedelta64(1, "s"))
        known = [test["coint_pvalue"] for test in tests if test["ts"][:-1] <= bar]
        assert alert["coint_pvalue"] == (known[-1] if known else "")
    assert any(alert["coint_pvalue"] for alert in alerts)


def test_every_alert_carries_the_edge_that_the_first_method_has_on_its_bar(
    found: dict[str, str], signals: dict[str, Rows]
) -> None:
    edges = {row["ts"]: row["edge_bps"] for row in signals[METHODS[0]]}
    alerts = rows(found["alerts"], timeframe="1s")
    assert len(alerts) > 10
    for alert in alerts:
        bar = np.datetime64(alert["ts"][:-1], "us") - np.timedelta64(1, "s")
        assert alert["edge_bps"] == edges[f"{bar}Z"]
    assert len({alert["edge_bps"] for alert in alerts} - {""}) > 10
