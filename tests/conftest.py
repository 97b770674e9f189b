"""The processes that run the tests, a real QuestDB for each of them, and a proxy that fails on request."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flows.database.connection import Endpoint, connect
from flows.database.credentials import server_environment
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.database.schema import tables as schema
from flows.sandbox.market import record
from flows.settings.model import QuestDB
from tests import forked
from tests.line import REAL, configure, pairflow, tables

PROCESSES = 3  # for two cores, because usually one process waits for a database, a socket or a clock
ROOT = Path(__file__).parents[1]
# The threads of numpy's linear algebra. The matrices have few columns, and more threads would take the cores
# of the other processes.
ONE_THREAD = "OPENBLAS_NUM_THREADS"
# Tests without coverage: other tests run the same lines, and tracing these would take minutes of CI.
UNTRACED = {
    "tests/simulation/test_simulation.py",
    "tests/benchmarks/test_verify_statistics.py",
    "tests/faults/test_27_a_million_bars_and_a_bad_tick.py",
    "tests/operators/test_own_data.py",
    "tests/operators/test_exactness.py",
    "tests/operators/test_late.py",
    "tests/flows/feed/test_sequencer_properties.py",
}
JAVA_OPTIONS = "PAIRFLOW_JAVA_OPTIONS"
QUICK_JAVA = "-XX:TieredStopAtLevel=1"  # halves the CPU time of a server that runs for a few minutes

# Results must not depend on how busy the machine is: no example has a deadline, and none is too slow to draw.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests run in three processes. Tests named on the command line run in this one, without a delay."""
    return PROCESSES if config.args == config.getini("testpaths") else 0


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault(ONE_THREAD, "1")
    os.environ.setdefault(JAVA_OPTIONS, QUICK_JAVA)
    if getattr(config.option, "numprocesses", None):  # other processes run the tests
        forked.serve()
        # In a fresh clone each of these processes would compile the kernels, so compile them once before.
        if not any((ROOT / "operators").rglob("*.nbi")):
            print("compiling the numerical kernels: once, half a minute", file=sys.stderr)
            with subprocess.Popen(
                [sys.executable, "-c", "from tests.forking import compile_slowest; compile_slowest()"],
                cwd=ROOT,
            ):
                forked.run([sys.executable, "-c", ""], check=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(ROOT).as_posix() in UNTRACED:
            item.add_marker(pytest.mark.no_cover)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="session", autouse=True)
def failing_steps_raise() -> Iterator[None]:
    """A guarded step that fails in this process raises its error.

    Otherwise it would end the process, and with it pytest, without a message.
    """

    def end(text: str) -> None:
        raise  # noqa: PLE0704 - the error that `guarded` has just caught

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.runtime.fatal.end", end)
        yield


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """`free_ports(n)` returns n different ports that are free."""
    return _free_ports


@pytest.fixture(scope="session")
def questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A real QuestDB with Pairflow's tables, shared by the session. Tests that write use `database`."""
    http_port, pg_port = _free_ports(2)
    directory = tmp_path_factory.mktemp("questdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDB_DEV_MODE_ENABLED", "true")  # lets a test suspend a table
        with running(QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)) as endpoint:
            patch.undo()
            prepare(endpoint)
            yield endpoint


def emptied(questdb: Endpoint) -> Endpoint:
    """The database with empty tables: changed and missing ones are created again."""
    with connect(questdb) as connection:
        transactions = dict(connection.execute("SELECT name, sequencerTxn FROM wal_tables()").fetchall())
        # Not TRUNCATE, which would keep the time to live that a test has set.
        for name in [name for name, many in transactions.items() if many]:
            connection.execute(f"DROP TABLE '{name}'")
        for table in schema().values():
            if transactions.get(table.name) != 0:
                connection.execute(table.create)
    return questdb


@pytest.fixture
def database(questdb: Endpoint) -> Endpoint:
    """The session's QuestDB with empty tables."""
    return emptied(questdb)


@pytest.fixture
def logins(questdb: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passwords of the session's QuestDB, in the environment.

    With them a configuration can use it like a server that somebody else runs (embedded: false).
    """
    assert questdb.directory is not None
    for name, text in server_environment(questdb.directory).items():
        monkeypatch.setenv(name, text)


class Proxy:
    """A TCP proxy to one port. `fault` decides what happens to the server's answers.

    None: they are forwarded. "drop": the connection is closed instead. "hang": they are held back. Bytes: the
    proxy sends these, and does not forward the request.
    """

    def __init__(self, port: int, at: int = 0) -> None:
        self.fault: str | bytes | None = None
        self.faults = 0  # how many requests or answers the fault has hit
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", at))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(self._upstream)
                self._sockets += [client, upstream]
                for target in (self._requests, self._answers):
                    thread = threading.Thread(target=target, args=(client, upstream))
                    self._threads.append(thread)
                    thread.start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            answer: str | bytes | None = None
            while chunk := client.recv(65536):
                if chunk.startswith(b"POST"):  # decided for a whole request, which may have several chunks
                    answer = self.fault
                if not isinstance(answer, bytes):
                    upstream.sendall(chunk)
                elif chunk.startswith(b"POST"):
                    self.faults += 1
                    client.sendall(answer)
            upstream.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := upstream.recv(65536):
                if self.fault == "drop":
                    self.faults += 1
                    client.shutdown(socket.SHUT_RDWR)
                elif self.fault == "hang":
                    self.faults += 1
                else:
                    client.sendall(chunk)
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """`proxy(port)` starts a Proxy to a port. It listens on a free port, or on `at`."""
    with contextlib.ExitStack() as stack:
        yield lambda port, at=0: stack.enter_context(contextlib.closing(Proxy(port, at)))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """650 s of trades of BTCUSDT and ETHUSDT: real ones if they are available, otherwise simulated ones."""
    if REAL.exists():
        return REAL
    path = tmp_path_factory.mktemp("recording") / "simulated.ndjson.gz"
    record(path, 7, ("BTCUSDT", "ETHUSDT"), 1_723_161_255_000_000, 650)
    return path


@pytest.fixture(scope="session")
def replayed(
    tmp_path_factory: pytest.TempPathFactory, recording: Path, questdb: Endpoint
) -> tuple[Path, dict[str, str]]:
    """A home in which the recording was replayed, and its tables: every other way must lead to the same ones.

    The tables are texts, because later tests empty the database.
    """
    home = configure(tmp_path_factory.mktemp("line") / "replayed", emptied(questdb))
    pairflow(home, "replay", str(recording))
    return home, tables(home)
