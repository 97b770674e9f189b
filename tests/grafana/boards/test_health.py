"""The statements of dashboard Data health."""

from tests.grafana.rows import Stack, named


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
