"""The simulated market that `demo` runs on, and `run` where the configuration says so: its process, and its
database.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from flows.errors import UserError

DEMO_RATE: Final = 15.0  # trades a second and symbol
DEMO_HISTORY_S: Final = 7_200.0  # the market began so long ago: every window fills while one looks on
DEMO_CATCH_UP: Final = 120.0
CHILD_START_S: Final = 30.0


def erase(database: Any) -> None:
    """Empty the database of a simulated market, which differs on every run. Its passwords stay."""
    import shutil

    from flows.database.credentials import passwords_file
    from flows.database.embedded import in_use
    from flows.database.keeper import users_lock

    where = database.dir
    if in_use(where):
        raise UserError(
            f"questdb: {where}: another simulated market or `pairflow questdb` is running on it: stop that first"
        )
    if not where.exists():
        return
    ours, kept = users_lock(where), passwords_file(where)
    if not ours.exists() and any(where.iterdir()):
        raise UserError(
            f"questdb: {where} is to be emptied for a simulated market, but holds other things: move them, or set questdb.dir"
        )
    for path in where.iterdir():
        if path != ours.parent:  # last, for it says whose the directory is
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kept.exists():  # a Grafana that was given them goes on
        for path in ours.parent.iterdir():
            if path not in (ours, kept):
                path.unlink()
    else:
        shutil.rmtree(where)


@contextlib.contextmanager
def simulated(settings: Any) -> Iterator[Any]:
    """The settings, pointed at a simulated market that a child process plays for the length of the block."""
    import socket
    import subprocess

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port_ = probe.getsockname()[1]
    market = [
        "--symbols",
        *settings.symbols,
        "--rate",
        str(DEMO_RATE),
        "--history",
        str(DEMO_HISTORY_S),
        "--catch-up",
        str(DEMO_CATCH_UP),
    ]
    command = [
        sys.executable,
        "-m",
        "flows.command",
        "exchange",
        "--port",
        str(port_),
        "--until-eof",
        *market,
    ]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + CHILD_START_S
        while not answers(port_):
            if child.poll() is not None or time.monotonic() > deadline:
                raise UserError("exchange: the simulated market did not start; `pairflow exchange` says why")
            time.sleep(0.05)
        source = msgspec.structs.replace(
            settings.source, ws_url=f"ws://127.0.0.1:{port_}", rest_url=f"http://127.0.0.1:{port_}"
        )
        yield msgspec.structs.replace(settings, sources=(source,))
    finally:
        child.terminate()
        child.wait()
        if child.stdin:
            child.stdin.close()


def answers(port_: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port_), timeout=1).close()
    except OSError:
        return False
    return True
