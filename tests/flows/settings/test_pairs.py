"""Pairs: what is built in, the defaults, what a pair itself sets, and the options of its methods."""

import random

import pytest
from statsmodels.tsa.stattools import adfuller

from flows.errors import UserError
from flows.settings.fingerprint import settings_fingerprint
from flows.settings.model import Window
from flows.settings.pairs import BUILT_IN
from flows.steps import pair_specs
from operators.methods import METHODS, OPTIONS, Method, Option
from tests.flows.settings.examples import SHORTEST, of


def test_a_pair_overrides_key_by_key_and_a_window_as_a_whole() -> None:
    text = (
        "defaults: {hedge: {window: 500}, correlation: {of: prices}}\n"
        "pairs: [{legs: [A1, B1], timeframes: [1m, 5s], prices: raw, %s}]"
    )
    pair = of(
        text
        % "zscore: {window: {5s: 60, 1m: 40}}, correlation: {window: 9}, adf: {window: 50, every: 2, lags: 3}"
    ).pairs[0]
    assert (pair.prices, pair.methods, pair.correlation_of, pair.adf_lags) == ("raw", ("ols",), "prices", 3)
    assert pair.windows == (
        Window(timeframe="5s", hedge=500, zscore=60, correlation=9, adf=50, adf_every=2),
        Window(timeframe="1m", hedge=500, zscore=40, correlation=9, adf=50, adf_every=2),
    )


def test_without_1s_and_1m_among_the_bars_the_default_timeframes_are_what_is_left() -> None:
    windows = of("bars: {timeframes: [1m, 5m]}\n" + SHORTEST).pairs[0].windows
    assert [window.timeframe for window in windows] == ["1m"]


def test_every_method_and_both_criteria_are_taken() -> None:
    text = (
        "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [tls, theil_sen, huber, kalman, ols]}, "
        "adf: {lags: bic}}]\n"
    )
    settings = of(text + "alerts: [{name: lost, metric: broken, above: 3, exit: 0}]")
    assert (settings.pairs[0].methods, settings.pairs[0].adf_lags) == (
        ("tls", "theil_sen", "huber", "kalman", "ols"),
        "bic",
    )
    assert [(alert.metric, alert.threshold, alert.exit) for alert in settings.alerts] == [
        ("broken", 3.0, 0.0)
    ]
    raw = of(
        "pairs: [{legs: [BTCUSDT, ETHUSDT], prices: raw, hedge: {method: [ols, kalman, huber, theil_sen]}}]"
    )
    assert raw.pairs[0].methods == ("ols", "kalman", "huber", "theil_sen")


@pytest.fixture
def smoother(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method with options, as an addition to operators/methods.py would declare them."""
    options = Option("pace", int, 2, 100, 10, "bars"), Option("share", float, 0.5, 1.0, 0.75, "of 1")
    method = Method("smoother", "hedge_ratio.rolling_ols", "", "", "", "", options=options)
    monkeypatch.setitem(METHODS, "smoother", method)
    for option in options:
        monkeypatch.setitem(OPTIONS, option.name, (method, option))
        monkeypatch.setitem(BUILT_IN["hedge"], option.name, option.default)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_method_is_taken_with_its_options_and_refused_beyond_them(method: Method) -> None:
    text = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: %s%s}}]"
    (pair,) = of(text % (method.name, "")).pairs
    assert pair.methods == (method.name,)
    assert pair.windows[0].options == {option.name: option.default for option in method.options}
    for option in method.options:
        assert (
            of(text % (method.name, f", {option.name}: {option.most}"))
            .pairs[0]
            .windows[0]
            .options[option.name]
            == option.most
        )
        for wrong in (option.least - 1, option.most + 1):
            with pytest.raises(UserError, match=rf"pairs\[0\]\.hedge\.{option.name}: expected "):
                of(text % (method.name, f", {option.name}: {wrong}"))


SMOOTHER = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [ols, smoother]%s}}, [BTCUSDT, SOLUSDT]]\n"


@pytest.mark.usefixtures("smoother")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SMOOTHER % "", [(10, 0.75), (10, 0.75)]),
        (SMOOTHER % ", pace: 20, share: 1", [(20, 1.0), (20, 1.0)]),
        (SMOOTHER % ", pace: {1m: 3, 1s: 2}", [(2, 0.75), (3, 0.75)]),
        (
            "defaults: {hedge: {pace: {1s: 5, 1m: 6, 5m: 7}, share: 0.5}}\n" + SMOOTHER % ", share: 0.6",
            [(5, 0.6), (6, 0.6)],
        ),
    ],
)
def test_options_of_a_method_belong_to_the_pairs_that_use_it_for_each_timeframe(
    text: str, found: list[tuple[float, float]]
) -> None:
    settings = of(text)
    assert [tuple(window.options.values()) for window in settings.pairs[0].windows] == found
    assert [window.options for window in settings.pairs[1].windows] == [{}, {}]
    fingerprint = settings_fingerprint(settings)["pairs"]
    assert fingerprint["BTCUSDT-ETHUSDT"]["hedge"]["pace"] == {"1s": found[0][0], "1m": found[1][0]}
    assert fingerprint["BTCUSDT-SOLUSDT"]["hedge"].keys() == {"method", "window"}
    assert [spec.options for spec in pair_specs(settings, "1m")] == [
        dict(zip(("pace", "share"), found[1], strict=True)),
        {},
    ]


@pytest.mark.usefixtures("smoother")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SMOOTHER % ", pace: 1", "pairs[0].hedge.pace: expected an integer ≥ 2, got 1"),
        (SMOOTHER % ", pace: 2.5", "pairs[0].hedge.pace: expected an integer ≥ 2, got 2.5"),
        (SMOOTHER % ", share: 2", "pairs[0].hedge.share: expected a number from 0.5 to 1, got 2"),
        (
            SMOOTHER % ", share: {1s: 0.5, 1m: no}",
            "pairs[0].hedge.share.1m: expected a number from 0.5 to 1, got 'no'",
        ),
        (
            SMOOTHER % ", pace: {}",
            "pairs[0].hedge.pace: expected a number, or one per timeframe, got a mapping",
        ),
        (
            SMOOTHER % ", pace: {1s: 5}",
            "pairs[0].hedge.pace: nothing for 1m: expected a number, or one each for 1s, 1m; got 1s",
        ),
        (
            SMOOTHER % ", pace: {1s: 5, 1m: 5, 5m: 5}",
            "pairs[0].hedge.pace: 5m is no timeframe of this pair (1s, 1m)",
        ),
        (
            "defaults: {hedge: {pace: {1d: 5}}}\n" + SHORTEST,
            "defaults.hedge.pace: expected a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or "
            "1m, got '1d'",
        ),
        (
            "defaults: {hedge: {share: 0}}\n" + SHORTEST,
            "defaults.hedge.share: expected a number from 0.5 to 1, got 0",
        ),
        (
            "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {pace: 20}}]",
            "pairs[0].hedge.pace: a setting of smoother, which is not among the methods of this pair: add "
            "it to hedge.method, or remove this",
        ),
    ],
)
def test_an_option_that_is_wrong_or_of_no_use_is_refused_with_one_line(text: str, line: str) -> None:
    with pytest.raises(UserError) as refusal:
        of(text)
    assert str(refusal.value) == f"pipeline.yaml: {line}"


@pytest.mark.parametrize("window", [30, 31, 60, 101])
def test_as_many_lags_are_allowed_as_the_reference_can_fit(window: int) -> None:
    chance, walk = random.Random(2), [0.0]
    while len(walk) < window:
        walk.append(walk[-1] + chance.gauss(0, 1))
    most = window // 2 - 2
    text = "pairs: [{legs: [A1, B1], adf: {window: %d, lags: %d}}]"
    assert of(text % (window, most)).pairs[0].adf_lags == most
    adfuller(walk, maxlag=most, autolag=None, result_object=False)
    with pytest.raises(UserError, match="expected aic, bic or an integer"):
        of(text % (window, most + 1))
    with pytest.raises(ValueError, match="maxlag"):
        adfuller(walk, maxlag=most + 1, autolag=None, result_object=False)
