"""The benchmark of the dashboards runs every statement once and says what is slow; how fast they are is no
test's business.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks import dashboards, week
from benchmarks.dashboards import PROMISED_MS, Case, cases, choices, main, tell
from grafana.queries import Query, queries

SOON = timedelta(hours=1)
UNTIL = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.long
def test_a_quick_run_gets_through_every_statement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    printed = capsys.readouterr().out.splitlines()
    statements = {query.where for query in queries()}
    assert all(any(line.endswith(f" {statement}") for line in printed) for statement in statements)
    assert printed[-1].startswith(f"{len(statements)} statements, p95 ")


def case(where: str, ms: float) -> Case:
    return Case(Query(where, "SELECT 1", "table"), {"timeframe": "1s"}, "1h", SOON, [ms] * 6)


@pytest.mark.parametrize(
    ("where", "ms", "quick", "code"),
    [
        ("Pair, panel z-score, A", PROMISED_MS + 1, False, 1),
        ("Pair, panel z-score, A", PROMISED_MS - 1, False, 0),
        ("Pair, panel z-score, A", PROMISED_MS + 1, True, 0),
        ("rule Open gap, A", PROMISED_MS + 1, False, 0),
    ],
)
def test_only_a_slow_panel_fails_the_run(where: str, ms: float, quick: bool, code: int) -> None:
    assert tell([case("Pair, panel Side, A", 1.0), case(where, ms)], quick) == code


def test_the_slowest_statement_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    tell([case("fast", 1.0), case("slow", 3.0), case("middle", 2.0)], False)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:-1]] == [
        "slow",
        "middle",
        "fast",
    ]


def test_a_rule_sees_its_own_range_and_a_panel_all_of_them() -> None:
    spans: dict[str, set[timedelta]] = {}
    for each in cases(dashboards.CHOICE, ("15m", "7d")):
        spans.setdefault(each.query.where, set()).add(each.span)
    assert spans["rule Open gap, A"] == {timedelta(days=1)}
    assert all(
        of == {timedelta(minutes=15), timedelta(days=7)}
        for where, of in spans.items()
        if not where.startswith("rule ")
    )


def test_an_unknown_variable_takes_the_first_value_of_its_own_query(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = [
        {"name": "pair", "type": "query", "query": "SELECT pair FROM signals"},
        {
            "name": "rule",
            "type": "query",
            "query": "SELECT rule FROM alerts WHERE subject = ${pair:sqlstring}",
        },
        {"name": "sigma", "type": "custom", "current": {"value": "2"}},
    ]
    monkeypatch.setattr(dashboards, "dashboards", lambda: [{"templating": {"list": variables}}])

    class Connection:
        def execute(self, text: bytes) -> Any:
            assert text.decode() == f"SELECT rule FROM alerts WHERE subject = '{week.PAIRS[0]}'"
            return self

        def fetchall(self) -> list[tuple[str]]:
            return [("z high",), ("z low",)]

    assert choices(Connection(), UNTIL - SOON, UNTIL) == {**dashboards.CHOICE, "rule": "z high", "sigma": "2"}
