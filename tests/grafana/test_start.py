"""grafana/start.sh: what it makes of the secrets that are set, and what it refuses, without a Grafana."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.database.credentials import generate, login

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"


def started(tmp_path: Path, **environment: str) -> dict[str, Any]:
    """What start.sh makes with these variables.

    `receivers` are the contact points by uid, `deleted` the uids of those to delete, `muted` the mute times
    of the routes; also the text of all files, the standard error, and Grafana's environment.
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
        "error": done.stderr,
        "environment": dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line),
    }


def test_without_secrets_nobody_is_notified_and_the_routes_are_muted(tmp_path: Path) -> None:
    made = started(tmp_path, SLACK_WEBHOOK_URL="", SMTP_HOST="", ALERT_EMAIL_TO="")
    assert set(made["receivers"]) == {"pairflow-nobody"}
    assert made["deleted"] == {"pairflow-slack", "pairflow-email", "pairflow-webhook"}
    assert made["muted"] == [["always"]] * 5
    assert "nobody is notified" in made["error"]


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


def test_the_token_of_the_webhook_is_named_if_it_is_set(tmp_path: Path) -> None:
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
    # The database may hang; this driver keeps the timeout.
    assert environment["GF_UNIFIED_ALERTING_EVALUATION_TIMEOUT"] == "5s"
    assert environment["GF_FEATURE_TOGGLES_ENABLE"] == "postgresDSUsePGX"
    assert Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    theirs = tmp_path / "made" / "theirs.yaml"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        started(tmp_path)
    assert theirs.read_text() == "mine" and "name another folder" in refused.value.stderr
    theirs.unlink()
    assert started(tmp_path)["receivers"] == started(tmp_path)["receivers"]  # its own folder is made again


def test_a_setting_of_grafana_can_be_set_otherwise(tmp_path: Path) -> None:
    assert started(tmp_path, GF_SERVER_HTTP_ADDR="0.0.0.0")["environment"]["GF_SERVER_HTTP_ADDR"] == "0.0.0.0"


def test_a_sender_that_grafana_would_not_start_with_makes_no_contact_point(tmp_path: Path) -> None:
    made = started(
        tmp_path, SMTP_HOST="mail.invalid:25", ALERT_EMAIL_TO="a@mail.invalid", SMTP_FROM="pairflow@localhost"
    )
    assert "pairflow-email" not in made["receivers"]
    assert "SMTP_FROM" in made["error"]


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
    (line,) = done.stderr.splitlines()
    assert name in line
    assert "secret" not in line
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
        f"grafana: PAIRFLOW_QUESTDB_DIR: {directory}/run/passwords cannot be read: "
        "start the pipeline there first, as the same user"
    )
    (directory / "run").mkdir(parents=True)
    generate(directory, print)
    started = start("printenv QDB_PG_READONLY_PASSWORD QDB_PG_READONLY_USER")
    assert started.stdout == f"{login('PG_READONLY', directory, {}).password}\ngrafana\n"
