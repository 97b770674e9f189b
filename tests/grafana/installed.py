"""An installed Grafana, as docker-compose.yml starts its container, and what it speaks to: a QuestDB that may
be stopped, a webhook, a mail server.

GRAFANA_HOME names the installation: the folder with bin/, conf/ and public/, such as /usr/share/grafana of
the official packages.
"""

import email
import email.policy
import http.server
import json
import os
import re
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.database import keeper
from flows.database.connection import Endpoint, connect
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.errors import UserError
from flows.settings.model import QuestDB
from grafana.tools.api import Grafana
from grafana.queries import dashboards
from tests.line import Ports

ROOT = Path(__file__).parents[2]
HOME = os.environ.get("GRAFANA_HOME", "")
NEEDED = pytest.mark.skipif(not HOME, reason="GRAFANA_HOME names no installed Grafana")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
)["services"]
ADMIN, READER = "secret-admin", "secret-read"  # passwords
START_S, STOP_S, HEAR_S = 120.0, 30.0, 25.0
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
WRITES = (
    "CREATE TABLE intruder (ts TIMESTAMP)",
    "INSERT INTO gaps (ts) VALUES (now())",
    "ALTER TABLE bars ADD COLUMN intruder LONG",
    "UPDATE alerts SET active = false",
    "TRUNCATE TABLE alerts",
    "DROP TABLE trades",
)


def eventually(condition: Callable[[], Any], deadline_s: float) -> Any:
    """What the condition answers, when that is true."""
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"the deadline of {deadline_s:.0f} s passed"
        time.sleep(0.1)
    return found


def environment(service: str, **given: str) -> dict[str, str]:
    """What docker-compose.yml gives to a service when these are all that .env holds."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert given.get(name) or kind == "-", f"{name}: {rest}"
        return given.get(name) or rest

    return {name: VARIABLE.sub(value, str(text)) for name, text in SERVICES[service]["environment"].items()}


class Database:
    """A QuestDB of its own, with the read-only user that Grafana gets."""

    def __init__(self, directory: Path, http_port: int, pg_port: int) -> None:
        self.settings = QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)
        self.endpoint = Endpoint("127.0.0.1", http_port, pg_port, directory)
        self._running = ExitStack()

    def start(self) -> None:
        given = dict.fromkeys(("QDB_HTTP_PASSWORD", "QDB_PG_PASSWORD", "QDB_PG_READONLY_PASSWORD"), READER)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment("questdb", **given).items():
                if name.startswith("QDB_PG_READONLY_"):
                    patch.setenv(name, value)
            self._running.enter_context(running(self.settings))

    def stop(self) -> None:
        self._running.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        pid = json.loads(keeper.state_file(self.settings.dir).read_text())["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.endpoint) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found


@dataclass(frozen=True)
class Told:
    """One alert in one message: `status` is firing or resolved."""

    way: str  # webhook | email
    status: str
    about: str  # everything that is said of it


@dataclass
class Post:
    """What has arrived by webhook and by e-mail."""

    told: list[Told] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    hook_port: int = 0
    mail_port: int = 0

    def of(self, *words: str) -> list[Told]:
        """What was told about all of these."""
        return [each for each in self.told if all(word in each.about for word in words)]

    def env(self) -> dict[str, str]:
        """What .env says to be told."""
        return {
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{self.hook_port}/alerts",
            "ALERT_WEBHOOK_TOKEN": "secret-hook",
            "SMTP_HOST": f"127.0.0.1:{self.mail_port}",
            "ALERT_EMAIL_TO": "desk@example.org",
        }


@contextmanager
def post_office() -> Iterator[Post]:
    """A webhook and a mail server on loopback: the mail server knows neither TLS nor passwords, as a relay
    inside a network.
    """
    post = Post()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            post.told += [
                Told("webhook", each["status"], json.dumps(each, ensure_ascii=False))
                for each in said["alerts"]
            ]
            post.tokens.add(self.headers.get("Authorization"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 ready")
            for line in self.rfile:
                verb = line.split()[0].upper() if line.split() else b""
                if verb == b"DATA":
                    self.say("354 go on")
                    text = b"".join(line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n"))
                    post.told.append(opened(text))
                self.say("221 bye" if verb == b"QUIT" else "250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with ExitStack() as stack:
        for kind in (Hook, Mail):
            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.1,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            port = server.server_address[1]
            post.hook_port, post.mail_port = (
                (port, post.mail_port) if kind is Hook else (post.hook_port, port)
            )
        yield post


def opened(message: bytes) -> Told:
    """An e-mail, read."""
    letter = email.message_from_bytes(message, policy=email.policy.default)
    body = letter.get_body(("plain", "html"))
    assert body is not None
    subject = str(letter["Subject"])
    return Told(
        "email",
        "resolved" if subject.startswith("Over: ") else "firing",
        f"{letter['From']} {letter['To']} {subject}\n{body.get_content()}",
    )


class Installed:
    """Grafana as a process, on a folder of its own that it may be started on again."""

    def __init__(self, directory: Path, endpoint: Endpoint, port: int) -> None:
        self.directory = directory
        self.port = port
        self.admin = Grafana(f"http://127.0.0.1:{port}", "admin", ADMIN)
        self.logs: list[str] = []  # one a start
        self._endpoint = endpoint
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def env(self, **given: str) -> dict[str, str]:
        """Its container's environment, with the addresses and folders of this machine in place of those of
        the container.
        """
        folder, inside = next(
            mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"] if mount.startswith("./")
        )
        given = {
            "GF_SECURITY_ADMIN_PASSWORD": ADMIN,
            "QDB_PG_READONLY_PASSWORD": READER,
            "GF_SERVER_ROOT_URL": self.admin.url,
            **given,
        }
        there = {
            name: value.replace(inside, str(ROOT / folder))
            for name, value in environment("grafana", **given).items()
        }
        # of the container, which publishes on loopback; start.sh has the machine's
        there.pop("GF_SERVER_HTTP_ADDR")
        return {
            **there,
            "PATH": os.environ["PATH"],
            "PAIRFLOW_QUESTDB": f"{self._endpoint.host}:{self._endpoint.pg_port}",
            "PAIRFLOW_PROVISIONING": str(self.provisioning),
            "GF_SERVER_HTTP_PORT": str(self.port),
            "GF_PATHS_DATA": str(self.directory / "data"),
            "GF_PATHS_LOGS": str(self.directory / "log"),
            "GF_PATHS_PLUGINS": str(self.directory / "plugins"),  # the image has it
        }

    @property
    def provisioning(self) -> Path:
        return self.directory / "provisioning"

    def start(self, **given: str) -> None:
        (self.directory / "plugins").mkdir(parents=True, exist_ok=True)
        path = self.directory / f"said-{len(self.logs)}.log"
        shell, script, _ = SERVICES["grafana"]["entrypoint"]
        start = [shell, str(ROOT / "grafana" / Path(script).name)]
        with path.open("wb") as output:
            self._process = subprocess.Popen(
                [*start, f"{HOME}/bin/grafana", "server", "--homepath", HOME],
                env=self.env(**given),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.logs.append("")
        self._path = path
        eventually(
            lambda: self._process is None or self._process.poll() is not None or self._answers(), START_S
        )
        assert self._process.poll() is None, self.log()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self.log()
            self._process = None

    def log(self) -> str:
        """What it has said since its start."""
        self.logs[-1] = self._path.read_text(errors="replace")
        return self.logs[-1]

    def _answers(self) -> bool:
        with suppress(UserError):
            return self.admin.answer("/api/health")[0] == 200 and self.admin.answer("/api/search")[0] == 200
        return False

    def rules(self) -> dict[str, dict[str, Any]]:
        """Every rule by its title, as it was last evaluated."""
        groups = self.admin.answer("/api/prometheus/grafana/api/v1/rules")[1]["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def evaluated(self, since: float) -> dict[str, dict[str, Any]]:
        """The same, once each was evaluated after `since` (seconds of the epoch)."""

        def all_are() -> dict[str, dict[str, Any]] | None:
            rules = self.rules()
            newest = [stamp(rule["lastEvaluation"]) for rule in rules.values()]
            return rules if newest and min(newest) > since else None

        found: dict[str, dict[str, Any]] = eventually(all_are, 60)
        return found

    def viewer(self, name: str = "viewer") -> Grafana:
        """Another user, who may look and nothing else."""
        password = f"secret-{name}"
        status, said = self.admin.answer(
            "/api/admin/users", {"name": name, "login": name, "password": password}
        )
        assert status in {200, 412}, said  # 412: is there already
        found = Grafana(self.admin.url, name, password)
        assert [org["role"] for org in found.answer("/api/user/orgs")[1]] == ["Viewer"]
        return found


def stamp(text: str) -> float:
    """Seconds of the epoch of a time as Grafana writes it; long ago, where there is none."""
    return (
        datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp()
        if not text.startswith("0001")
        else 0.0
    )


@contextmanager
def grafana_on(directory: Path, database: Database, ports: Ports) -> Iterator[Installed]:
    """A Grafana that is not yet started, and is stopped at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    installed = Installed(directory, database.endpoint, *ports(1))
    try:
        yield installed
    finally:
        installed.stop()


def prepared(database: Database) -> Database:
    database.start()
    prepare(database.endpoint)
    return database


def uids(grafana: Grafana) -> dict[str, list[str]]:
    """What stands in Grafana, by its uids; the folder's own among them."""

    def of(path: str, key: str = "uid") -> list[str]:
        status, found = grafana.answer(path)
        assert status == 200, (path, found)
        return sorted(each[key] for each in found)

    return {
        "dashboards": of("/api/search?type=dash-db"),
        "folders": of("/api/folders"),
        "data sources": of("/api/datasources"),
        "rules": of("/api/v1/provisioning/alert-rules"),
        "contact points": of("/api/v1/provisioning/contact-points"),
    }


def query(grafana: Grafana, sql: str, shape: str = "table", **more: Any) -> tuple[int, Any]:
    """What Grafana's data source answers to a statement."""
    asked = {
        "refId": "A",
        "datasource": {"uid": "questdb"},
        "format": shape,
        "rawSql": sql,
        "intervalMs": 60_000,
        "maxDataPoints": 500,
        **more,
    }
    return grafana.answer("/api/ds/query", {"queries": [asked], "from": "now-3h", "to": "now"})


def through(grafana: Grafana, choice: dict[str, str]) -> Iterator[tuple[str, int, Any]]:
    """What Grafana answers to every statement of the dashboards, with these values of the variables: where,
    status, answer.
    """
    for board in dashboards():
        asked = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
        asked += [(each["name"], each["target"]) for each in board["annotations"]["list"]]
        asked += [
            (each["name"], {"rawSql": each["query"]})
            for each in board["templating"]["list"]
            if each["type"] == "query"
        ]
        for title, target in asked:
            text = re.sub(
                r"\$\{(\w+):sqlstring\}", lambda match: quoted(choice.get(match[1], "")), target["rawSql"]
            )
            status, said = query(grafana, text, target.get("format", "table"))
            yield f"{board['title']}, {title}, {target.get('refId', 'variable')}", status, said


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def cells(said: Any) -> list[Any]:
    """Every value that is something, of an answer."""
    frames = [frame for result in said["results"].values() for frame in result.get("frames", [])]
    return [
        cell for frame in frames for column in frame["data"]["values"] for cell in column if cell is not None
    ]
