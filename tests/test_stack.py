"""docker-compose.yml, the image and Grafana's provisioning, as far as they can be judged without running
them.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.database.credentials import generate, login
from grafana import build
from grafana.queries import rules

ROOT = Path(__file__).parents[1]
GRAFANA = ROOT / "grafana"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
SECRET = re.compile(r"PASSWORD|URL|TOKEN|SECRET")


def provisioning(name: str) -> dict[str, Any]:
    return yaml.safe_load((GRAFANA / "provisioning" / name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


# ---------------------------------------------------------------- compose


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in ports)


def test_every_image_has_an_exact_version() -> None:
    assert SERVICES["questdb"]["image"] == "questdb/questdb:9.3.4"
    assert SERVICES["grafana"]["image"] == "grafana/grafana:12.3.0"
    assert re.fullmatch(
        r"FROM python:3\.1[12]-slim", next(line for line in dockerfile() if line.startswith("FROM"))
    )


def test_a_password_is_required_from_the_environment_and_has_no_default() -> None:
    passwords = {
        key: value
        for service in SERVICES.values()
        for key, value in service["environment"].items()
        if key.endswith("PASSWORD")
    }
    required = {key for key, value in passwords.items() if re.fullmatch(rf"\$\{{{key}:\?[^}}]+\}}", value)}
    assert required == {
        "GF_SECURITY_ADMIN_PASSWORD",
        "QDB_HTTP_PASSWORD",
        "QDB_PG_PASSWORD",
        "QDB_PG_READONLY_PASSWORD",
    }
    assert set(passwords) - required == {"SMTP_PASSWORD"}  # optional: without SMTP nobody is written to


def test_every_variable_of_the_stack_is_documented_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)[:}]", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    # a secret in the example would become one in use
    assert not re.findall(r"^\w*(?:PASSWORD|URL)\w*=.+", example, re.MULTILINE)


def test_every_service_restarts_stops_in_time_and_waits_for_a_healthy_database() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service
        if name != "questdb":
            assert service["depends_on"] == {"questdb": {"condition": "service_healthy"}}


def test_every_service_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        check = service["healthcheck"]
        assert check["test"][0] == "CMD" and len(check["test"]) > 1, name
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


@pytest.mark.parametrize(("age_s", "healthy"), [(0, True), (50, True), (70, False), (None, False)])
def test_the_pipeline_is_healthy_while_its_heartbeat_is_young(
    tmp_path: Path, age_s: int | None, healthy: bool
) -> None:
    probe = SERVICES["pipeline"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "python", "-c"]
    assert SERVICES["pipeline"]["environment"]["PAIRFLOW_HEARTBEAT"].startswith(
        tuple(SERVICES["pipeline"]["tmpfs"])
    )  # the rest is read-only
    heartbeat = tmp_path / "heartbeat"
    if age_s is not None:
        heartbeat.touch()
        os.utime(heartbeat, (0, heartbeat.stat().st_mtime - age_s))
    environment = {**os.environ, "PAIRFLOW_HEARTBEAT": str(heartbeat)}
    done = subprocess.run(
        [sys.executable, "-c", probe[3].replace("$$", "$")], env=environment, capture_output=True, check=False
    )
    assert (done.returncode == 0) is healthy


def test_the_database_is_probed_with_what_its_image_has() -> None:
    probe = SERVICES["questdb"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "bash", "-c"]
    assert "/ping" in probe[3]
    assert not re.search(r"curl|wget|nc ", probe[3])


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [(b"HTTP/1.1 204 OK\r\n\r\n", True), (b"HTTP/1.1 503 Unavailable\r\n\r\n", False), (None, False)],
)
def test_the_probe_is_right_about_a_server(free_ports: Any, answer: bytes | None, healthy: bool) -> None:
    (port,) = free_ports(1)
    script = SERVICES["questdb"]["healthcheck"]["test"][3].replace("$$", "$").replace("/9000", f"/{port}")
    if answer is None:
        assert (
            subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode == 0
        ) is healthy
        return
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1024)
                client.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert (
            subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode == 0
        ) is healthy
        server.join()


def test_grafana_has_the_read_only_user_alone() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert {key for key in environment if key.startswith("QDB_")} == {
        "QDB_PG_READONLY_USER",
        "QDB_PG_READONLY_PASSWORD",
    }
    assert SERVICES["questdb"]["environment"]["QDB_PG_READONLY_USER_ENABLED"] == "true"


def test_the_pipeline_reaches_the_stacks_own_database() -> None:
    environment = SERVICES["pipeline"]["environment"]
    assert environment["PAIRFLOW_QUESTDB_HOST"] == "questdb"
    assert {"QDB_HTTP_PASSWORD", "QDB_PG_PASSWORD", "QDB_HTTP_USER", "QDB_PG_USER"} <= set(environment)


def dockerfile() -> list[str]:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()


def test_the_image_runs_the_locked_dependencies_as_an_ordinary_user() -> None:
    text = "\n".join(dockerfile())
    assert re.search(r"^USER (?!root|0)\w+$", text, re.MULTILINE)
    assert "pip install --no-cache-dir -r requirements.lock" in text
    assert "--no-deps --no-build-isolation -e ." in text  # else a build tool of whatever version is fetched
    assert 'ENTRYPOINT ["pairflow"]' in text


def test_the_image_can_only_hold_what_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for line in dockerfile() if line.startswith("COPY") for word in line.split()[1:-1]}
    assert allowed == copied
    assert all((ROOT / name).exists() for name in copied)


# ---------------------------------------------------------------- dashboards


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


def test_every_panel_says_what_it_is_and_what_its_emptiness_means() -> None:
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


# ---------------------------------------------------------------- alerting


def test_every_rule_states_what_silence_and_errors_mean() -> None:
    states = {rule["uid"]: (rule["noDataState"], rule["execErrState"]) for rule in rules()}
    # the one rule that speaks when the database is away
    assert states.pop("pairflow-stale") == ("OK", "Alerting")
    signals = {f"pairflow-{priority}": ("KeepLast", "KeepLast") for priority in ("high", "medium", "low")}
    assert states == signals | dict.fromkeys(
        ("pairflow-suspended", "pairflow-gap", "pairflow-audit"), ("OK", "KeepLast")
    )


def test_a_suspended_table_is_told_within_a_minute() -> None:
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
    # NULL becomes NaN, and NaN through Math fires
    assert {model["type"] for model in expressions} == {"threshold"}


def test_every_rule_points_at_a_panel_that_is_there() -> None:
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
    assert "object_matchers" not in policies()["routes"][-1]  # whatever else there is: users' own rules


def policies() -> dict[str, Any]:
    text = (
        (GRAFANA / "provisioning/alerting/policies.yaml").read_text(encoding="utf-8").replace("__MUTED__", "")
    )
    (tree,) = yaml.safe_load(text)["policies"]
    return tree  # type: ignore[no-any-return]


def started(tmp_path: Path, **environment: str) -> dict[str, Any]:
    """What start.sh makes with these secrets: contact points by uid, those to delete, and whether the routes
    are muted.
    """
    done = subprocess.run(
        ["sh", str(GRAFANA / "start.sh"), "env"],
        env={
            "PATH": os.environ["PATH"],
            "PAIRFLOW_PROVISIONING": str(tmp_path / "made"),
            "GF_SECURITY_ADMIN_PASSWORD": "secret-admin",
            "QDB_PG_READONLY_PASSWORD": "secret-read",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    made = tmp_path / "made" / "alerting"
    points = yaml.safe_load((made / "contact-points.yaml").read_text(encoding="utf-8"))
    tree = yaml.safe_load((made / "policies.yaml").read_text(encoding="utf-8"))
    everything = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "made").rglob("*.yaml"))
    return {
        "receivers": {each["uid"]: each for each in points["contactPoints"][0]["receivers"]},
        "deleted": {each["uid"] for each in points["deleteContactPoints"] or []},
        "muted": [route["mute_time_intervals"] for route in tree["policies"][0]["routes"]],
        "files": everything,
        "said": done.stderr,
        "environment": dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line),
    }


def test_without_secrets_nobody_is_told_and_the_routes_are_muted(tmp_path: Path) -> None:
    made = started(tmp_path, SLACK_WEBHOOK_URL="", SMTP_HOST="", ALERT_EMAIL_TO="")
    assert set(made["receivers"]) == {"pairflow-nobody"}
    assert made["deleted"] == {"pairflow-slack", "pairflow-email", "pairflow-webhook"}
    assert made["muted"] == [["always"]] * 5
    assert "nobody is notified" in made["said"]


def test_a_contact_point_exists_for_each_secret_and_names_it_without_holding_it(tmp_path: Path) -> None:
    made = started(
        tmp_path,
        SLACK_WEBHOOK_URL="https://hooks.invalid/secret-slack",
        SMTP_HOST="mail.invalid:25",
        ALERT_EMAIL_TO="a@mail.invalid",
    )
    assert {uid: each["type"] for uid, each in made["receivers"].items()} == {
        "pairflow-slack": "slack",
        "pairflow-email": "email",
    }
    assert made["receivers"]["pairflow-slack"]["settings"]["url"] == "$SLACK_WEBHOOK_URL"
    assert made["deleted"] == {"pairflow-webhook", "pairflow-nobody"}
    assert made["muted"] == [[]] * 5
    assert "secret" not in re.sub(r"secureJsonData", "", made["files"])


def test_a_token_of_the_webhook_is_named_where_there_is_one(tmp_path: Path) -> None:
    hook = {"ALERT_WEBHOOK_URL": "https://desk.invalid/alerts"}
    (bare,) = started(tmp_path, **hook)["receivers"].values()
    assert bare["settings"] == {"url": "$ALERT_WEBHOOK_URL"}
    made = started(tmp_path, **hook, ALERT_WEBHOOK_TOKEN="secret-hook")
    (receiver,) = made["receivers"].values()
    token = {"authorization_scheme": "Bearer", "authorization_credentials": "$ALERT_WEBHOOK_TOKEN"}
    assert receiver["settings"] == {"url": "$ALERT_WEBHOOK_URL"} | token
    assert "secret" not in re.sub(r"secureJsonData", "", made["files"])


def test_half_of_the_mail_settings_make_no_contact_point(tmp_path: Path) -> None:
    assert "pairflow-email" not in started(tmp_path, SMTP_HOST="mail.invalid:25")["receivers"]


def test_outside_a_container_grafana_is_on_loopback_and_lets_nobody_in_without_a_login(
    tmp_path: Path,
) -> None:
    environment = started(tmp_path, GF_SERVER_HTTP_ADDR="")["environment"]
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_DASHBOARDS_MIN_REFRESH_INTERVAL"] == "1s"
    # with a driver that heeds it: a database may hang
    assert environment["GF_UNIFIED_ALERTING_EVALUATION_TIMEOUT"] == "5s"
    assert environment["GF_FEATURE_TOGGLES_ENABLE"] == "postgresDSUsePGX"
    assert Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()


def test_a_folder_that_is_not_ours_is_not_emptied(tmp_path: Path) -> None:
    theirs = tmp_path / "made" / "theirs.yaml"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        started(tmp_path)
    assert theirs.read_text() == "mine" and "name another folder" in refused.value.stderr
    theirs.unlink()
    assert started(tmp_path)["receivers"] == started(tmp_path)["receivers"]  # its own may be made again


def test_a_setting_of_grafana_can_be_set_otherwise(tmp_path: Path) -> None:
    assert started(tmp_path, GF_SERVER_HTTP_ADDR="0.0.0.0")["environment"]["GF_SERVER_HTTP_ADDR"] == "0.0.0.0"


def test_a_sender_that_grafana_would_not_start_with_makes_no_contact_point(tmp_path: Path) -> None:
    made = started(
        tmp_path, SMTP_HOST="mail.invalid:25", ALERT_EMAIL_TO="a@mail.invalid", SMTP_FROM="pairflow@localhost"
    )
    assert "pairflow-email" not in made["receivers"]
    assert "SMTP_FROM" in made["said"]


@pytest.mark.parametrize("name", ["GF_SECURITY_ADMIN_PASSWORD", "QDB_PG_READONLY_PASSWORD"])
@pytest.mark.parametrize("default", [None, "", "its own"])
def test_grafana_does_not_start_with_a_password_that_is_missing_or_the_default(
    tmp_path: Path, name: str, default: str | None
) -> None:
    given = {"GF_SECURITY_ADMIN_PASSWORD": "secret-admin", "QDB_PG_READONLY_PASSWORD": "secret-read"}
    given[name] = (
        {"GF_SECURITY_ADMIN_PASSWORD": "admin", "QDB_PG_READONLY_PASSWORD": "quest"}[name] if default else ""
    )
    if default is None:
        del given[name]
    done = subprocess.run(
        ["sh", str(GRAFANA / "start.sh"), "true"],
        env={"PATH": os.environ["PATH"], "PAIRFLOW_PROVISIONING": str(tmp_path / "made"), **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    (said,) = done.stderr.splitlines()
    assert name in said
    assert "secret" not in said
    assert not (tmp_path / "made").exists()


def test_grafana_finds_the_password_of_an_embedded_database_in_its_directory(tmp_path: Path) -> None:
    directory = tmp_path / "a database"

    def start(then: str) -> "subprocess.CompletedProcess[str]":
        given = {
            "GF_SECURITY_ADMIN_PASSWORD": "secret-admin",
            "PAIRFLOW_QUESTDB_DIR": str(directory),
            "PAIRFLOW_WAIT_S": "0",
        }
        return subprocess.run(
            ["sh", str(GRAFANA / "start.sh"), "sh", "-c", then],
            env={"PATH": os.environ["PATH"], "PAIRFLOW_PROVISIONING": str(tmp_path / "made"), **given},
            capture_output=True,
            text=True,
            check=False,
        )

    refused = start("true")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"grafana: PAIRFLOW_QUESTDB_DIR: {directory}/run/passwords cannot be read: start the pipeline there first, as the same user"
    )
    (directory / "run").mkdir(parents=True)
    generate(directory, print)
    started = start("printenv QDB_PG_READONLY_PASSWORD QDB_PG_READONLY_USER")
    assert started.stdout == f"{login('PG_READONLY', directory, {}).password}\ngrafana\n"
