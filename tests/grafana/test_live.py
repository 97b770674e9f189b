"""A Grafana with this provisioning: the running one at GRAFANA_URL, or else an installed one.

GRAFANA_USER and GRAFANA_PASSWORD are the login of the running one.
"""

import os

import pytest

from grafana.queries import dashboards, rules
from grafana.tools.api import Grafana
from tests.grafana.answers import query, through, uids
from tests.grafana.installed import HOME, WRITES

RUNS = bool(os.environ.get("GRAFANA_URL"))
pytestmark = pytest.mark.skipif(
    not RUNS and not HOME, reason="neither GRAFANA_URL nor GRAFANA_HOME names a Grafana"
)
DASHBOARDS = dashboards()


def test_the_data_source_answers(grafana: Grafana) -> None:
    status, said = grafana.answer("/api/datasources/uid/questdb/health")
    assert (status, said["status"]) == (200, "OK"), said
    assert grafana.answer("/api/datasources/uid/questdb")[1]["readOnly"] is True


def test_the_dashboards_are_the_files(grafana: Grafana) -> None:
    for board in DASHBOARDS:
        status, found = grafana.answer(f"/api/dashboards/uid/{board['uid']}")
        assert status == 200
        assert found["meta"]["provisioned"] is True
        assert found["meta"]["folderTitle"] == "Pairflow"
        assert [panel["title"] for panel in found["dashboard"]["panels"]] == [
            panel["title"] for panel in board["panels"]
        ]


def test_the_rules_contact_points_and_policies_are_there(grafana: Grafana) -> None:
    there = {rule["uid"] for rule in grafana.answer("/api/v1/provisioning/alert-rules")[1]}
    assert {rule["uid"] for rule in rules()} <= there
    assert "pairflow" in {point["name"] for point in grafana.answer("/api/v1/provisioning/contact-points")[1]}
    assert grafana.answer("/api/v1/provisioning/policies")[1]["receiver"] == "pairflow"


def test_rules_and_dashboards_share_one_folder(grafana: Grafana) -> None:
    assert [folder["title"] for folder in grafana.answer("/api/folders")[1]].count("Pairflow") == 1


def test_every_statement_answers_through_grafana(grafana: Grafana) -> None:
    for where, status, said in through(
        grafana, {"symbol": "BTCUSDT", "pair": "BTCUSDT-ETHUSDT", "timeframe": "1m", "method": "ols"}
    ):
        assert status == 200, (where, said)


def test_every_rule_is_evaluated_without_error(grafana: Grafana) -> None:
    groups = grafana.answer("/api/prometheus/grafana/api/v1/rules")[1]["data"]["groups"]
    ours = {rule["name"]: rule for group in groups if group["file"] == "Pairflow" for rule in group["rules"]}
    assert len(ours) == len(rules())
    errors = {name: rule["lastError"] for name, rule in ours.items() if rule.get("health") == "error"}
    assert not errors


def test_a_reload_changes_no_uid(grafana: Grafana) -> None:
    before = uids(grafana)
    for _ in range(2):
        for part in ("datasources", "dashboards", "alerting"):
            status, said = grafana.answer(f"/api/admin/provisioning/{part}/reload", method="POST")
            assert status in {200, 202}, (part, said)
        assert uids(grafana) == before


@pytest.mark.skipif(
    RUNS and not os.environ.get("QDB_PG_READONLY_PASSWORD"),
    reason="this Grafana may connect as a user who may write",
)
@pytest.mark.parametrize("statement", WRITES)
def test_the_data_source_can_only_read(grafana: Grafana, statement: str) -> None:
    status, said = query(grafana, statement)
    assert status >= 400, said
