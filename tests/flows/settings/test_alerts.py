"""Alert rules: the pairs, symbols and timeframes that they watch, and thresholds out of reach."""

import pytest

from flows.settings.alerts import largest_zscore
from tests.flows.settings.examples import SHORTEST, of


@pytest.mark.parametrize(
    ("own", "watched"),
    [
        ("[1s, 1m, 5m]", "1m"),
        ("[1s, 90s, 5m]", "90s"),
        ("[1s, 5m]", "5m"),
        ("[1s, 5s, 30s]", "30s"),
        ("[5s]", "5s"),
    ],
)
def test_a_rule_without_timeframes_watches_the_timeframe_nearest_to_a_minute(own: str, watched: str) -> None:
    alerts = of(
        f"bars: {{timeframes: {own}}}\ndefaults: "
        f"{{timeframes: {own}, hedge: {{window: 99}}, zscore: {{window: 50}}, "
        f"correlation: {{window: 9}}, adf: {{window: 50, every: 1}}}}\n{SHORTEST}"
        "alerts:\n- {name: z, metric: zscore, outside: 2.5}\n- "
        "{name: v, metric: volatility_ratio, above: 2}\n"
        "- {name: p, metric: price, symbol: BTCUSDT, below: 1}\n- "
        "{name: s, metric: staleness, symbol: BTCUSDT, above: 30s, exit: 5}\n"
    ).alerts
    found = {(each.rule, each.timeframe) for each in alerts}
    shortest = own.strip("[]").split(",")[0]
    assert found == {("z", watched), ("v", watched), ("p", shortest), ("s", shortest)}
    stale = alerts[-1]
    assert (stale.threshold, stale.exit) == (30.0, 5.0)  # seconds


def test_a_rule_on_some_pairs_and_timeframes_is_expanded_in_their_order() -> None:
    alerts = of(
        "pairs: [[B1, A1], {legs: [A1, B1], timeframes: [1m]}, [C1, A1]]\n"
        "alerts: [{name: r, metric: correlation, outside: 0.9, timeframes: [1m, 1s], "
        "pairs: [A1-B1, B1-A1], only_stationary: true}]"
    ).alerts
    assert [(each.subject, each.timeframe) for each in alerts] == [
        ("B1-A1", "1s"),
        ("B1-A1", "1m"),
        ("A1-B1", "1m"),
    ]
    assert all(each.only_stationary for each in alerts)


def test_only_z_rules_of_high_priority_wait_for_a_stationary_pair_unless_told_otherwise() -> None:
    rules = (
        "alerts:\n- {name: a, metric: zscore, above: 3, priority: high}\n- "
        "{name: b, metric: zscore, above: 3}\n"
        "- {name: c, metric: zscore, above: 3, priority: high, only_stationary: false}\n"
        "- {name: d, metric: correlation, below: 0, priority: high}\n"
    )
    assert [each.only_stationary for each in of(SHORTEST + rules).alerts] == [True, False, False, False]


def test_a_rule_of_another_kind_needs_no_ols() -> None:
    text = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: kalman}}]\n"
    rules = (
        "alerts: [{name: z, metric: zscore, outside: 3, priority: high, only_stationary: false}, "
        "{name: p, metric: adf_pvalue, below: 0.05}]"
    )
    assert {alert.metric for alert in of(text + rules).alerts} == {"zscore", "adf_pvalue"}


@pytest.mark.parametrize("window", [10, 30, 240])
def test_the_largest_z_is_that_of_a_single_outlier(window: int) -> None:
    flat = [0.0] * (window - 1) + [1.0]
    mean = sum(flat) / window
    std = (sum((value - mean) ** 2 for value in flat) / (window - 1)) ** 0.5
    assert largest_zscore(window) == pytest.approx((flat[-1] - mean) / std, rel=1e-12)
