"""Every statement of the dashboards and rules, on a real QuestDB: with rows, and with none."""

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from flows.database.wal import settle
from grafana.queries import Query, queries, rules
from tests.grafana.rows import HOSTILE, Stack, bar, insert

QUERIES = queries()
EVERY = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)

# These answer even from empty tables: a count, a state.
ALWAYS = {
    "Alerts, panel Episodes in this range, A",
    "Alerts, panel Open now, A",
    "Alerts, panel Open now, B",
    "Data health, panel Now, A",
    "Data health, panel Now, B",
    "Data health, panel In this range, A",
    "Data health, panel In this range, B",
    "Data health, panel In this range, C",
    "Data health, panel In this range, D",
    "Data health, panel Tables, A",
    "Data health, panel Tables, B",
    "Market, panel $symbol, A",
    "Overview, panel Now, A",
    "Overview, panel Now, B",
    "Overview, panel Now, C",
    "Overview, panel Now, D",
    "Pair, variable x",
    "Pair, variable y",
    "rule Table suspended, A",
}


def test_statements_are_found() -> None:
    assert len(QUERIES) > 30


def test_every_statement_answers_with_rows(filled: Stack) -> None:
    silent = {query.where for query in QUERIES if not filled.rows(query)}
    assert not silent


def test_every_statement_survives_empty_tables(empty: Stack) -> None:
    answered = {query.where for query in QUERIES if empty.rows(query)}
    assert answered == ALWAYS


def test_every_statement_survives_variables_without_a_value(filled: Stack) -> None:
    for query in QUERIES:  # as in a range of time that has no rows
        filled.rows(query, symbol="", pair="", method="", timeframe="")


def test_every_time_series_has_a_time_and_numbers_in_order_of_time(filled: Stack) -> None:
    for query in (each for each in QUERIES if each.shape == "time_series"):
        rows = filled.rows(query)
        times = [row.pop("time") for row in rows]
        assert times == sorted(times), query.where
        for row in rows:
            values = [value for value in row.values() if not isinstance(value, str)]  # the others are labels
            assert values and all(value is None or isinstance(value, int | float) for value in values), (
                query.where
            )


def test_every_statement_is_harmless_to_a_hostile_name(filled: Stack) -> None:
    # these are parts of the name
    for query in (each for each in QUERIES if each.where not in ("Pair, variable y", "Pair, variable x")):
        rows = rows_of_trade(filled.rows(query, symbol=HOSTILE, pair=HOSTILE, method=HOSTILE))
        if {"${symbol:sqlstring}", "${pair:sqlstring}"} & set(re.findall(r"\$\{\w+:sqlstring\}", query.text)):
            assert not rows, query.where
        else:
            assert len(rows) <= len(filled.rows(query)), query.where


def rows_of_trade(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that say something: a statistic of no rows is a row of NULLs."""
    return [row for row in rows if any(value is not None for value in row.values())]


@EVERY
def test_a_variable_reaches_sql_only_quoted(query: Query) -> None:
    bare = re.findall(
        r"\$(?!__timeFilter\(ts\)|__timeFrom\(\)|__timeTo\(\)|__interval(?:_ms)?\b|\{\w+:sqlstring\})\w*",
        query.text,
    )
    assert not bare


def named(where: str) -> Any:
    return next(query for query in QUERIES if query.where == where)


def test_the_last_candle_is_the_one_in_progress(filled: Stack) -> None:
    candles = filled.rows(named("Market, panel $symbol · $timeframe, A"))
    closed = filled.connection.execute(
        "SELECT max(ts), count() FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m'"
    ).fetchone()
    seconds = filled.connection.execute(
        "SELECT first(open), max(high), min(low), last(close), sum(volume) FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1s'"
    ).fetchone()
    assert closed is not None
    assert len(candles) == closed[1] + 1
    last = candles[-1]
    assert (last["time"] - closed[0]).total_seconds() == 60
    assert (last["open"], last["high"], last["low"], last["close"], last["volume"]) == seconds


def test_a_symbol_without_a_closed_candle_yet_has_the_one_in_progress(filled: Stack) -> None:
    candles = filled.rows(named("Market, panel $symbol · $timeframe, A"), timeframe="5m")
    assert [candle["volume"] for candle in candles][-1] > 0
    assert sum(candle["volume"] for candle in candles) == 40  # 20 seconds of 2


@pytest.mark.parametrize("prices", ["log", "raw"])
def test_the_deviation_is_in_basis_points_whatever_prices_the_pair_uses(filled: Stack, prices: str) -> None:
    query = named("Pair, panel Deviation of the spread, A")
    if prices == "log":
        last = filled.connection.execute(
            "SELECT deviation, spread_std FROM signals ORDER BY ts DESC LIMIT 1"
        ).fetchone()
        assert last is not None
        shown = filled.rows(query)[-1]
        assert shown["Deviation"] == pytest.approx(1e4 * last[0])
        assert shown["+3σ"] == pytest.approx(3e4 * last[1])
    else:
        filled.connection.execute(
            "INSERT INTO signals (ts, pair, timeframe, method, hedge_ratio, spread, spread_std, deviation) "
            "SELECT y.ts, 'BTCUSDT-ETHUSDT', '1m', 'tls', 20.0, y.close - 20.0 * x.close, 10.0, 30.0 "
            "FROM (SELECT ts, close FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m') y "
            "JOIN (SELECT ts, close FROM bars WHERE symbol = 'ETHUSDT' AND timeframe = '1m') x ON x.ts = y.ts"
        )
        wait(filled, "signals", "method = 'tls'")
        close = filled.connection.execute(
            "SELECT close FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m' ORDER BY ts DESC LIMIT 1"
        ).fetchone()
        assert close is not None
        assert filled.rows(query, method="tls")[-1]["Deviation"] == pytest.approx(30 / close[0] * 1e4)


def wait(stack: Stack, table: str, where: str) -> None:
    for _ in range(10_000):
        counted = stack.connection.execute(f"SELECT count() FROM {table} WHERE {where}".encode()).fetchone()
        if counted and counted[0]:
            return
    raise AssertionError(f"no row of {table} where {where}")


def test_both_legs_start_at_nought(filled: Stack) -> None:
    rows = filled.rows(named("Pair, panel Both legs, rebased, A"))
    firsts = {row["metric"]: row["change"] for row in reversed(rows)}
    assert firsts == {"BTCUSDT": 0, "ETHUSDT": 0}


def test_an_episode_is_one_region_that_ends_where_its_rule_ends(filled: Stack) -> None:
    regions = filled.rows(named("Pair, annotation Other alerts"))
    assert {
        (region["title"], (region["timeend"] - region["time"]).total_seconds()) for region in regions
    } == {
        ("z high", 600),
        ("z low", 600),
    }
    assert len(filled.rows(named("Pair, annotation High alerts"))) == 1
    states = {
        row["Rule"]: row["State"] for row in filled.rows(named("Pair, panel Alert episodes of $pair, A"))
    }
    assert states == {"z high": "over", "z low": "over", "z extreme": "open"}


@pytest.mark.parametrize(
    ("side", "threshold", "values", "furthest"),
    [
        ("below", 0.5, (0.45, 0.4, 0.52), 0.4),
        ("above", 2.0, (1.8, 2.9, 3.4, 0.9), 3.4),  # its opening lies before the range
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


def test_a_rule_has_one_row_per_subject_with_one_number_and_no_time(filled: Stack) -> None:
    for query in (each for each in QUERIES if each.where.startswith("rule ")):
        labels = set()
        for row in filled.rows(query):
            (number,) = [value for value in row.values() if not isinstance(value, str)]
            assert number is None or isinstance(number, int | float), query.where
            label = tuple(value for value in row.values() if isinstance(value, str))
            assert label not in labels, query.where
            labels.add(label)


def test_every_query_of_a_signal_rule_has_the_same_subjects(filled: Stack) -> None:
    # Grafana takes a rule of which one query has no rows for one without data, and matches numbers to alerts
    # by their labels.
    at = int(filled.until.timestamp()) // 60 * 60
    unknown = {
        "ts": at,
        "rule": "btc",
        "subject": "BTCUSDT",
        "timeframe": "1m",
        "priority": "low",
        "metric": "price",
        "active": True,
    }
    insert(filled.connection, "alerts", [unknown])
    wait(filled, "alerts", "rule = 'btc'")
    for priority in ("high", "medium", "low"):
        found = [
            {
                tuple(
                    value for name, value in row.items() if name in ("rule", "subject", "timeframe", "metric")
                )
                for row in filled.rows(query)
            }
            for query in QUERIES
            if query.where.startswith(f"rule Signal, {priority} priority")
        ]
        assert len(found) == 9
        assert found[0] and all(subjects == found[0] for subjects in found)


def test_the_rule_of_a_priority_says_active_while_the_episode_lasts(filled: Stack) -> None:
    high = filled.rows(named("rule Signal, high priority, A"))
    assert [(row["rule"], row["firing"]) for row in high] == [("z extreme", 1)]
    medium = filled.rows(named("rule Signal, medium priority, A"))
    assert {(row["rule"], row["firing"]) for row in medium} == {("z high", 0), ("z low", 0)}


def test_a_row_of_minutes_ago_tells_nothing_and_an_alert_without_rows_is_held(filled: Stack) -> None:
    for rule in (each for each in rules() if each["title"].startswith("Signal")):
        (span,) = {part["relativeTimeRange"]["from"] for part in rule["data"] if "relativeTimeRange" in part}
        later = Stack(
            filled.connection,
            filled.until + timedelta(seconds=60),
            filled.until + timedelta(seconds=60 + span),
        )
        assert not later.rows(named(f"rule {rule['title']}, A"))
        assert rule["noDataState"] == "KeepLast"  # the pipeline is away, and nothing is over
        assert rule["missing_series_evals_to_resolve"] == 360  # an hour: the pair is held back


def test_a_short_episode_is_seen_by_an_evaluation_and_its_opening_is_known_afterwards(
    filled: Stack, questdb: Any
) -> None:
    now = int(filled.until.timestamp())
    row = {
        "rule": "short",
        "subject": "BTCUSDT-ETHUSDT",
        "timeframe": "1s",
        "priority": "high",
        "metric": "zscore",
        "side": "above",
    }
    # over in a second; and then a whole minute
    for ago, active, episode in ((9, True, now - 9), (8, False, now - 9), (5, False, None)):
        at = row | {"ts": now - ago, "active": active, "episode": episode and episode * 1_000_000}
        insert(filled.connection, "alerts", [at])
    settle(questdb)
    for ref, expected in (("A", 1), ("H", now - 9), ("J", 0)):
        found = {
            each["rule"]: list(each.values())[-1]
            for each in filled.rows(named(f"rule Signal, high priority, {ref}"))
        }
        assert found["short"] == expected, ref
    assert {
        each["keepFiringFor"] for each in rules() if each["uid"] in ("pairflow-high", "pairflow-medium")
    } == {"40s"}


def test_a_signal_carries_the_pvalue_and_whether_its_windows_are_complete_and_its_legs_trade(
    filled: Stack,
) -> None:
    for priority in ("high", "medium"):
        subjects = {row["rule"] for row in filled.rows(named(f"rule Signal, {priority} priority, A"))}
        assert subjects
        assert {
            row["rule"]: row["coint_pvalue"]
            for row in filled.rows(named(f"rule Signal, {priority} priority, E"))
        } == dict.fromkeys(subjects, 0.002)
        assert {
            row["rule"]: row["data"] for row in filled.rows(named(f"rule Signal, {priority} priority, F"))
        } == dict.fromkeys(subjects, 1)


def test_the_better_order_of_the_legs_is_named_with_the_pvalue_of_having_tried_both(filled: Stack) -> None:
    query = named("Pair, panel $pair · $timeframe: both orders, Johansen, Shin, A")
    (row,) = filled.rows(query)
    assert (row["Better order"], row["p, both orders"]) == ("y on x", pytest.approx(0.004))
    assert (row["Johansen trace"], row["Johansen max eig"], row["Shin"]) == (25.0, 20.0, 0.1)
    newest = (
        "INSERT INTO cointegration (ts, pair, timeframe, method, coint_pvalue, coint_pvalue_reversed) VALUES "
    )
    at = int(filled.until.timestamp()) - 30
    filled.connection.execute(
        f"{newest}(CAST({at * 1_000_000} AS TIMESTAMP), 'BTCUSDT-ETHUSDT', '1m', 'ols', 0.9, 0.7)".encode()
    )
    wait(filled, "cointegration", "coint_pvalue = 0.9")
    (row,) = filled.rows(query)
    assert (row["Better order"], row["p, both orders"]) == ("x on y", 1.0)
    # it is a property of the pair, so it is shown whatever method is chosen
    assert filled.rows(query, method="kalman") == [row]


def test_how_far_the_hedge_ratio_moved_stands_beside_its_standard_error(filled: Stack) -> None:
    last = int(filled.until.timestamp()) - 40
    insert = "INSERT INTO signals (ts, pair, timeframe, method, hedge_ratio, hedge_ratio_se) VALUES "
    for ago, beta in ((7_200, 9.0), (1_800, 0.5), (0, 1.5)):
        at = f"CAST({(last - ago) * 1_000_000} AS TIMESTAMP)"
        filled.connection.execute(f"{insert}({at}, 'BTCUSDT-ETHUSDT', '1m', 'huber', {beta}, 0.02)".encode())
    wait(filled, "signals", "method = 'huber' AND hedge_ratio = 1.5")
    shown = {row["Method"]: row for row in filled.rows(named("Pair, panel Hedge ratio by method, A"))}
    assert set(shown) == {"ols", "huber"}
    assert (shown["huber"]["β"], shown["huber"]["Standard error"], shown["huber"]["Moved in an hour"]) == (
        1.5,
        0.02,
        1.0,
    )
    assert (shown["ols"]["β"], shown["ols"]["Standard error"], shown["ols"]["Moved in an hour"]) == (
        0.8,
        0.01,
        0.0,
    )


def test_the_freshness_rule_counts_from_when_the_next_bar_of_the_shortest_timeframe_is_due(
    filled: Stack,
) -> None:
    newest = filled.connection.execute("SELECT max(ts) FROM bars WHERE timeframe = '1s'").fetchone()
    assert newest is not None
    (row,) = filled.rows(named("rule No new bars, A"))
    assert row["overdue"] == (filled.until.replace(tzinfo=None) - newest[0]).total_seconds() - 2


def test_the_freshness_rule_says_nothing_before_the_first_bar(empty: Stack) -> None:
    assert empty.rows(named("rule No new bars, A")) == []


def test_bars_of_5m_alone_are_not_overdue_before_the_next_one_is(empty: Stack, database: Any) -> None:
    closed_s = int(empty.until.timestamp()) - 200
    insert(empty.connection, "bars", [bar(closed_s - 300, "BTCUSDT", "5m", 1.0, 2.0)])
    settle(database)
    (row,) = empty.rows(named("rule No new bars, A"))
    assert row["overdue"] == -100


def test_the_health_of_the_range_counts_reconnects_gaps_and_bars_that_differ(filled: Stack) -> None:
    assert filled.rows(named("Data health, panel In this range, A")) == [{"Open gaps": 1, "Unfillable": 0}]
    assert filled.rows(named("Data health, panel In this range, B")) == [{"Reconnects": 20}]
    assert filled.rows(named("Data health, panel In this range, C")) == [{"Bars that differ": 1}]
    assert filled.rows(named("Data health, panel In this range, D")) == [{"Suspended": 0, "Behind": 0}]


def test_a_suspended_table_is_one_in_the_rule_and_on_the_panel_even_if_it_is_health(filled: Stack) -> None:
    rule = named("rule Table suspended, A")
    assert {row["suspended"] for row in filled.rows(rule)} == {0}
    filled.connection.execute("ALTER TABLE health SUSPEND WAL")
    try:
        assert [row["table_name"] for row in filled.rows(rule) if row["suspended"] > 0.5] == ["health"]
        assert filled.rows(named("Data health, panel In this range, D"))[0]["Suspended"] == 1
    finally:
        filled.connection.execute("ALTER TABLE health RESUME WAL")
    assert {row["suspended"] for row in filled.rows(rule)} == {0}


# ---------------------------------------------------------------- Overview and Alerts

PAIRS = "Overview, panel Pairs, most urgent first, A"


def test_a_pair_is_one_row_with_all_that_is_known_of_it(filled: Stack) -> None:
    (row,) = filled.rows(named(PAIRS))
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
    (row,) = filled.rows(named(PAIRS), timeframe="5s", method="kalman")
    assert (row["Timeframe"], row["Method"], row["z-score"]) == (
        "1m",
        "ols",
        filled.rows(named(PAIRS))[0]["z-score"],
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
    (shown,) = filled.rows(named(PAIRS))
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
    (shown,) = filled.rows(named(PAIRS))
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
    (row,) = today.rows(named(PAIRS))
    assert row["Data"] == "complete"


def test_the_line_of_a_pair_is_that_of_the_timeframe_it_is_shown_at(filled: Stack) -> None:
    line = named("Overview, panel Pairs, most urgent first, B")
    shown = filled.rows(line)
    assert len(shown) > 20 and shown[-1]["z"] == filled.rows(named(PAIRS))[0]["z-score"]
    assert [row["z"] for row in filled.rows(line, timeframe="5s", method="kalman")][-1] == shown[-1]["z"]


def test_a_pair_that_is_held_back_is_shown_as_stale(filled: Stack, questdb: Any) -> None:
    at = filled.until.timestamp() - 1_800
    insert(
        filled.connection,
        "signals",
        [{"ts": at, "pair": "A-B", "timeframe": "1m", "method": "ols", "zscore": 1.5, "complete": True}],
    )
    settle(questdb)
    assert {row["Pair"]: (row["Data"], row["z-score"]) for row in filled.rows(named(PAIRS))}["A-B"] == (
        "stale",
        1.5,
    )


def test_what_a_stopped_pipeline_has_left_is_shown(filled: Stack) -> None:
    later = Stack(filled.connection, filled.since, filled.until + timedelta(hours=6))
    assert later.rows(named(PAIRS))[0]["Alerts"] == "1 high"
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
    assert [row["Pair"] for row in filled.rows(named(PAIRS))] == ["BTCUSDT-ETHUSDT", "E-F", "C-D", "A-B"]


def test_the_correlation_of_the_matrix_is_that_of_the_returns(filled: Stack) -> None:
    shown = {
        (row["symbol"], row["other"]): row["correlation"]
        for row in filled.rows(named("Overview, panel Correlation of returns, A"))
    }
    found = filled.connection.execute(
        "SELECT ts, symbol, log_return FROM activity WHERE ts > (SELECT dateadd('m', -120, max(ts)) FROM activity) ORDER BY ts"
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


def test_the_rule_of_open_gaps_counts_them_by_symbol(filled: Stack) -> None:
    assert filled.rows(named("rule Open gap, A")) == [{"symbol": "ETHUSDT", "gaps": 1}]


def test_the_rule_of_audits_counts_bars_not_fields(filled: Stack) -> None:
    assert filled.rows(named("rule Audit mismatch, A")) == [
        {"symbol": "ETHUSDT", "timeframe": "1m", "bars": 1}
    ]
