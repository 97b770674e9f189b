"""Keeps the QuestDB process of a directory running for as long as a process uses it.

`flows.database.embedded` starts this program as a separate process in its own session, so that neither Ctrl-C
nor `kill -9` of a pipeline reaches the database. It has the server's login from the environment, as the
server has. Each process that uses the server holds a shared lock on `run/users.lock`; the operating system
releases it when the process ends, however it ends. LINGER_S after the last one has ended, the keeper stops
the server. If the server dies while it is used, the keeper starts it again.

It uses the standard library only, because it stays in memory next to the server: psutil, for the one number
that `born` reads, would be one more dependency and more memory.
"""

import base64
import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

LINGER_S = 5.0  # long enough for a supervisor to restart a killed pipeline
PING_S = 1.0
STOP_S = 30.0  # then SIGKILL, which is safe because of the write-ahead log
RESTART_S = 0.5  # doubled after each start that fails
RESTART_MAX_S = 30.0
HOST = "127.0.0.1"


def users_lock(directory: Path) -> Path:
    return directory / "run" / "users.lock"


def server_lock(directory: Path) -> Path:
    """Locked for as long as the keeper or its server lives: both have the file open."""
    return directory / "run" / "server.lock"


def state_file(directory: Path) -> Path:
    """Ports and process ids of the server: {http_port, pg_port, pid, keeper, born, ready}."""
    return directory / "run" / "server.json"


def log_file(directory: Path) -> Path:
    return directory / "log" / "questdb.log"


def lock(file: IO[bytes], kind: int) -> bool:
    """Take the lock if it is free; returns whether it was."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def born(pid: int) -> int | None:
    """When a live process started, in the kernel's ticks; None if it is gone or that is not known.

    It distinguishes the process from a later one with the same id.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None


def alive(pid: int, since: int | None) -> bool:
    """Whether the process that started then still lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return born(pid) == since


def answers(host: str, http_port: int, pg_port: int) -> bool:
    """Whether a QuestDB answers on both ports; /ping needs no login."""
    try:
        if _status(host, http_port, "/ping") != http.client.NO_CONTENT:
            return False
        with socket.create_connection((host, pg_port), timeout=PING_S):
            return True
    except (OSError, http.client.HTTPException):
        return False


def is_ours(host: str, http_port: int, user: str, password: str) -> bool:
    """Whether the server asks for a login and accepts this one.

    Another program's server, which took the port at the same moment, does not.
    """
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    statement = "/exec?query=SELECT%201"
    try:
        return [
            _status(host, http_port, statement),
            _status(host, http_port, statement, Authorization=login),
        ] == [
            http.client.UNAUTHORIZED,
            http.client.OK,
        ]
    except (OSError, http.client.HTTPException):
        return False


def _status(host: str, port: int, target: str, **headers: str) -> int:
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=PING_S)) as connection:
        connection.request("GET", target, headers=headers)
        return connection.getresponse().status


def _write_state(directory: Path, state: dict[str, Any]) -> None:
    path = state_file(directory)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(path)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def keep(directory: Path, http_port: int, pg_port: int, command: list[str], held: int) -> int:
    """Run until SIGTERM, or until no process uses the server.

    `held` is the file descriptor of the server lock, which the server inherits.
    """
    stopping, woken = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        woken.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: woken.set())
    users = users_lock(directory).open("ab")
    login = os.environ["QDB_HTTP_USER"], os.environ["QDB_HTTP_PASSWORD"]
    pause, was_ready, alone_since = RESTART_S, False, None
    while True:
        with log_file(directory).open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(held,)
            )
        state: dict[str, Any] = {
            "http_port": http_port,
            "pg_port": pg_port,
            "pid": child.pid,
            "keeper": os.getpid(),
        }
        state |= {"born": {str(pid): born(pid) for pid in (child.pid, os.getpid())}, "ready": False}
        _write_state(directory, state)
        while child.poll() is None and not stopping.is_set():
            if not state["ready"] and answers(HOST, http_port, pg_port) and is_ours(HOST, http_port, *login):
                _write_state(directory, state := state | {"ready": True})
                was_ready, pause = True, RESTART_S
            if not lock(users, fcntl.LOCK_EX):
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
                fcntl.flock(users, fcntl.LOCK_UN)
            elif time.monotonic() - alone_since > LINGER_S:
                # Keep the lock until this process ends: a new user waits for it, and then starts a server.
                break
            else:
                fcntl.flock(users, fcntl.LOCK_UN)
            woken.wait(1.0 if state["ready"] else 0.1)
            woken.clear()
        died = child.poll() is not None and not stopping.is_set()
        _stop(child)
        if not died or not was_ready:
            state_file(directory).unlink(missing_ok=True)
            return 1 if died else 0
        with log_file(directory).open("a") as log_text:
            log_text.write(f"pairflow: the server ended with {child.returncode}; started again\n")
        stopping.wait(pause)
        pause = min(2 * pause, RESTART_MAX_S)
        if stopping.is_set():
            state_file(directory).unlink(missing_ok=True)
            return 0


def main(arguments: list[str]) -> int:
    """Keep the server of a directory in the background.

    The server lock is passed on as an open file, so that it is held at every moment from the start on.
    """
    directory, (http_port, pg_port, held), command = (
        Path(arguments[0]),
        map(int, arguments[1:4]),
        arguments[4:],
    )
    if os.fork():
        os._exit(0)  # the keeper becomes an orphan, so that its parent need not wait for it
    with contextlib.suppress(OSError):
        os.setsid()
    return keep(directory, http_port, pg_port, command, held)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
