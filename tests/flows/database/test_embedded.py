"""QuestDB as a child process: it is found, shared, restarted and stopped; errors say what prevents that."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.database import embedded, jar, keeper
from flows.database.connection import Endpoint, connect
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.errors import UserError
from flows.settings.model import QuestDB
from tests import forked
from tests.flows.database.serving import Ports, eventually, health, is_up, on, state
from tests.line import LAST_S

pytestmark = pytest.mark.usefixtures("fetched", "no_passwords")

PIPELINE = """
import sys, threading
from pathlib import Path
from flows.settings.model import QuestDB
from flows.database.embedded import running
settings = QuestDB(dir=Path(sys.argv[1]), http_port=int(sys.argv[2]), pg_port=int(sys.argv[3]))
with running(settings) as endpoint:
    print("up", flush=True)
    sys.stdin.read()
"""


def another_process(settings: QuestDB) -> Any:
    """A process that uses the server until its input ends. Returns once it does so."""
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
            assert second == first  # a directory has one server, even if other ports are asked for
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


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, free_ports: Ports) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"^questdb\.dir: .*/file/db cannot be written \(Not a directory\): "),
        running(on(tmp_path / "file" / "db", free_ports)),
    ):
        pass


def test_an_external_server_is_used_or_named(questdb: Endpoint, tmp_path: Path, free_ports: Ports) -> None:
    external = QuestDB(
        embedded=False, host=questdb.host, http_port=questdb.http_port, pg_port=questdb.pg_port, dir=tmp_path
    )
    with running(external) as endpoint:
        assert endpoint == replace(questdb, directory=None)  # its logins come from the environment only
    assert is_up(questdb)
    assert not list(tmp_path.iterdir())
    nowhere = QuestDB(embedded=False, host="127.0.0.1", http_port=(port := free_ports(1)[0]), pg_port=port)
    with (
        pytest.raises(UserError, match=rf"^questdb: no answer from 127\.0\.0\.1:{port} \(HTTP\)"),
        running(nowhere),
    ):
        pass


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
