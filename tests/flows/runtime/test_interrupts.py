"""Ctrl-C and SIGTERM end every command at once, with one line, and with nothing half-written."""

import contextlib
import gzip
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.database import embedded, jar
from flows.database.connection import Endpoint
from flows.errors import Interrupted
from flows.runtime.interrupts import AT_ONCE, TOO_LONG, interruptible, step_at_work, stopping_on_signals
from flows.runtime.stop import Stop
from flows.sandbox.background import background
from flows.sandbox.market import record
from tests import forked
from tests.line import LAST_S, Ports, configuration, configure, follow, has

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
LINE = "pairflow: interrupted; nothing is left half-written"
NOTICE = ": stopping; writing what is under way"  # behind the name of the signal


@contextmanager
def command(home: Path, *arguments: str) -> Iterator[Any]:
    process = forked.start(
        [sys.executable, "-m", "flows.command", *arguments],
        cwd=home,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def ended(process: Any) -> tuple[int, str]:
    """The exit code and the last line of a process, apart from the one that reports the signal.

    How soon it ends depends on the machine, so tests look at the line, which says what it had finished. A
    thread reports the signal, before or after the main thread prints its last line.
    """
    _, said = process.communicate(timeout=LAST_S)
    lines = [line for line in said.strip().splitlines() if not line.endswith(NOTICE)]
    return process.returncode, lines[-1]


@BOTH
def test_a_signal_raises_and_the_handlers_go_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), number)
        time.sleep(LAST_S)  # the system may deliver the signal to another thread, and Python a little later
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_a_cleaning_up_that_does_not_end(tmp_path: Path) -> None:
    program = (
        "import time\nfrom flows.runtime.interrupts import interruptible\nwith interruptible():\n"
        "    try:\n        print('up', flush=True)\n"
        "        time.sleep(99)\n    finally:\n        print('up', flush=True)\n        time.sleep(99)\n"
    )
    process = forked.start(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    for _ in range(2):
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
    assert ended(process) == (1, "pairflow: ended at once")


# while a dataflow runs


@BOTH
def test_a_signal_sets_the_stop_and_the_handlers_go_back(number: int) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stopping_on_signals(stop):
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
    assert signal.getsignal(number) is before


KERNEL = """
from flows.runtime import interrupts
from flows.runtime.interrupts import step_at_work, stopping_on_signals
from flows.runtime.stop import Stop
from operators.compiled import compiled

@compiled()
def spin(turns):
    total = 0.0
    for i in range(turns):
        for j in range(turns):
            total += 1.0 / (i + j + 1)
    return total

interrupts.STEP_S = {step_s}
spin(1)
with stopping_on_signals(Stop()), step_at_work():
    print("up", flush=True)
    spin(1 << 40)
"""


@pytest.mark.parametrize(
    ("step_s", "signals", "last"),
    [(99.0, 2, AT_ONCE), (0.2, 1, TOO_LONG.format(seconds=0.2))],
    ids=["the second", "the first"],
)
def test_a_signal_ends_a_kernel_that_does_not_end(step_s: float, signals: int, last: str) -> None:
    program = KERNEL.format(step_s=step_s)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "up\n"
    for number in (signal.SIGINT, signal.SIGTERM)[:signals]:
        process.send_signal(number)
        if number == signal.SIGINT:
            assert process.stderr.readline() == f"SIGINT{NOTICE}\n"
    _, said = process.communicate()
    assert (process.returncode, said.strip()) == (1, last)


def test_a_step_that_ends_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.runtime.interrupts.STEP_S", 60.0)
    stop = Stop()
    with stopping_on_signals(stop):
        with step_at_work():
            os.kill(os.getpid(), signal.SIGTERM)
            stop.wait(60.0)
        assert stop


# before and after the dataflow


@BOTH
@pytest.mark.parametrize("verb", ["replay", "exchange"])
def test_the_look_at_a_recording_is_interrupted(
    tmp_path: Path, free_ports: Ports, verb: str, number: int
) -> None:
    home = configure(tmp_path / "home", free_ports)
    record(tmp_path / "second.ndjson.gz", 1, ("BTCUSDT", "ETHUSDT"), 1_763_800_000_000_000, 60)
    # seconds of work
    (home / "long.ndjson").write_bytes(gzip.decompress((tmp_path / "second.ndjson.gz").read_bytes()) * 200)
    before = sorted(home.iterdir())
    with command(home, verb, "long.ndjson") as process:
        until = time.monotonic() + LAST_S
        while not opened(process.pid, home / "long.ndjson"):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(number)
        assert ended(process) == (0, LINE)
    assert sorted(home.iterdir()) == before


def opened(pid: int, path: Path) -> bool:
    """Whether the process has the file open."""
    with contextlib.suppress(OSError):
        return any(each.readlink() == path for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("questdb",), signal.SIGINT),
        (("demo",), signal.SIGTERM),
        (("run",), signal.SIGTERM),
        (("export", "trades", "-o", "trades.csv"), signal.SIGINT),
    ],
)
def test_the_start_of_the_database_is_interrupted_and_the_server_stopped(
    tmp_path: Path, free_ports: Ports, arguments: tuple[str, ...], number: int
) -> None:
    with background(symbols=("BTCUSDT", "ETHUSDT")) as exchange:
        home = configure(tmp_path / "home", free_ports, exchange.ws_url, exchange.rest_url)
        http, pg = free_ports(2)
        ports = ("--http-port", str(http), "--pg-port", str(pg)) if arguments[0] == "demo" else ()
        with command(home, *arguments, *ports) as process:
            follow(process, "starting QuestDB")
            process.send_signal(number)
            assert ended(process) == (0, LINE)
    assert not embedded.in_use(home / "db") and not embedded.in_use(home / ".pairflow" / "demo" / "questdb")
    assert not (home / "trades.csv").exists()


def test_a_fetch_of_the_jar_is_interrupted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "none"))
    done = threading.Event()

    class Stalling(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "30000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"half")
                os.kill(os.getpid(), signal.SIGINT)
                done.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(
            "jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{server.server_port}"}
        )
        try:
            with pytest.raises(Interrupted), interruptible():
                jar.jar()
        finally:
            done.set()
            server.shutdown()
    assert not list((tmp_path / "cache" / "pairflow").iterdir())


@contextmanager
def silent_database() -> Iterator[tuple[int, int, threading.Event]]:
    """Two ports: one answers pings, the other accepts PostgreSQL connections and does not answer."""
    asked = threading.Event()
    clients = []

    class Ping(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                if client.recv(4096):
                    asked.set()

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ping) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        threads = [threading.Thread(target=work) for work in (server.serve_forever, accept)]
        for thread in threads:
            thread.start()
        try:
            yield server.server_port, listener.getsockname()[1], asked
        finally:
            server.shutdown()
            listener.shutdown(socket.SHUT_RDWR)
            for client in clients:
                client.close()
            for thread in threads:
                thread.join()


def test_an_export_that_waits_for_the_database_is_interrupted_without_a_file(tmp_path: Path) -> None:
    with silent_database() as (http_port, pg_port, asked):
        (tmp_path / "pipeline.yaml").write_text(
            "pairs: [[BTCUSDT, ETHUSDT]]\nquestdb: "
            f"{{embedded: false, host: 127.0.0.1, http_port: {http_port}, pg_port: {pg_port}}}\n"
        )
        with command(tmp_path, "export", "trades", "-o", "trades.csv") as process:
            assert asked.wait(LAST_S)
            process.send_signal(signal.SIGINT)
            assert ended(process) == (0, LINE)
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


def test_a_check_that_is_interrupted_is_not_ready(tmp_path: Path, free_ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts the connection and does not answer
        home = configure(tmp_path / "home", free_ports, rest=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with command(home, "check") as process:
            client, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            assert ended(process) == (1, LINE)
            client.close()


# inside it


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_the_loading_of_history_is_interrupted(
    tmp_path: Path, free_ports: Ports, questdb: Endpoint, workers: str, number: int
) -> None:
    with background(symbols=("BTCUSDT", "ETHUSDT"), history_s=3_600.0, begin="now") as exchange:
        home = external(tmp_path, questdb, questdb.http_port, exchange.ws_url, exchange.rest_url)
        exchange.control("faults", rest_delay_s=0.3)
        with command(home, "run", "--workers", workers) as process:
            follow(process, "history: from the exchange")
            exchange.control("faults", rest_delay_s=3)
            process.send_signal(number)
            code, said = ended(process)
    assert code == 0
    assert said.startswith("stopped; written: ")


def external(home: Path, questdb: Endpoint, http_port: int, ws: str, rest: str) -> Path:
    """A home directory with the session's database, behind another port."""
    (home / "pipeline.yaml").write_text(
        configuration(Endpoint(questdb.host, http_port, questdb.pg_port), ws, rest)
    )
    return home


@contextmanager
def writing(home: Path, database: Endpoint, between: Any) -> Iterator[Any]:
    """A run that has written rows through the proxy."""
    with background(symbols=("BTCUSDT", "ETHUSDT"), rate=200.0) as exchange:
        external(home, database, between.port, exchange.ws_url, exchange.rest_url)
        with command(home, "run") as process:
            has(home, 1, process)
            yield process


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize("fault", ["hang", "gone"])
def test_a_run_ends_while_the_database_is_away_and_says_how_many_rows_wait(
    tmp_path: Path, database: Endpoint, proxy: Callable[[int], Any], fault: str
) -> None:
    between = proxy(database.http_port)
    with writing(tmp_path, database, between) as process:
        if fault == "hang":
            between.fault = "hang"
            while not between.faults:
                threading.Event().wait(0.05)
        else:
            between.close()
            follow(process, "away")
        process.send_signal(signal.SIGTERM)
        code, said = ended(process)
    assert code == 1
    assert said.startswith(f"pairflow: questdb 127.0.0.1:{between.port}: away for ")
    assert " rows not written: start again when it answers" in said


@pytest.mark.usefixtures("logins")
def test_a_second_signal_does_not_wait_for_the_database(
    tmp_path: Path, database: Endpoint, proxy: Callable[[int], Any]
) -> None:
    between = proxy(database.http_port)
    with writing(tmp_path, database, between) as process:
        between.fault = "hang"
        while not between.faults:
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGINT)
        follow(process, "stopping")
        process.send_signal(signal.SIGINT)
        code, said = ended(process)
    assert code == 1
    assert said.startswith("pairflow: ended at once: ")
