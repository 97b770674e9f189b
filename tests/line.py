"""The `pairflow` command as a user runs it: directories with a configuration (homes), and their tables."""

import csv
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.database.embedded import running as database
from flows.database.export import export
from flows.runtime.running import open_recovery
from flows.settings.decoding import load
from flows.settings.model import Settings
from tests import forked

LAST_S = 200.0  # the limit of every wait: no test expects that something happens sooner
Ports = Callable[[int], list[int]]
TABLES = ("trades", "bars", "signals", "cointegration", "activity", "alerts")
REAL = (
    Path(__file__).parents[2]
    / "shared"
    / "data"
    / "binance_spot_trade_btcusdt_ethusdt_20240808T2354Z_20240809T0005Z.ndjson.gz"
)
CONFIGURATION = """
source: {{ws_url: "{ws}", rest_url: "{rest}"}}
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    timeframes: [1s, 1m]
    hedge: {{window: {{1s: 120, 1m: 20}}}}
    zscore: {{window: {{1s: 60, 1m: 10}}}}
    correlation: {{window: {{1s: 60, 1m: 5}}}}
    adf: {{window: {{1s: 120, 1m: 30}}, every: {{1s: 30, 1m: 1}}}}
alerts:
  - {{name: z, metric: zscore, outside: 2, exit: 1, timeframes: [1s]}}
questdb: {{{where}, http_port: {http}, pg_port: {pg}}}
recovery: {{dir: recovery}}
"""


def pairflow(home: Path, *arguments: str) -> str:
    """Run the command, which must succeed, and return its output."""
    done = forked.run(
        [sys.executable, "-m", "flows.command", *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=LAST_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def configuration(on: Endpoint | Ports, ws: str = "wss://x.invalid", rest: str = "https://x.invalid") -> str:
    """The text of pipeline.yaml, with a running server, or with an embedded one on free ports.

    Each command starts the embedded server in `db`, which takes some seconds: use it only where that matters.
    """
    if isinstance(on, Endpoint):
        where = f"embedded: false, host: {on.host}" if on.directory is None else f'dir: "{on.directory}"'
        http, pg = on.http_port, on.pg_port
    else:
        where, (http, pg) = "dir: db", on(2)
    return CONFIGURATION.format(ws=ws, rest=rest, where=where, http=http, pg=pg)


def configure(home: Path, on: Endpoint | Ports, *urls: str, **url: str) -> Path:
    """Make the home, with its pipeline.yaml."""
    home.mkdir()
    (home / "pipeline.yaml").write_text(configuration(on, *urls, **url))
    return home


def used_store(settings: Settings) -> Path:
    """Make the recovery store of these settings, with one epoch in it. Returns its file."""
    open_recovery(settings)
    assert settings.recovery.dir is not None
    store = settings.recovery.dir / "part-0.sqlite3"
    with sqlite3.connect(store) as connection:
        connection.execute("INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (0, 0, 2)")
    connection.close()
    return store


def tables(home: Path) -> dict[str, str]:
    """The tables as CSV, by name."""
    with database(load(home / "pipeline.yaml").questdb) as endpoint:
        for table in TABLES:
            export(endpoint, table, "csv", str(home / f"{table}.csv"))
    return {table: (home / f"{table}.csv").read_text() for table in TABLES}


def rows(text: str, **of: str) -> list[dict[str, str]]:
    """The rows of a table as CSV that have these values."""
    return [
        row
        for row in csv.DictReader(text.splitlines())
        if all(row[name] == value for name, value in of.items())
    ]


@contextmanager
def running(home: Path, *options: str) -> Iterator[Any]:
    """`pairflow run`, until the end of the block."""
    run = forked.start(
        [sys.executable, "-m", "flows.command", "run", *options], cwd=home, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    try:
        yield run
    finally:
        run.kill()
        run.wait()
        run.stderr.close()


def follow(run: Any, wanted: str) -> None:
    """Read the log of the run until a line contains `wanted`."""
    assert run.stderr is not None
    deadline = time.monotonic() + LAST_S
    for line in run.stderr:
        if wanted in line:
            return
        assert time.monotonic() < deadline
    raise AssertionError(f"the run ended before it logged {wanted!r}")


def finish(run: Any) -> None:
    """Stop the run, which must succeed."""
    assert run.stderr is not None
    run.send_signal(signal.SIGTERM)
    log = run.stderr.read()
    assert run.wait(timeout=LAST_S) == 0, log


def has(home: Path, trades: int, run: Any) -> None:
    """Wait until the run has written this number of trades."""
    deadline = time.monotonic() + LAST_S
    with database(load(home / "pipeline.yaml").questdb) as endpoint, connect(endpoint) as connection:
        while (found := connection.execute("SELECT count() FROM trades").fetchone()[0]) < trades:
            assert run.poll() is None, run.stderr.read()
            assert time.monotonic() < deadline, f"{found} of {trades} trades"
            time.sleep(0.05)
