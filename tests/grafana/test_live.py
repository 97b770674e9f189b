"""A running Grafana with this provisioning: GRAFANA_URL names it, GRAFANA_USER and GRAFANA_PASSWORD let in (admin, admin)."""

import base64
import http.client
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

URL = os.environ.get("GRAFANA_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="GRAFANA_URL names no running Grafana")
GRAFANA = Path(__file__).parents[2] / "grafana"
DASHBOARDS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]


def answer(path: str, body: Any = None, authorised: bool = True) -> tuple[int, Any]:
    """Status and decoded answer of GET, or of POST with a body."""
    parts = urlsplit(URL)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    user = f"{os.environ.get('GRAFANA_USER', 'admin')}:{os.environ.get('GRAFANA_PASSWORD', 'admin')}"
    headers = {"Content-Type": "application/json"}
    if authorised:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    method = "GET" if body is None else "POST"
    try:
        connection.request(method, parts.path + path, None if body is None else json.dumps(body), headers)
        got = connection.getresponse()
        text = got.read()
        return got.status, json.loads(text) if text else None
    finally:
        connection.close()


def test_the_data_source_answers() -> None:
    status, said = answer("/api/datasources/uid/questdb/health")
    assert (status, said["status"]) == (200, "OK"), said
    assert answer("/api/datasources/uid/questdb")[1]["readOnly"] is True


def test_the_dashboards_are_the_files() -> None:
    for board in DASHBOARDS:
        status, found = answer(f"/api/dashboards/uid/{board['uid']}")
        assert status == 200
        assert found["meta"]["provisioned"] is True
        assert found["meta"]["folderTitle"] == "Pairflow"
        assert [panel["title"] for panel in found["dashboard"]["panels"]] == [panel["title"] for panel in board["panels"]]


def test_the_rules_contact_points_and_policies_are_there() -> None:
    rules = {rule["uid"] for rule in answer("/api/v1/provisioning/alert-rules")[1]}
    assert {"pairflow-high", "pairflow-medium", "pairflow-low"} <= rules
    assert {"pairflow-stale", "pairflow-suspended", "pairflow-gap", "pairflow-audit"} <= rules
    assert "pairflow" in {point["name"] for point in answer("/api/v1/provisioning/contact-points")[1]}
    assert answer("/api/v1/provisioning/policies")[1]["receiver"] == "pairflow"


def test_every_rule_is_evaluated_without_error() -> None:
    groups = answer("/api/prometheus/grafana/api/v1/rules")[1]["data"]["groups"]
    ours = {rule["name"]: rule for group in groups if group["file"] == "Pairflow" for rule in group["rules"]}
    assert ours
    errors = {name: rule["lastError"] for name, rule in ours.items() if rule.get("health") == "error"}
    assert not errors


def test_rules_and_dashboards_share_one_folder() -> None:
    assert [folder["title"] for folder in answer("/api/folders")[1]].count("Pairflow") == 1


def test_every_panel_query_answers_through_grafana() -> None:
    choice = {"symbol": "BTCUSDT", "pair": "BTCUSDT-ETHUSDT", "timeframe": "1m", "method": "ols"}
    for board in DASHBOARDS:
        targets = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
        targets += [(each["name"], each["target"]) for each in board["annotations"]["list"]]
        for title, target in targets:
            text = re.sub(r"\$\{(\w+):sqlstring\}", lambda match: f"'{choice[match[1]]}'", target["rawSql"])
            query = target | {"rawSql": text, "intervalMs": 60_000, "maxDataPoints": 500}
            status, said = answer("/api/ds/query", {"queries": [query], "from": "now-1h", "to": "now"})
            assert status == 200, (title, said)
            assert "error" not in said["results"][target["refId"]], (title, said)


def test_the_data_source_can_only_read() -> None:
    for text in ("DROP TABLE trades", "CREATE TABLE intruder (ts TIMESTAMP)", "INSERT INTO gaps (ts) VALUES (now())"):
        query = {"refId": "A", "datasource": {"uid": "questdb"}, "format": "table", "rawSql": text}
        status, said = answer("/api/ds/query", {"queries": [query], "from": "now-1h", "to": "now"})
        if os.environ.get("QDB_PG_READONLY_PASSWORD"):
            assert status >= 400, (text, said)
        else:
            pytest.skip("QDB_PG_READONLY_PASSWORD is not set: this Grafana may hold the database's own user")
