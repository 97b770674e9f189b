"""Rows 43 to 46: who may do what in an installed Grafana, what reaches SQL, and where secrets are."""

import json
import subprocess
from pathlib import Path

import pytest

from grafana.tools.api import Grafana
from tests.grafana.answers import cells, query, through
from tests.grafana.installed import (
    ADMIN,
    NEEDED,
    READER,
    ROOT,
    WRITES,
    Database,
    Installed,
    eventually,
    grafana_on,
)
from tests.grafana.post import post_office
from tests.grafana.rows import HOSTILE, Stack
from tests.line import Ports

pytestmark = NEEDED


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("who", ["admin", "viewer"])
def test_a_write_through_the_data_source_is_refused(
    installed: Installed, shown: Stack, who: str, statement: str
) -> None:
    """Row 43."""
    grafana = installed.admin if who == "admin" else installed.viewer()
    before = census(shown)
    status, answer = query(grafana, statement)
    assert status >= 400, answer
    assert census(shown) == before


def census(stack: Stack) -> list[tuple[object, ...]]:
    """The tables with the numbers of their columns and rows."""
    counted = []
    for (name,) in stack.connection.execute("SELECT table_name FROM tables() ORDER BY table_name").fetchall():
        columns = stack.connection.execute(f"SELECT count() FROM table_columns('{name}')").fetchone()
        rows = stack.connection.execute(f"SELECT count() FROM {name}".encode()).fetchone()
        assert columns is not None and rows is not None
        counted.append((name, *columns, *rows))
    return counted


def test_a_viewer_reads(installed: Installed, shown: Stack) -> None:
    """Row 43."""
    status, answer = query(installed.viewer(), "SELECT count() AS n FROM bars")
    assert (status, cells(answer)) == (
        200,
        [shown.connection.execute("SELECT count() FROM bars").fetchall()[0][0]],
    )


@pytest.mark.parametrize("password", ["", "admin"])
def test_it_does_not_start_with_a_default_password(
    installed: Installed, tmp_path: Path, password: str
) -> None:
    """Row 44."""
    environment = installed.env() | {
        "GF_SECURITY_ADMIN_PASSWORD": password,
        "PAIRFLOW_PROVISIONING": str(tmp_path / "made"),
    }
    done = subprocess.run(
        ["sh", str(ROOT / "grafana/start.sh"), "echo", "started"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "GF_SECURITY_ADMIN_PASSWORD" in done.stderr


def test_nobody_is_let_in_without_a_password_or_with_the_default_one(installed: Installed) -> None:
    """Row 44."""
    stranger = Grafana(installed.admin.url)
    for path in (
        "/api/search",
        "/api/datasources",
        "/api/dashboards/uid/pairflow-pair",
        "/api/v1/provisioning/contact-points",
    ):
        assert stranger.answer(path)[0] == 401, path
    assert query(stranger, "SELECT 1")[0] == 401
    # Only one attempt: five refusals lock the user out.
    assert Grafana(installed.admin.url, "admin", "admin").answer("/api/search")[0] == 401


def test_nobody_signs_up(installed: Installed) -> None:
    """Row 44."""
    stranger = Grafana(installed.admin.url)
    form = {"email": "x@example.org", "username": "x", "password": "secret-x", "name": "x"}
    assert stranger.answer("/api/user/signup", {"email": form["email"]})[0] in {401, 403, 404}
    assert stranger.answer("/api/user/signup/step2", form)[0] in {401, 403, 404}
    assert "x" not in {user["login"] for user in installed.admin.answer("/api/users")[1]}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_it_listens_on_loopback_only(installed: Installed) -> None:
    """Row 44."""
    process = Path(f"/proc/{installed.pid}")
    own = {
        link for each in (process / "fd").iterdir() if (link := str(each.readlink())).startswith("socket:")
    }
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in own:
                listening.add(local)
    assert listening == {f"0100007F:{installed.port:04X}"}


def test_a_hostile_name_in_the_address_finds_nothing_and_breaks_nothing(
    installed: Installed, shown: Stack
) -> None:
    """Row 45, with the quoting that the page does."""
    names = ("symbol", "pair", "method")
    unknown = {
        where: answer
        for where, _, answer in through(installed.admin, {**dict.fromkeys(names, "x"), "timeframe": "1m"})
    }
    for where, status, answer in through(
        installed.admin, {**dict.fromkeys(names, HOSTILE), "timeframe": "1m"}
    ):
        assert status == 200, (where, answer)
        assert len(cells(answer)) == len(cells(unknown[where])), where


def test_no_secret_is_in_a_file_that_is_made_or_in_the_log_or_shown_to_a_viewer(
    server: Database, shown: Stack, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports
) -> None:
    """Row 46, with every secret set. No notification can be delivered, and the log says so."""
    with post_office() as post:
        dead = post.hook_port
    secrets = {
        "SLACK_WEBHOOK_URL": f"http://127.0.0.1:{dead}/services/secret-slack",
        "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{dead}/alerts",
        "ALERT_WEBHOOK_TOKEN": "secret-hook",
        "SMTP_HOST": f"127.0.0.1:{dead}",
        "SMTP_USER": "pairflow",
        "SMTP_PASSWORD": "secret-mail",
        "ALERT_EMAIL_TO": "desk@example.org",
    }
    with grafana_on(tmp_path_factory.mktemp("secrets"), server, free_ports) as grafana:
        grafana.start(**secrets)
        viewer = grafana.viewer("reader")
        answers = {path: json.dumps(viewer.answer(path)) for path in PATHS}
        eventually(lambda: all(f"{kind}[" in grafana.log() for kind in ("slack", "email", "webhook")), 90)
        log = grafana.log()
        made = {str(path): path.read_text() for path in grafana.provisioning.rglob("*") if path.is_file()}
    for where, text in {**answers, **made, "log": log}.items():
        for secret in (ADMIN, READER, "secret-slack", "secret-hook", "secret-mail"):
            # Grafana itself writes the address of Slack's webhook into its log when Slack cannot be reached.
            assert secret not in text or (where, secret) == ("log", "secret-slack"), where


PATHS = (
    "/api/datasources",
    "/api/datasources/uid/questdb",
    "/api/frontend/settings",
    "/api/admin/settings",
    "/api/v1/provisioning/contact-points",
    "/api/v1/provisioning/contact-points/export?decrypt=true",
    "/api/v1/provisioning/policies",
    "/api/alertmanager/grafana/config/api/v1/alerts",
    "/api/alertmanager/grafana/config/api/v1/receivers",
    "/api/alertmanager/grafana/api/v2/receivers",
    "/api/alertmanager/grafana/api/v2/status",
)
