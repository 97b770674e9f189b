"""The statements of dashboard Overview."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from flows.database.wal import settle
from tests.grafana.rows import Stack, insert, named

PAIRS = named("Overview, panel Pairs, most urgent first, A")


def test_a_pair_is_one_row_with_all_that_is_known_of_it(filled: Stack) -> None:
    (row,) = filled.rows(PAIRS)
    newest = filled.connection.execute(
        "SELECT zscore, edge_bps, ts FROM signals ORDER BY ts DESC LIMIT 1"
    ).fetchone()
    assert newest is not None
    assert (row["Pair"], row["Timeframe"], row["Method"]) == ("BTCUSDT-ETHUSDT", "1m", "ols")
    assert (row["z-score"], row["Edge"]) == newest[:2]
    assert (row["Cointegrated"], row["Tests passed"], row["Half-life"], row["Correlation"]) == (
        "yes",
        0.9,
        4.0,
        0.9,
    )
    assert (row["Alerts"], row["Data"]) == ("1 high", "complete")


def test_a_pair_without_the_chosen_timeframe_is_shown_at_its_longest(filled: Stack) -> None:
    (row,) = filled.rows(PAIRS, timeframe="5s", method="kalman")
    assert (row["Timeframe"], row["Method"], row["z-score"]) == (
        "1m",
        "ols",
        filled.rows(PAIRS)[0]["z-score"],
    )


@pytest.mark.parametrize(
    ("zscore", "edge", "complete", "signal", "strength"),
    [
        (2.5, 10.0, True, "sell BTCUSDT, buy ETHUSDT", "medium"),
        (-3.5, 10.0, True, "buy BTCUSDT, sell ETHUSDT", "strong"),
        (-3.5, -1.0, True, "buy BTCUSDT, sell ETHUSDT", "weak"),
        (3.5, 10.0, False, "sell BTCUSDT, buy ETHUSDT", "weak"),
        (1.9, 10.0, True, "wait: |z| < 2", "none"),
        (None, None, True, "window filling", "window filling"),
    ],
)
def test_a_signal_is_as_strong_as_what_speaks_for_it(
    filled: Stack,
    questdb: Any,
    zscore: float | None,
    edge: float | None,
    complete: bool,
    signal: str,
    strength: str,
) -> None:
    row = {"ts": filled.until.timestamp() - 1, "pair": "BTCUSDT-ETHUSDT", "timeframe": "1m", "method": "ols"}
    insert(filled.connection, "signals", [row | {"zscore": zscore, "edge_bps": edge, "complete": complete}])
    settle(questdb)
    (shown,) = filled.rows(PAIRS)
    assert (shown["Signal"], shown["Strength"]) == (signal, strength)
    (shown,) = filled.rows(named("Pair, panel Side, A"))
    assert shown["Side"] == signal + (" (weak)" if strength == "weak" else "")


def test_a_leg_that_has_stopped_trading_is_shown_on_overview_pair_and_alerts_and_makes_a_signal_weak(
    filled: Stack, database: Any
) -> None:
    at = {
        "ts": filled.until.timestamp() - 1,
        "timeframe": "1m",
        "method": "ols",
        "complete": True,
        "stale": True,
    }
    insert(filled.connection, "signals", [at | {"pair": "BTCUSDT-ETHUSDT", "zscore": -3.5, "edge_bps": 10.0}])
    opened = {
        "rule": "z old",
        "subject": "BTCUSDT-ETHUSDT",
        "priority": "high",
        "metric": "zscore",
        "active": True,
    }
    insert(filled.connection, "alerts", [at | opened | {"episode": int(at["ts"]) * 1_000_000}])
    settle(database)
    (shown,) = filled.rows(PAIRS)
    assert (shown["Data"], shown["Strength"]) == ("stale leg", "weak")
    (shown,) = filled.rows(named("Pair, panel $pair · $timeframe · $method, A"))
    assert shown["Data"] == "stale leg"
    (shown,) = filled.rows(named("Pair, panel Side, A"))
    assert shown["Side"] == "buy BTCUSDT, sell ETHUSDT (weak)"
    assert {row["Rule"]: row["Data"] for row in filled.rows(named("Alerts, panel Open episodes, A"))}[
        "z old"
    ] == "stale"


def test_a_range_that_ends_tonight_is_looked_at_as_of_now(filled: Stack) -> None:
    today = Stack(filled.connection, filled.since, filled.until + timedelta(hours=12), filled.until)
    (row,) = today.rows(PAIRS)
    assert row["Data"] == "complete"


def test_the_line_of_a_pair_is_that_of_the_timeframe_it_is_shown_at(filled: Stack) -> None:
    line = named("Overview, panel Pairs, most urgent first, B")
    shown = filled.rows(line)
    assert len(shown) > 20 and shown[-1]["z"] == filled.rows(PAIRS)[0]["z-score"]
    assert [row["z"] for row in filled.rows(line, timeframe="5s", method="kalman")][-1] == shown[-1]["z"]


def test_a_pair_that_is_held_back_is_shown_as_stale(filled: Stack, questdb: Any) -> None:
    at = filled.until.timestamp() - 1_800
    insert(
        filled.connection,
        "signals",
        [{"ts": at, "pair": "A-B", "timeframe": "1m", "method": "ols", "zscore": 1.5, "complete": True}],
    )
    settle(questdb)
    assert {row["Pair"]: (row["Data"], row["z-score"]) for row in filled.rows(PAIRS)}["A-B"] == (
        "stale",
        1.5,
    )


def test_what_a_stopped_pipeline_has_left_is_shown(filled: Stack) -> None:
    later = Stack(filled.connection, filled.since, filled.until + timedelta(hours=6))
    assert later.rows(PAIRS)[0]["Alerts"] == "1 high"
    assert later.rows(named("Alerts, panel Open episodes, A"))[0]["Rule"] == "z extreme"


def test_the_most_urgent_pair_comes_first(filled: Stack, questdb: Any) -> None:
    at = filled.until.timestamp() - 1
    pairs = [("A-B", 5.0), ("C-D", -6.0), ("E-F", 0.1)]
    insert(
        filled.connection,
        "signals",
        [{"ts": at, "pair": pair, "timeframe": "1m", "method": "ols", "zscore": z} for pair, z in pairs],
    )
    alert = {
        "ts": at,
        "rule": "z high",
        "subject": "E-F",
        "timeframe": "1m",
        "priority": "medium",
        "active": True,
        "episode": int(at),
    }
    insert(filled.connection, "alerts", [alert])
    settle(questdb)
    assert [row["Pair"] for row in filled.rows(PAIRS)] == ["BTCUSDT-ETHUSDT", "E-F", "C-D", "A-B"]


def test_the_correlation_of_the_matrix_is_that_of_the_returns(filled: Stack) -> None:
    shown = {
        (row["symbol"], row["other"]): row["correlation"]
        for row in filled.rows(named("Overview, panel Correlation of returns, A"))
    }
    found = filled.connection.execute(
        "SELECT ts, symbol, log_return FROM activity WHERE ts > (SELECT dateadd('m', -120, max(ts)) FROM "
        "activity) ORDER BY ts"
    ).fetchall()
    y, x = (
        np.array([value for _, symbol, value in found if symbol == each]) for each in ("BTCUSDT", "ETHUSDT")
    )
    assert shown[("BTC", "BTC")] == pytest.approx(1)
    assert shown[("BTC", "ETH")] == pytest.approx(shown[("ETH", "BTC")])
    assert shown[("BTC", "ETH")] == pytest.approx(np.corrcoef(y, x)[0, 1])


def test_a_symbol_shows_its_newest_price_and_what_it_did_in_the_range(filled: Stack) -> None:
    rows = {row["Symbol"]: row for row in filled.rows(named("Overview, panel Symbols, A"))}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        newest, first, turnover = (
            filled.connection.execute(
                f"SELECT {what} FROM bars WHERE symbol = '{symbol}' AND timeframe = '{timeframe}'".encode()
            ).fetchone()
            for what, timeframe in (("last(close)", "1s"), ("first(open)", "1m"), ("sum(quote_volume)", "1m"))
        )
        assert newest and first and turnover
        assert rows[symbol]["Price"] == newest[0]
        assert rows[symbol]["Change"] == pytest.approx(newest[0] / first[0] - 1)
        assert rows[symbol]["Turnover"] == pytest.approx(turnover[0])
