"""The generated dashboards and alert rules, and the rest of Grafana's provisioning, without a Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from grafana import build
from grafana.queries import rules

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}


def provisioning(name: str) -> dict[str, Any]:
    return yaml.safe_load((GRAFANA / "provisioning" / name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_the_committed_dashboards_and_rules_are_what_their_source_makes() -> None:
    made = build.files()
    assert {f"dashboards/{path.name}" for path in (GRAFANA / "dashboards").iterdir()} == {
        name for name in made if "dashboards/" in name
    }
    for name, text in made.items():
        assert (GRAFANA / name).read_text(encoding="utf-8") == text, f"run: python -m grafana.build ({name})"


def test_every_dashboard_has_a_fixed_uid_and_links_to_the_others() -> None:
    uids = {board["uid"] for board in DASHBOARDS.values()}
    assert uids == {f"pairflow-{name}" for name in ("overview", "pair", "market", "health", "alerts")}
    for board in DASHBOARDS.values():
        links = {link["url"].split("?")[0].removeprefix("/d/") for link in board["links"]}
        assert uids - {board["uid"]} <= links
        assert board["refresh"] == "2s"


def test_every_panel_has_a_description_and_a_text_for_when_it_is_empty() -> None:
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            assert len(panel["description"]) > 40, (name, panel["title"])
            assert panel["fieldConfig"]["defaults"]["noValue"], (name, panel["title"])


def test_every_query_goes_to_the_one_data_source_by_its_uid() -> None:
    (source,) = provisioning("datasources/questdb.yaml")["datasources"]
    assert source["uid"] == "questdb"
    assert source["user"] == "$QDB_PG_READONLY_USER"
    assert source["jsonData"]["maxOpenConns"] < 64  # QuestDB's limit
    text = "".join(json.dumps(board) for board in DASHBOARDS.values())
    assert set(re.findall(r'"datasource": (\{[^}]*\})', text)) == {
        '{"type": "grafana-postgresql-datasource", "uid": "questdb"}'
    }
    assert "${DS_" not in text


def test_panels_do_not_overlap() -> None:
    for name, board in DASHBOARDS.items():
        taken: dict[tuple[int, int], str] = {}
        for panel in board["panels"]:
            at = panel["gridPos"]
            for cell in (
                (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
            ):
                assert cell[0] < 24
                assert cell not in taken, (name, panel["title"], taken.get(cell))
                taken[cell] = panel["title"]


def test_every_rule_states_what_silence_and_errors_mean() -> None:
    states = {rule["uid"]: (rule["noDataState"], rule["execErrState"]) for rule in rules()}
    # Only this rule fires when the database is away.
    assert states.pop("pairflow-stale") == ("OK", "Alerting")
    signals = {f"pairflow-{priority}": ("KeepLast", "KeepLast") for priority in ("high", "medium", "low")}
    assert states == signals | dict.fromkeys(
        ("pairflow-suspended", "pairflow-gap", "pairflow-audit"), ("OK", "KeepLast")
    )


def test_a_suspended_table_is_reported_within_a_minute() -> None:
    (rule,) = [rule for rule in rules() if rule["uid"] == "pairflow-suspended"]
    (every,) = {group["interval"] for group in provisioning("alerting/rules.yaml")["groups"]}
    (route,) = [
        route
        for route in policies()["routes"]
        if ["priority", "=", "pipeline"] in route.get("object_matchers", [])
    ]
    assert (rule["for"], every, route["group_wait"]) == ("0s", "10s", "10s")


def test_no_rule_goes_through_a_math_expression() -> None:
    expressions = [
        part["model"] for rule in rules() for part in rule["data"] if part["datasourceUid"] == "__expr__"
    ]
    # NULL becomes NaN, and a Math expression fires on NaN.
    assert {model["type"] for model in expressions} == {"threshold"}


def test_every_rule_links_to_a_panel_that_exists() -> None:
    panels = {
        (board["uid"], panel["id"]): panel["title"]
        for board in DASHBOARDS.values()
        for panel in board["panels"]
    }
    pointed = {
        rule["uid"]: panels[rule["dashboardUid"], rule["panelId"]] for rule in rules() if "panelId" in rule
    }
    assert pointed == {
        **{f"pairflow-{priority}": "z-score" for priority in ("high", "medium", "low")},
        "pairflow-stale": "Now",
        "pairflow-suspended": "Tables",
        "pairflow-gap": "Gaps",
        "pairflow-audit": "Audits",
    }


def test_every_priority_of_the_pipeline_has_a_rule_and_a_route() -> None:
    routes = [
        {name: value for name, _, value in route["object_matchers"]} for route in policies()["routes"][:-1]
    ]
    assert [route["priority"] for route in routes] == ["high", "medium", "low", "pipeline"]
    assert {rule["labels"]["priority"] for rule in rules()} == {"high", "medium", "low", "pipeline"}
    assert "object_matchers" not in policies()["routes"][-1]  # the last route takes users' own rules


def policies() -> dict[str, Any]:
    text = (
        (GRAFANA / "provisioning/alerting/policies.yaml").read_text(encoding="utf-8").replace("__MUTED__", "")
    )
    (tree,) = yaml.safe_load(text)["policies"]
    return tree  # type: ignore[no-any-return]
