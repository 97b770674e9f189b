"""QuestDB as a child process that needs nothing but pip packages (`flows.database.jar`).

A server belongs to its data directory. The first `running(…)` on a directory starts the server; later ones,
of any process, find it and use it; the last one that ends stops it. The directory holds `run/` (locks, ports,
process ids and passwords), `log/questdb.log`, and QuestDB's own folders. After a `kill -9` of its users the
server runs on for some seconds, so that a restarted pipeline finds it, and then stops
(`flows.database.keeper`).
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flows.database import credentials, keeper
from flows.database.connection import Endpoint
from flows.database.jar import VERSION, Report, jar, silent
from flows.database.server_process import command, environment, last_words
from flows.errors import UserError
from flows.settings.model import QuestDB

START_S = 120.0  # enough for a small machine under load; usually it takes 2 to 5
POLL_S = 0.05
LOG_KEEP_BYTES = 16 * 1024 * 1024


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


def _start(directory: Path, settings: QuestDB, progress: Report, deadline: float) -> Endpoint:
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
    variables = environment(directory, settings.http_port, settings.pg_port)
    progress(f"starting QuestDB {VERSION} on {directory}")
    keeper.state_file(directory).unlink(missing_ok=True)
    with log.open("ab") as output, keeper.server_lock(directory).open("ab") as held:
        if not keeper.lock(held, fcntl.LOCK_EX):
            raise UserError(
                f"questdb.dir: {directory} is used by another server: stop it, or set another questdb.dir "
                f"(see {log})"
            )
        # -I: neither PYTHON… variables nor modules in the user's directory affect the keeper, which needs the
        # standard library only.
        keeping = [sys.executable, "-I", str(Path(keeper.__file__)), str(directory)]
        subprocess.run(
            [
                *keeping,
                str(settings.http_port),
                str(settings.pg_port),
                str(held.fileno()),
                *command(directory, jar_path),
            ],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # the keeper inherits the lock: if this process is interrupted here, it still finds and stops it
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
            raise UserError(f"QuestDB did not start on {directory} ({last_words(log, offset)}): see {log}")
        time.sleep(POLL_S)
    raise UserError(f"QuestDB on {directory} does not answer after {START_S:.0f} s: see {log}")


def _find(directory: Path, progress: Report, deadline: float) -> Endpoint | None:
    """The server that runs on the directory, if there is one. Waits while the keeper starts it again."""
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
    """Stop the keeper, which then stops its server. Without a keeper, stop the server itself."""
    signalled: set[int] = set()
    deadline = time.monotonic() + keeper.STOP_S + 5
    while _in_use(keeper.server_lock(directory)) and time.monotonic() < deadline:
        state = _read_state(directory)  # None if its start was interrupted before the file was written
        pids = (state["keeper"], state["pid"]) if state else ()
        living = [pid for pid in pids if state and keeper.alive(pid, state["born"].get(str(pid)))]
        for pid in living[:1]:
            if pid not in signalled:
                signalled.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(POLL_S)


def _absolute(directory: Path) -> Path:
    """The directory's absolute path; raises UserError if the server, locks or logs could not use it."""
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
    # messages and logs have the path in one line
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in str(found)):
        raise UserError(
            f"questdb.dir: {str(directory)!a} holds a line break or a control character: choose another "
            "directory"
        )
    return found


@contextlib.contextmanager
def running(settings: QuestDB, progress: Report = silent) -> Iterator[Endpoint]:
    """The database of these settings, while the block runs.

    An embedded one is found or started; an external one (embedded: false) has to answer.
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
            # This was the last user. The lock makes new users wait until the server is down.
            if keeper.lock(users, fcntl.LOCK_EX):
                _stop(directory)


def serve(settings: QuestDB, progress: Report = print) -> int:
    """Run the database alone until it is interrupted; the one place that shows the console's login."""
    with running(settings, progress) as endpoint, contextlib.suppress(KeyboardInterrupt):
        directory = _absolute(settings.dir)
        progress(f"web console  http://{endpoint.host}:{endpoint.http_port}")
        progress(f"login        {_login(endpoint, directory)}")
        progress(f"PostgreSQL   {endpoint.host}:{endpoint.pg_port}, database qdb")
        progress(
            f"passwords    {credentials.passwords_file(directory)}, also of PostgreSQL; the environment "
            "overrides them"
        )
        progress(f"log          {keeper.log_file(directory)}")
        progress("Ctrl-C stops it")
        threading.Event().wait()
    return 0


def _login(endpoint: Endpoint, directory: Path) -> str:
    """The console's login for the terminal, after it was tried. Shows only generated passwords."""
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
    """The wanted ports, all different. A port that is taken, or 0, is replaced by any free one."""
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
