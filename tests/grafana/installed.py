"""An installed Grafana, started as docker-compose.yml starts its container, and a QuestDB for it.

GRAFANA_HOME names the installation: the folder with bin/, conf/ and public/, such as /usr/share/grafana of
the official packages.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    """Wait until the condition is true, and return its value."""
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"the deadline of {deadline_s:.0f} s passed"
        time.sleep(0.1)
    return found


def environment(service: str, **given: str) -> dict[str, str]:
    """The environment that docker-compose.yml gives to a service when .env holds only the given variables."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert given.get(name) or kind == "-", f"{name}: {rest}"
        return given.get(name) or rest

    return {name: VARIABLE.sub(value, str(text)) for name, text in SERVICES[service]["environment"].items()}


class Database:
    """A QuestDB that tests may stop, with the read-only user that Grafana gets."""

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
        """For the length of the block it accepts connections, but answers nothing."""
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


class Installed:
    """Grafana as a process. It keeps its files in its own folder, so it can be started there again."""

    def __init__(self, directory: Path, endpoint: Endpoint, port: int) -> None:
        self.directory = directory
        self.port = port
        self.admin = Grafana(f"http://127.0.0.1:{port}", "admin", ADMIN)
        self.logs: list[str] = []  # one for each start
        self._endpoint = endpoint
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def env(self, **given: str) -> dict[str, str]:
        """The environment of its container, with the addresses and folders of this machine."""
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
        # In the container this is 0.0.0.0, and Docker publishes the port on loopback. Here start.sh sets it.
        there.pop("GF_SERVER_HTTP_ADDR")
        return {
            **there,
            "PATH": os.environ["PATH"],
            "PAIRFLOW_QUESTDB": f"{self._endpoint.host}:{self._endpoint.pg_port}",
            "PAIRFLOW_PROVISIONING": str(self.provisioning),
            "GF_SERVER_HTTP_PORT": str(self.port),
            "GF_PATHS_DATA": str(self.directory / "data"),
            "GF_PATHS_LOGS": str(self.directory / "log"),
            "GF_PATHS_PLUGINS": str(self.directory / "plugins"),  # in the image the folder exists
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
        """The log since its start."""
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
        """The same, after waiting until each rule was evaluated after `since` (seconds since 1970)."""

        def all_are() -> dict[str, dict[str, Any]] | None:
            rules = self.rules()
            newest = [stamp(rule["lastEvaluation"]) for rule in rules.values()]
            return rules if newest and min(newest) > since else None

        found: dict[str, dict[str, Any]] = eventually(all_are, 60)
        return found

    def viewer(self, name: str = "viewer") -> Grafana:
        """Another user, with the role Viewer."""
        password = f"secret-{name}"
        status, said = self.admin.answer(
            "/api/admin/users", {"name": name, "login": name, "password": password}
        )
        assert status in {200, 412}, said  # 412: the user exists already
        found = Grafana(self.admin.url, name, password)
        assert [org["role"] for org in found.answer("/api/user/orgs")[1]] == ["Viewer"]
        return found


def stamp(text: str) -> float:
    """A time as Grafana writes it, as seconds since 1970; 0 for "never"."""
    return (
        datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp()
        if not text.startswith("0001")
        else 0.0
    )


@contextmanager
def grafana_on(directory: Path, database: Database, ports: Ports) -> Iterator[Installed]:
    """A Grafana that the test starts. It is stopped at the end of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    installed = Installed(directory, database.endpoint, *ports(1))
    try:
        yield installed
    finally:
        installed.stop()


def prepared(database: Database) -> Database:
    """The database, started and with Pairflow's tables."""
    database.start()
    prepare(database.endpoint)
    return database
