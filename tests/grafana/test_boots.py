"""Rows 38 and 39: what an installed Grafana has after several starts, with and without secrets."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import emptied
from tests.grafana.answers import uids
from tests.grafana.installed import NEEDED, Database, Installed, grafana_on
from tests.grafana.post import post_office
from tests.line import Ports

pytestmark = NEEDED
OWN = {
    "uid": "mine",
    "title": "Mine",
    "folderUID": "mine",
    "ruleGroup": "mine",
    "orgID": 1,
    "condition": "C",
    "for": "0s",
    "noDataState": "OK",
    "execErrState": "OK",
    "data": [
        {
            "refId": "A",
            "datasourceUid": "questdb",
            "relativeTimeRange": {"from": 600, "to": 0},
            "model": {
                "refId": "A",
                "format": "table",
                "rawQuery": True,
                "rawSql": "SELECT count() AS n FROM trades",
            },
        },
        {
            "refId": "C",
            "datasourceUid": "__expr__",
            "model": {
                "refId": "C",
                "type": "threshold",
                "expression": "A",
                "conditions": [{"evaluator": {"type": "lt", "params": [0]}}],
            },
        },
    ],
}


@dataclass
class Boot:
    """What Grafana has after one start."""

    uids: dict[str, list[str]]
    rules: dict[str, dict[str, Any]]
    receivers: set[str]
    log: str


def look(grafana: Installed, since: float) -> Boot:
    """What the running Grafana has, once it has evaluated every rule after `since`."""
    rules = grafana.evaluated(since)
    points = {
        each["uid"]
        for each in grafana.admin.answer("/api/v1/provisioning/contact-points")[1]
        if each["name"] == "pairflow"
    }
    return Boot(uids(grafana.admin), rules, points, "")


@pytest.fixture(scope="module")
def boots(
    server: Database, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports
) -> Iterator[list[Boot]]:
    """Four starts with the same data: bare, with a user's own rule, with secrets, and bare again."""
    done = []
    emptied(server.endpoint)  # so that no alert fires
    with post_office() as post, grafana_on(tmp_path_factory.mktemp("boots"), server, free_ports) as grafana:
        for given in ({}, {}, post.env(), {}):
            since = time.time()
            grafana.start(**given)
            done.append(look(grafana, since))
            if len(done) == 1:
                assert grafana.admin.answer("/api/folders", {"uid": "mine", "title": "Mine"})[0] == 200
                group = {"title": "mine", "folderUid": "mine", "interval": 10, "rules": [OWN]}
                status, answer = grafana.admin.answer(
                    "/api/v1/provisioning/folder/mine/rule-groups/mine", group, "PUT"
                )
                assert status == 200, answer
                done[0].uids = uids(grafana.admin)
            grafana.stop()
            done[-1].log = grafana.logs[-1]
        yield done


def test_it_starts_without_any_secret_except_the_passwords_and_its_rules_are_evaluated(
    boots: list[Boot],
) -> None:
    """Row 39."""
    bare = boots[0]
    assert bare.receivers == {"pairflow-nobody"}
    assert len(bare.rules) == 7
    assert {name: rule.get("lastError") for name, rule in bare.rules.items() if rule["health"] != "ok"} == {}


def test_every_start_with_the_same_data_has_the_same_uids(boots: list[Boot]) -> None:
    """Row 38."""
    bare, again, notifying, bare_again = boots
    assert again.uids == bare.uids
    assert bare_again.uids == bare.uids
    changed = "contact points"
    assert notifying.uids | {changed: []} == bare.uids | {changed: []}


def test_no_start_logs_an_error(boots: list[Boot]) -> None:
    """Row 38."""
    for boot in boots:
        assert [line for line in boot.log.splitlines() if "level=error" in line] == []


def test_a_contact_point_comes_and_goes_with_its_secret(boots: list[Boot]) -> None:
    receivers = [boot.receivers for boot in boots]
    assert receivers == [
        {"pairflow-nobody"},
        {"pairflow-nobody"},
        {"pairflow-webhook", "pairflow-email"},
        {"pairflow-nobody"},
    ]


def test_a_users_own_rule_stays_and_is_evaluated_along_with_ours(boots: list[Boot]) -> None:
    for boot in boots[1:]:
        assert "mine" in boot.uids["rules"]
        assert "mine" in boot.uids["folders"]
        assert boot.rules["Mine"]["health"] == "ok"
