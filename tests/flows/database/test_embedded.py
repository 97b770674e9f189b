"""QuestDB as a child process: found again, shared, restarted, stopped, and clear about what is in its way."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from flows.database import embedded, jar, keeper
from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.credentials import login, passwords_file
from flows.database.embedded import _last_words, running
from flows.database.prepare import prepare
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.errors import UserError
from flows.settings.model import QuestDB
from tests import forked
from tests.line import LAST_S

T0 = 1_723_161_600_000_000

Ports = Callable[[int], list[int]]


@pytest.fixture(scope="module", autouse=True)
def fetched() -> None:
    """The jar is there before the first test: what a start tells does not depend on whether this machine has
    had one.
    """
    jar.jar()


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in the environment, whatever other tests need there: each directory has its own."""
    for name in [name for name in os.environ if name.startswith("QDB_")]:
        monkeypatch.delenv(name)


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
from flows.settings.model import QuestDB
from flows.database.embedded import running, _last_words
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
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parents[2])},
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    return process


def ended(process: Any) -> int:
    assert process.stdin and process.stdout
    process.stdin.close()
    process.stdout.close()
    return process.wait(LAST_S)


def test_a_server_is_started_found_again_shared_and_stopped_by_the_last(
    tmp_path: Path, free_ports: Ports
) -> None:
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
    elsewhere = shutil.copytree(settings.dir, tmp_path / "another machine")
    keeper.state_file(elsewhere).write_text(
        json.dumps({"http_port": 1, "pg_port": 1, "pid": 1, "keeper": 1, "born": {"1": 0}, "ready": True})
    )
    with running(msgspec.structs.replace(settings, dir=elsewhere)) as again, connect(again) as connection:
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
    endpoint = Endpoint(keeper.HOST, settings.http_port, settings.pg_port, tmp_path)
    eventually(lambda: not is_up(endpoint) and not keeper.state_file(tmp_path).exists())


def test_a_server_killed_while_rows_are_written_comes_back_and_no_row_is_lost(
    tmp_path: Path, free_ports: Ports
) -> None:
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
            assert connection.execute(
                "SELECT count(), count_distinct(trades), max(trades) FROM health"
            ).fetchone() == (300, 300, 299)
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
    with (
        socket.create_server((keeper.HOST, getattr(settings, key))),
        pytest.raises(UserError) as refused,
        running(settings),
    ):
        pass
    assert str(refused.value) == (
        f"questdb.{key}: 127.0.0.1:{getattr(settings, key)} is taken by another program: "
        f"stop it, or set another questdb.{key} (demo: --{key.replace('_', '-')})"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a\nb", "holds a line break or a control character: choose another directory"),
        ("a\x1b[2Jb", "holds a line break or a control character: choose another directory"),
        ("a\udcffb", "QuestDB needs names in UTF-8: set LC_ALL=C.UTF-8, or another directory"),
        ("~nobody-of-that-name", "there is no such user: name the directory in full"),
    ],
)
def test_a_name_that_a_server_or_a_line_cannot_hold_is_refused(
    tmp_path: Path, free_ports: Ports, name: str, why: str
) -> None:
    with (
        pytest.raises(UserError) as refused,
        running(on(Path(name) if name.startswith("~") else tmp_path / name, free_ports)),
    ):
        pass
    assert str(refused.value).startswith("questdb.dir: ") and str(refused.value).endswith(why)
    assert str(refused.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_options_of_our_own_for_java_are_words_of_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAIRFLOW_JAVA_OPTIONS", "-Xss1m '-Dx=a b'")
    command = embedded._command(tmp_path, tmp_path / "questdb.jar")
    assert command.index("-Dx=a b") == command.index("-Xss1m") + 1 < command.index("-p")
    monkeypatch.setenv("PAIRFLOW_JAVA_OPTIONS", "'-Xss1m")
    with pytest.raises(
        UserError,
        match=r"^environment: PAIRFLOW_JAVA_OPTIONS: no closing quotation: correct it, or unset it$",
    ):
        embedded._command(tmp_path, tmp_path / "questdb.jar")


def test_what_the_environment_holds_for_other_programs_does_not_reach_the_server(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "LC_ALL": "C",  # the server did not find a directory whose name has letters beyond ASCII
        "JAVA_TOOL_OPTIONS": "-Xmx1m",
        "JDK_JAVA_OPTIONS": "-Xmx1m",
        "_JAVA_OPTIONS": "-javaagent:/nowhere.jar",
        "PYTHONHOME": "/nowhere",
        "TZ": "Mars/Olympus",
        "QDB_HTTP_NET_BIND_TO": "0.0.0.0:0",  # went before the address that we set
        "QDB_HTTP_ENABLED": "false",
        "QDB_HTTP_PASSWORD_FILE": str(tmp_path / "password"),
    }.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "password").write_text("of a file\n")
    settings = on(tmp_path / "daten ü 日 '\" $x", free_ports)
    before = os.umask(0)
    try:
        with running(settings) as endpoint:
            prepare(endpoint)
            writer = Writer(endpoint)
            writer.write([health(1)])
            writer.flush()
            writer.close()
    finally:
        os.umask(before)
    # QuestDB cuts letters beyond ASCII to a byte
    log = keeper.log_file(settings.dir).read_text(errors="replace")
    assert set(re.findall(r"listening on (\S+)", log)) == {
        f"127.0.0.1:{settings.http_port}",
        f"127.0.0.1:{settings.pg_port}",
    }
    assert "of a file" not in log
    assert passwords_file(settings.dir).stat().st_mode & 0o777 == 0o600


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
    external = QuestDB(
        embedded=False, host=questdb.host, http_port=questdb.http_port, pg_port=questdb.pg_port, dir=tmp_path
    )
    with running(external) as endpoint:
        assert endpoint == replace(questdb, directory=None)  # its logins are in the environment alone
    assert is_up(questdb)
    assert not list(tmp_path.iterdir())
    nowhere = QuestDB(embedded=False, host="127.0.0.1", http_port=(port := free_ports(1)[0]), pg_port=port)
    with (
        pytest.raises(UserError, match=rf"^questdb: no answer from 127\.0\.0\.1:{port} \(HTTP\)"),
        running(nowhere),
    ):
        pass


def test_passwords_from_the_environment_are_asked_for(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        with pytest.raises(
            UserError,
            match=r"user or password refused \(HTTP 401\): set QDB_HTTP_USER and QDB_HTTP_PASSWORD to .*, or stop the server of",
        ):
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
                # answered at once, done afterwards
                connection.execute("COPY health TO 'stolen' WITH FORMAT PARQUET")
            time.sleep(1)
            assert not list(tmp_path.rglob("*stolen*"))


def test_a_login_is_shown_only_when_it_works(
    questdb: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert questdb.directory is not None
    kept = str(login("HTTP", questdb.directory).password)
    assert embedded._login(questdb, questdb.directory) == f"admin, password {kept}"
    monkeypatch.setenv("QDB_HTTP_PASSWORD", kept)
    assert embedded._login(questdb, questdb.directory) == "admin, password as in QDB_HTTP_PASSWORD"
    monkeypatch.setenv("QDB_HTTP_PASSWORD", "another")
    with pytest.raises(
        UserError,
        match=r"^questdb: the login in QDB_HTTP_PASSWORD is refused: set QDB_HTTP_USER and .* or stop the server of ",
    ):
        embedded._login(questdb, questdb.directory)
    monkeypatch.delenv("QDB_HTTP_PASSWORD")
    assert embedded._login(questdb, tmp_path).startswith("none: an earlier version started this server")


def test_serve_says_where_and_ends_at_a_signal(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom flows.settings.model import QuestDB\nfrom "
        "flows.database.embedded import serve\n"
        # a shell lets what it runs in the background ignore it
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "settings = QuestDB(dir=Path(sys.argv[1]), http_port=int(sys.argv[2]), pg_port=int(sys.argv[3]))\n"
        "sys.exit(serve(settings, lambda line: print(line, flush=True)))"
    )
    process = forked.start(
        [sys.executable, "-c", code, str(tmp_path), str(settings.http_port), str(settings.pg_port)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parents[2])},
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
    console = login("HTTP", tmp_path)
    assert f"login        admin, password {console.password}\n" in lines
    assert str(console.password) not in keeper.log_file(tmp_path).read_text()
    assert not keeper.state_file(tmp_path).exists()


def test_the_last_words_are_not_an_environment_variables(tmp_path: Path) -> None:
    log = tmp_path / "questdb.log"
    log.write_text(
        "NOTE: Picked up JAVA_TOOL_OPTIONS: -Dx=error\nA server-main "
        "QDB_LOG_ERROR=stdout\njava.net.BindException: could not bind\n"
    )
    assert _last_words(log, 0) == "java.net.BindException: could not bind"


def test_an_interruption_at_the_moment_of_the_start_stops_what_has_been_started(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = on(tmp_path, free_ports)

    def interrupted(*command: Any, check: bool, **how: Any) -> None:
        started.append(subprocess.Popen(*command, **how))
        raise KeyboardInterrupt

    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(embedded.subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt), running(settings):
        pass
    started[0].wait(LAST_S)
    assert not embedded.in_use(tmp_path) and not keeper.state_file(tmp_path).exists()


def test_a_lock_that_somebody_else_took_is_not_waited_for(tmp_path: Path, free_ports: Ports) -> None:
    for part in ("run", "log"):
        (tmp_path / part).mkdir()
    with keeper.server_lock(tmp_path).open("ab") as held:
        assert keeper.lock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is used by another server"):
            embedded._start(tmp_path, on(tmp_path, free_ports), jar.silent, time.monotonic())
