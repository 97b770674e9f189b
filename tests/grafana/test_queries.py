"""Every statement of the dashboards and rules, on a real QuestDB, with and without rows."""

import re
from typing import Any

import pytest

from grafana.queries import Query, queries
from tests.grafana.rows import HOSTILE, Stack

QUERIES = queries()
EVERY = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)

# These statements return rows even from empty tables: a count, or a state.
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
    for query in QUERIES:  # variables are empty in a time range without rows
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
    # These two return parts of the name.
    for query in (each for each in QUERIES if each.where not in ("Pair, variable y", "Pair, variable x")):
        rows = with_values(filled.rows(query, symbol=HOSTILE, pair=HOSTILE, method=HOSTILE))
        if {"${symbol:sqlstring}", "${pair:sqlstring}"} & set(re.findall(r"\$\{\w+:sqlstring\}", query.text)):
            assert not rows, query.where
        else:
            assert len(rows) <= len(filled.rows(query)), query.where


def with_values(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that have a value. A statistic of no rows is a row of NULLs."""
    return [row for row in rows if any(value is not None for value in row.values())]


@EVERY
def test_a_variable_reaches_sql_only_quoted(query: Query) -> None:
    bare = re.findall(
        r"\$(?!__timeFilter\(ts\)|__timeFrom\(\)|__timeTo\(\)|__interval(?:_ms)?\b|\{\w+:sqlstring\})\w*",
        query.text,
    )
    assert not bare
