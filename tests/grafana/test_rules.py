"""The statements of the alert rules."""

from datetime import timedelta
from typing import Any

from flows.database.wal import settle
from grafana.queries import queries, rules
from tests.grafana.rows import Stack, bar, insert, named, wait

QUERIES = queries()


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
    # If one query of a rule has no rows, Grafana treats the rule as one without data. It matches numbers to
    # alerts by their labels.
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


def test_a_row_of_minutes_ago_is_not_used_and_an_alert_without_rows_is_kept(filled: Stack) -> None:
    for rule in (each for each in rules() if each["title"].startswith("Signal")):
        (span,) = {part["relativeTimeRange"]["from"] for part in rule["data"] if "relativeTimeRange" in part}
        later = Stack(
            filled.connection,
            filled.until + timedelta(seconds=60),
            filled.until + timedelta(seconds=60 + span),
        )
        assert not later.rows(named(f"rule {rule['title']}, A"))
        assert rule["noDataState"] == "KeepLast"  # the pipeline is away, and no alert is over
        assert (
            rule["missing_series_evals_to_resolve"] == 360
        )  # an hour, in which the pair may wait for missing trades


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
    # It is over after a second. The last row is that of a whole minute.
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


def test_the_rule_of_open_gaps_counts_them_by_symbol(filled: Stack) -> None:
    assert filled.rows(named("rule Open gap, A")) == [{"symbol": "ETHUSDT", "gaps": 1}]


def test_the_rule_of_audits_counts_bars_not_fields(filled: Stack) -> None:
    assert filled.rows(named("rule Audit mismatch, A")) == [
        {"symbol": "ETHUSDT", "timeframe": "1m", "bars": 1}
    ]
