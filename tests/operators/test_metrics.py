"""The registry of metrics: each is a column, has thresholds that make sense, and a row in the documentation."""

from dataclasses import fields
from pathlib import Path

import pytest

from operators.activity import Activity
from operators.columns import Bars
from operators.methods import METHODS
from operators.metrics import ACTIVITY, BARS, METRICS, PAIR, SIGNALS, SYMBOL, TESTS, Level, Metric
from operators.results import Cointegration, Signals

ROOT = Path(__file__).parents[2]
STRUCTS = {PAIR: {SIGNALS: Signals, TESTS: Cointegration}, SYMBOL: {ACTIVITY: Activity, BARS: Bars}}
EACH = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))


@EACH
def test_a_metric_is_a_column_of_what_is_measured_on_its_subject(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert metric.column in {column.name for column in fields(STRUCTS[metric.subject][metric.table])}
    assert not metric.method or (metric.method in METHODS and metric.subject == PAIR)


@EACH
def test_what_only_a_pair_has_is_asked_of_pairs_only(metric: Metric) -> None:
    of_pairs = metric.not_while_stale, metric.says_which_leg, metric.strict_when_high, metric.tested
    assert metric.subject == PAIR or not any(of_pairs)
    assert not (metric.signed and metric.only_above)


@EACH
def test_a_metric_has_its_row_in_the_documentation(metric: Metric) -> None:
    waits = "the next test" if metric.tested else "the next bar"
    needs = metric.complete + (", no stale leg" if metric.not_while_stale else "")
    cells = (
        f"`{metric.name}`",
        metric.subject,
        metric.unit,
        ", ".join(metric.sides),
        metric.level.what,
        waits,
        needs,
        metric.meaning,
    )
    assert f"\n| {' | '.join(cells)} |\n" in (ROOT / "docs/statistics.md").read_text(encoding="utf-8")


def test_the_documentation_has_no_metric_that_is_not_there() -> None:
    section = (
        (ROOT / "docs/statistics.md").read_text(encoding="utf-8").split("## Alerts\n")[1].split("\n## ")[0]
    )
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == list(METRICS)


def test_the_example_lists_the_metrics_of_pairs_and_those_of_symbols() -> None:
    text = (ROOT / "pipeline.yaml").read_text(encoding="utf-8")
    for subject in (PAIR, SYMBOL):
        words = ", ".join(metric.name for metric in METRICS.values() if metric.subject == subject)
        assert f"{words} (of {subject}s)" in text


@pytest.mark.parametrize(
    ("level", "accepted", "refused"),
    [
        (Level("any"), [-1e300, 0.0, 1e300], [float("inf"), float("-inf"), float("nan")]),
        (Level("within", -1.0, 1.0), [-0.999, 0.999], [-1.0, 1.0]),
        (Level("from zero", 0.0, closed=True), [0.0, 1.0], [-1e-9]),
    ],
)
def test_a_level_accepts_what_lies_within(level: Level, accepted: list[float], refused: list[float]) -> None:
    assert all(map(level.accepts, accepted)) and not any(map(level.accepts, refused))
