"""The statements of dashboard Alerts."""

from typing import Any

import pytest

from flows.database.wal import settle
from tests.grafana.rows import Stack, insert, named


@pytest.mark.parametrize(
    ("side", "threshold", "values", "furthest"),
    [
        ("below", 0.5, (0.45, 0.4, 0.52), 0.4),
        ("above", 2.0, (1.8, 2.9, 3.4, 0.9), 3.4),  # it opened before the range
        ("above", 2.0, (2.2, 3.4, None), 3.4),
        ("outside", 3.0, (-3.5, -4.0, 0.5), -4.0),
        ("outside", 3.0, (3.5, -2.0, 0.5), 3.5),
    ],
)
def test_an_episode_went_furthest_where_its_side_is(
    filled: Stack,
    questdb: Any,
    side: str,
    threshold: float,
    values: tuple[float | None, ...],
    furthest: float,
) -> None:
    start = int(filled.since.timestamp()) + 3_600
    row = {
        "rule": "mine",
        "subject": "BTCUSDT-ETHUSDT",
        "timeframe": "1m",
        "priority": "low",
        "metric": "zscore",
        "side": side,
    }
    row |= {"threshold": threshold, "active": True, "episode": 1}
    insert(
        filled.connection,
        "alerts",
        [row | {"ts": start + 60 * k, "value": value} for k, value in enumerate(values)],
    )
    settle(questdb)
    for panel in (
        "Pair, panel Alert episodes of $pair, A",
        "Alerts, panel History, A",
        "Alerts, panel How often, how long, how far, A",
    ):
        (shown,) = [each for each in filled.rows(named(panel)) if each["Rule"] == "mine"]
        assert shown["Furthest"] == furthest


def test_open_episodes_and_the_history_say_since_when_how_long_and_how_far(filled: Stack) -> None:
    (row,) = filled.rows(named("Alerts, panel Open episodes, A"))
    assert (row["Rule"], row["Subject"], row["Board"], row["Edge"], row["p-value"]) == (
        "z extreme",
        "BTCUSDT-ETHUSDT",
        "pair",
        12.5,
        0.002,
    )
    history = {row["Rule"]: row for row in filled.rows(named("Alerts, panel History, A"))}
    assert {rule: (each["State"], each["Furthest"]) for rule, each in history.items()} == {
        "z extreme": ("open", 2.5),
        "z high": ("over", 2.5),
        "z low": ("over", -2.5),
    }
    assert history["z high"]["Lasted"] == 600
    often = {
        row["Rule"]: (row["Episodes"], row["Typical"], row["In all"])
        for row in filled.rows(named("Alerts, panel How often, how long, how far, A"))
    }
    assert often["z low"] == (1, 600, 600)
    assert sum(row["opened"] for row in filled.rows(named("Alerts, panel Episodes opened, A"))) == 3
