"""QuestDB as a child process: found again, shared, restarted, stopped, and clear about what is in its way."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import embedded, keeper
from flows.columns import Rows, Symbols
from flows.config import QuestDB
from flows.embedded import _last_words, running
from flows.errors import UserError
from flows.questdb import Endpoint, Writer, connect, prepare, settle
from tests import forked
from tests.line import LAST_S

T0 = 1_723_161_600_000_000

Ports = Callable[[int], list[int]]


@pytest.fixture(scope="module", autouse=True)
def fetched() -> None:
    """The jar is there before the first test: what a start tells does not depend on whether this machine has had one."""
    embedded.jar()


def on(directory: Path, free_ports: Ports) -> QuestDB:
    http_port, pg_port = free_ports(2)
    return QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)


def eventually(condition: Callable[[], object], deadline_s: float = LAST_S) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "not within the deadline"
        time.sleep(0.02)


def state(directory: Path) -> dict[str, int]:
    return json.loads(keeper.state_file(directory).read_text())


def is_up(endpoint: Endpoint) -> bool:
    return keeper.answers(endpoint.host, endpoint.http_port, endpoint.pg_port)


def health(second: int) -> Rows:
    return Rows(
        "health",
        {
            "ts": np.array([T0 + second * 1_000_000]),
            "symbol": Symbols(np.zeros(1, np.int32), ("BTCUSDT",)),
            "trades": np.array([second]),
        },
    )


PIPELINE = """
import sys, threading
from pathlib import Path
from flows.config import QuestDB
from flows.embedded import running, _last_words
with running(QuestDB(dir=Path(sys.argv[1]), http_port=int(sys.argv[2]), pg_port=int(sys.argv[3]))) as endpoint:
    print("up", flush=True)
    sys.stdin.read()
"""


def another_process(settings: QuestDB) -> Any:
    """A process that uses the server until its input ends; returns once it does."""
    process = forked.start(
        [sys.executable, "-c", PIPELINE, str(settings.dir), str(settings.http_port), str(settings.pg_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parent.parent)},
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    return process


def ended(process: Any) -> int:
    assert process.stdin and process.stdout
    process.stdin.close()
    process.stdout.close()
    return process.wait(LAST_S)


def test_a_server_is_started_found_again_shared_and_stopped_by_the_last(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path / "db", free_ports)
    told: list[str] = []
    with running(settings, told.append) as first:
        prepare(first)
        other_ports = on(settings.dir, free_ports)
        with running(other_ports, told.append) as second:
            assert second == first  # one server to a directory, whatever ports are asked for
        assert is_up(first)
        process = another_process(settings)
        try:
            pid = state(settings.dir)["pid"]
        finally:
            assert ended(process) == 0
        assert is_up(first)
        assert state(settings.dir)["pid"] == pid
    assert not is_up(first)
    assert not keeper.state_file(settings.dir).exists()
    assert "QuestDB is shutdown." in keeper.log_file(settings.dir).read_text()
    assert [line.split(" ")[0] for line in told] == ["starting", "QuestDB", "using"]
    with running(settings) as again, connect(again) as connection:
        assert connection.execute("SELECT count() FROM trades").fetchone() == (0,)


def test_who_stays_keeps_the_server_when_its_starter_leaves(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    starter = another_process(settings)
    with running(settings) as endpoint:
        assert ended(starter) == 0
        assert is_up(endpoint)
    assert not is_up(endpoint)


def test_a_killed_pipeline_finds_its_server_again_and_an_abandoned_server_stops(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = on(tmp_path, free_ports)
    process = another_process(settings)
    pid = state(tmp_path)["pid"]
    process.kill()
    ended(process)
    process = another_process(settings)
    assert state(tmp_path)["pid"] == pid
    process.kill()
    ended(process)
    endpoint = Endpoint(keeper.HOST, settings.http_port, settings.pg_port)
    eventually(lambda: not is_up(endpoint) and not keeper.state_file(tmp_path).exists())


def test_a_server_killed_while_rows_are_written_comes_back_and_no_row_is_lost(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    told: list[str] = []
    with running(settings) as endpoint:
        prepare(endpoint)
        writer = Writer(endpoint, log=told.append)
        for second in range(300):
            if second == 150:
                os.kill(state(tmp_path)["pid"], signal.SIGKILL)
            writer.write([health(second)])
            writer.flush()
        writer.close()
        settle(endpoint)
        with connect(endpoint) as connection:
            assert connection.execute("SELECT count(), count_distinct(trades), max(trades) FROM health").fetchone() == (300, 300, 299)
    assert [line.split(": ")[1].split(" ")[0] for line in told] == ["away", "back"]


def test_a_server_without_its_keeper_is_still_found_and_stopped(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    with running(settings) as endpoint:
        os.kill(state(tmp_path)["keeper"], signal.SIGKILL)
        with running(settings) as same:
            assert same == endpoint
        assert is_up(endpoint)
    assert not is_up(endpoint)


def test_neither_ctrl_c_nor_a_closed_terminal_reaches_the_server(tmp_path: Path, free_ports: Ports) -> None:
    with running(on(tmp_path, free_ports)):
        for name in ("pid", "keeper"):
            assert os.getsid(state(tmp_path)[name]) != os.getsid(0)


def test_two_that_start_at_once_share_one_server(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    found: list[Endpoint] = []
    told: list[str] = []
    both = threading.Barrier(2)

    def use() -> None:
        with running(settings, told.append) as endpoint:
            found.append(endpoint)
            both.wait(LAST_S)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert sorted(line.split(" ")[0] for line in told) == ["QuestDB", "starting", "using"]
    assert not is_up(found[0])


@pytest.mark.parametrize("key", ["http_port", "pg_port"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, free_ports: Ports, key: str) -> None:
    settings = on(tmp_path, free_ports)
    with socket.create_server((keeper.HOST, getattr(settings, key))), pytest.raises(UserError) as refused, running(settings):
        pass
    assert str(refused.value) == (
        f"questdb.{key}: 127.0.0.1:{getattr(settings, key)} is taken by another program: "
        f"stop it, or set another questdb.{key} (demo: --{key.replace('_', '-')})"
    )


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, free_ports: Ports) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"^questdb\.dir: .*/file/db cannot be written \(Not a directory\): "),
        running(on(tmp_path / "file" / "db", free_ports)),
    ):
        pass


def test_a_server_that_does_not_start_leaves_a_line_and_its_log(tmp_path: Path, free_ports: Ports) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "server.conf").write_text("this.is.no.setting=1\nconfig.validation.strict=true\n")
    with pytest.raises(UserError) as refused, running(on(tmp_path, free_ports)):
        pass
    assert str(refused.value).startswith(f"QuestDB did not start on {tmp_path} (")
    assert str(refused.value).endswith(f"see {tmp_path}/log/questdb.log")
    assert "\n" not in str(refused.value)


def test_an_external_server_is_used_or_named(questdb: Endpoint, tmp_path: Path, free_ports: Ports) -> None:
    external = QuestDB(embedded=False, host=questdb.host, http_port=questdb.http_port, pg_port=questdb.pg_port, dir=tmp_path)
    with running(external) as endpoint:
        assert endpoint == questdb
    assert is_up(questdb)
    assert not list(tmp_path.iterdir())
    nowhere = QuestDB(embedded=False, host="127.0.0.1", http_port=(port := free_ports(1)[0]), pg_port=port)
    with pytest.raises(UserError, match=rf"^questdb: no answer from 127\.0\.0\.1:{port} \(HTTP\)"), running(nowhere):
        pass


def test_passwords_from_the_environment_are_asked_for(tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QDB_PG_PASSWORD", "QDB_HTTP_PASSWORD", "QDB_PG_READONLY_PASSWORD"):
        monkeypatch.setenv(name, name.lower())
    import psycopg

    with running(on(tmp_path, free_ports)) as endpoint:
        prepare(endpoint)
        writer = Writer(endpoint)
        writer.write([health(1)])
        writer.flush()
        writer.close()
        settle(endpoint)
        monkeypatch.setenv("QDB_HTTP_PASSWORD", "wrong")
        writer = Writer(endpoint)
        writer.write([health(2)])
        with pytest.raises(UserError, match=r"user or password refused \(HTTP 401\): set QDB_HTTP_USER and QDB_HTTP_PASSWORD"):
            writer.flush()
        writer.close()
        reader = {
            "host": endpoint.host,
            "port": endpoint.pg_port,
            "dbname": "qdb",
            "user": "grafana",
            "password": "qdb_pg_readonly_password",
        }
        with psycopg.connect(**reader, autocommit=True) as connection:
            assert connection.execute("SELECT count() FROM health").fetchone() == (1,)
            with pytest.raises(psycopg.Error):
                connection.execute("DROP TABLE health")
            with contextlib.suppress(psycopg.Error):
                connection.execute("COPY health TO 'stolen' WITH FORMAT PARQUET")  # answered at once, done afterwards
            time.sleep(1)
            assert not list(tmp_path.rglob("*stolen*"))


def test_serve_says_where_and_ends_at_a_signal(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom flows.config import QuestDB\nfrom flows.embedded import serve\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell lets what it runs in the background ignore it
        "settings = QuestDB(dir=Path(sys.argv[1]), http_port=int(sys.argv[2]), pg_port=int(sys.argv[3]))\n"
        "sys.exit(serve(settings, lambda line: print(line, flush=True)))"
    )
    process = forked.start(
        [sys.executable, "-c", code, str(tmp_path), str(settings.http_port), str(settings.pg_port)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parent.parent)},
    )
    assert process.stdout
    lines = []
    while not lines or lines[-1] != "Ctrl-C stops it\n":
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGINT)
    assert process.wait(LAST_S) == 0
    process.stdout.close()
    assert f"web console  http://127.0.0.1:{settings.http_port}\n" in lines
    assert not keeper.state_file(tmp_path).exists()


# the jar


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    return tmp_path / "cache" / "pairflow"


def test_the_jar_is_fetched_with_progress_and_then_cached(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a repository on this machine that holds the jar the session's server runs from."""
    monkeypatch.undo()
    jar = embedded.jar()
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_cache.parent))
    monkeypatch.setenv("M2_REPO", str(empty_cache / "none"))

    class Repository(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = jar.read_bytes() if self.path.endswith(embedded.JAR) else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{server.server_port}"})
        told: list[str] = []
        try:
            assert embedded.jar(told.append) == empty_cache / embedded.JAR
        finally:
            server.shutdown()
    assert told[0].startswith(f"fetching {embedded.JAR} (30 MB, once) to {empty_cache}")
    assert told[-1].startswith(f"fetching {embedded.JAR}: 30 of 30 MB")
    assert [path.name for path in empty_cache.iterdir()] == [embedded.JAR]
    told.clear()
    assert embedded.jar(told.append) == empty_cache / embedded.JAR  # nobody serves it any more
    assert told == []


def test_no_network_is_said_in_a_line(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, free_ports: Ports) -> None:
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{free_ports(1)[0]}"})
    with pytest.raises(UserError) as refused:
        embedded.jar()
    assert str(refused.value) == (
        "QuestDB 9.3.4: cannot be fetched from Maven Central (no connection): connect this machine to the network once, "
        f"put questdb-9.3.4.jar into {empty_cache}, or use a server of your own (questdb: {{embedded: false, host: …}})"
    )
    assert not list(empty_cache.iterdir())


def test_a_damaged_jar_is_never_run(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, free_ports: Ports) -> None:
    empty_cache.mkdir(parents=True)
    (empty_cache / embedded.JAR).write_bytes(b"half")
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{free_ports(1)[0]}"})
    with pytest.raises(UserError, match=r"^QuestDB 9\.3\.4: cannot be fetched"):
        embedded.jar()


def test_the_last_words_are_not_an_environment_variables(tmp_path: Path) -> None:
    log = tmp_path / "questdb.log"
    log.write_text(
        "NOTE: Picked up JAVA_TOOL_OPTIONS: -Dx=error\nA server-main QDB_LOG_ERROR=stdout\njava.net.BindException: could not bind\n"
    )
    assert _last_words(log, 0) == "java.net.BindException: could not bind"
