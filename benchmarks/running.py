"""`make bench-running`: what a day of running costs: CPU, bytes written to the disk, and how soon a signal
can be read.

For each shape: the day's partitions are filled as if the pipeline had run since midnight, then `pairflow run`
follows a live market in the day's last half hour (and, for comparison, in its first hour), as a process with
its own QuestDB. CPU and bytes come from the processes' own counters (Linux). The latency of a signal is
measured afterwards, because the polling costs the database CPU: from the arrival of the trade that closes the
1s bar, on a connection beside the pipeline's, until SQL shows the row.

Exit code 1 when a figure is beyond its bound.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
import yaml
from websockets.sync.client import connect as connect_websocket

from benchmarks import week
from flows.database import keeper
from flows.database.connection import Endpoint, connect
from flows.database.embedded import free_ports, running
from flows.database.prepare import prepare
from flows.database.retention import newest
from flows.errors import UserError
from flows.settings.decoding import load
from flows.settings.model import QuestDB, Settings
from operators.columns import DAY_US, SECOND_US

# of the simulated market, before the measuring begins; the tables end where it begins
HISTORY_S: Final = 3_900
HOURS: Final = {"hour 1": 1_200, "hour 24": 85_200}  # seconds after midnight at which the pipeline starts
CAUGHT_UP_US: Final = 10 * SECOND_US
MOST_EMPTY_MB, MOST_DEMO_MB = 60.0, 300.0
WARM_S: Final = 30.0  # after the first live signal: kernels, caches and what the start has written
POLL_S: Final = 0.004
READY_S: Final = 600.0
PORTS: Final = (9_040, 8_852, 9_041)
DEFAULT: Final = Path(__file__).parent.parent / "pipeline.yaml"
LAYOUT: Final = "{:<42} {:>9} {:>9} {:>9} {:>10} {:>8} {:>8} {:>8} {:>9}"
HEADER: Final = ("shape", "QuestDB", "pipeline", "together", "written", "median", "p95", "p99", "rows/s")


@dataclass(frozen=True, slots=True)
class Shape:
    """An installation and its bounds: CPU in per cent of a core, MB/s written, latency of signals in ms
    (None: not promised).
    """

    name: str
    symbols: int
    pairs: int
    trades_s: int
    most_cpu: float
    most_mb_s: float
    most_median_ms: float | None
    most_p99_ms: float

    @property
    def installation(self) -> week.Installation:
        own = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
        symbols = own + tuple(f"S{k:03d}USDT" for k in range(len(own), self.symbols))
        pairs = tuple(f"{symbols[2 * k]}-{symbols[2 * k + 1]}" for k in range(self.pairs))
        return week.Installation(symbols, pairs, kalman_pairs=0, trades_s=self.trades_s)


SHAPES: Final = (
    Shape("default pipeline.yaml, 4 symbols", 4, 2, 60, 15, 1, 40, 150),
    Shape("20 symbols, 10 pairs", 20, 10, 35, 25, 4, 60, 250),
    Shape("100 symbols, 50 pairs", 100, 50, 1_000, 80, 15, None, 500),
)
MOST_GROWTH: Final = 1.5  # cost of the 24th hour over that of the first


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement found: per cent of a core, MB/s, ms, rows a second."""

    database_cpu: float
    pipeline_cpu: float
    written: float
    rows: float
    latency_ms: Sequence[float] = field(default=())

    @property
    def cpu(self) -> float:
        return self.database_cpu + self.pipeline_cpu

    def delay(self, share: float) -> float:
        """A percentile of the latency, ms; NaN where no signal was seen."""
        return float(np.percentile(self.latency_ms, share)) if len(self.latency_ms) else np.nan


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel has counted of a process: seconds of CPU, bytes sent to the disk."""

    cpu_s: float
    written: int

    @classmethod
    def of(cls, pid: int) -> "Counters":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return cls((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(io["write_bytes"]))


# The market: a child process, whose clock is that of a day in the past


def play(port: int, symbols: Sequence[str], trades_s: int, present_us: int) -> None:
    """Serve a simulated market whose present is `present_us` now; ends with its standard input."""
    import asyncio

    from flows.sandbox.exchange import Exchange
    from flows.sandbox.options import Options

    behind_us = time.time_ns() // 1_000 - present_us

    async def serve() -> None:
        options = Options(
            port=port,
            symbols=tuple(symbols),
            rate=trades_s / len(symbols),
            history_s=HISTORY_S,
            catch_up=1e9,
            begin="now",
        )
        async with Exchange(options, wall_us=lambda: time.time_ns() // 1_000 - behind_us):
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    asyncio.run(serve())


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def market(port: int, of: week.Installation, present_us: int) -> Iterator[None]:
    arguments = ["--play", str(port), str(of.trades_s), str(present_us), *of.symbols]
    with child([sys.executable, "-m", "benchmarks.running", *arguments], stdin=subprocess.PIPE):
        wait_until(lambda: present(port) >= present_us, "the market")
        yield


def present(port: int) -> int:
    """The market's time, µs; 0 while it does not answer because it makes its past."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
        return int(json.loads(connection.getresponse().read())["serverTime"])
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not true():
        if time.monotonic() > deadline:
            raise UserError(f"{what}: not ready after {READY_S:.0f} s")
        time.sleep(0.1)


# The pipeline


def configure(home: Path, shape: Shape, port: int, http_port: int, pg_port: int) -> Settings:
    """A home with the pipeline.yaml of the shape: the default one but for where things are, and which symbols
    and pairs.
    """
    document = yaml.safe_load(DEFAULT.read_text())
    of = shape.installation
    document["source"] |= {"ws_url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
    document["questdb"] = {"embedded": True, "dir": "questdb", "http_port": http_port, "pg_port": pg_port}
    document["recovery"] = {"dir": "recovery", "every": "1s"}
    if shape is not SHAPES[0]:
        document["source"]["symbols"] = list(of.symbols)
        document["pairs"] = [pair.split("-") for pair in of.pairs]
    path = home / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document))
    return load(path)


def measure(
    shape: Shape, second: int, seconds: float, latency_s: float, say: Callable[[str], None]
) -> Figures:
    """Fill the day up to `second` of it, then run and measure."""
    of = shape.installation
    day_us = (time.time_ns() // 1_000 // DAY_US - 1) * DAY_US
    present_us = day_us + second * SECOND_US
    with tempfile.TemporaryDirectory(prefix="pairflow-bench-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        http_port, pg_port = free_ports(*PORTS[:2])
        (port,) = free_ports(PORTS[2])
        settings = configure(home, shape, port, http_port, pg_port)
        with running(settings.questdb, say) as endpoint:
            prepare(endpoint)
            filled_s = max(0, second - HISTORY_S)
            if filled_s:
                week.fill(endpoint, day_us // SECOND_US + filled_s, filled_s, say, of)
            with (
                market(port, of, present_us),
                child(
                    [sys.executable, "-m", "flows.command", "run"], cwd=home, stderr=(home / "log").open("w")
                ) as pipeline,
            ):
                say("waiting for the first live signals")
                wait_until(
                    lambda: pipeline.poll() is not None or live(endpoint, present_us),
                    f"{shape.name}: signals",
                )
                time.sleep(WARM_S)
                if pipeline.poll() is not None:
                    raise UserError(f"{shape.name}: the pipeline ended: {(home / 'log').read_text()[-300:]}")
                say(f"measuring cost for {seconds:.0f} s")
                found = cost(endpoint, settings.questdb.dir, pipeline.pid, seconds)
                say(f"measuring latency for {latency_s:.0f} s")
                delays = latency(endpoint, settings, port, latency_s)
                if pipeline.poll() is not None:
                    raise UserError(f"{shape.name}: the pipeline ended: {(home / 'log').read_text()[-300:]}")
    return Figures(*found, delays)


def live(endpoint: Endpoint, present_us: int) -> bool:
    with connect(endpoint) as connection:
        return (newest(connection, "signals") or 0) > present_us + 5 * SECOND_US


def rows_written(endpoint: Endpoint) -> int:
    with connect(endpoint) as connection:
        return sum(
            connection.execute(f"SELECT count() FROM {table}").fetchone()[0]
            for table in ("trades", "bars", "signals", "activity", "health")
        )


def cost(
    endpoint: Endpoint, directory: Path, pipeline: int, seconds: float
) -> tuple[float, float, float, float]:
    """Per cent of a core of QuestDB and of the pipeline, MB/s written by both, and rows a second."""
    database = int(json.loads(keeper.state_file(directory).read_text())["pid"])
    pids = (database, pipeline)
    rows, began = rows_written(endpoint), time.monotonic()
    before = [Counters.of(pid) for pid in pids]
    time.sleep(seconds)
    after = [Counters.of(pid) for pid in pids]
    took = time.monotonic() - began
    cpu = [100 * (b.cpu_s - a.cpu_s) / took for a, b in zip(before, after, strict=True)]
    written = sum(b.written - a.written for a, b in zip(before, after, strict=True)) / took / 1e6
    return cpu[0], cpu[1], written, (rows_written(endpoint) - rows) / took


class Closings:
    """When the trade that closes each 1s bar arrived, seen on a connection of its own. Times are those of the
    monotonic clock.
    """

    def __init__(self, settings: Settings, port: int) -> None:
        self._quiet_us = settings.source.quiet_us
        self._first: dict[tuple[str, int], float] = {}  # of a symbol's first trade in or after this second
        self._any: dict[int, float] = {}  # of any symbol's
        self._last: dict[str, int] = {}
        self._newest = 0
        streams = "/".join(f"{symbol.lower()}@trade" for symbol in settings.symbols)
        self._socket = connect_websocket(
            f"ws://127.0.0.1:{port}/stream?streams={streams}&timeUnit=MICROSECOND", compression=None
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for message in self._socket:
            now = time.monotonic()
            trade = json.loads(message)["data"]
            second = trade["T"] // SECOND_US
            symbol = trade["s"]
            if second > self._newest:
                for each in range(self._newest + 1 if self._newest else second, second + 1):
                    self._any[each] = now
                self._newest = second
            last = self._last.get(symbol, second - 1)
            for each in range(last + 1, second + 1):
                self._first[symbol, each] = now
            self._last[symbol] = max(last, second)

    def of(self, symbol: str, ts: int) -> float | None:
        """When the bar that opens at `ts` could be closed: by a later trade of its symbol, or one of any that
        is later by `quiet`.
        """
        end = ts // SECOND_US + 1
        found = [
            when
            for when in (self._first.get((symbol, end)), self._any.get(end + self._quiet_us // SECOND_US))
            if when is not None
        ]
        return min(found, default=None)

    def known_from(self) -> int:
        """The second from which on everything that closes a bar was seen."""
        return min(self._any, default=0) + self._quiet_us // SECOND_US + 2

    def close(self) -> None:
        self._socket.close()
        self._thread.join()


def latency(endpoint: Endpoint, settings: Settings, port: int, seconds: float) -> list[float]:
    """Milliseconds from the arrival of the trade that closes a 1s bar to its signal in SQL, a figure for each
    signal.
    """
    closings = Closings(settings, port)
    seen: dict[tuple[str, int], float] = {}
    with contextlib.closing(closings), connect(endpoint) as connection:
        since = newest(connection, "signals") or 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = connection.execute(
                "SELECT pair, ts::LONG FROM signals WHERE timeframe = '1s' AND ts > %s::LONG::TIMESTAMP",
                (since,),
            ).fetchall()
            now = time.monotonic()
            for key in found:
                seen.setdefault(key, now)
            if found:
                since = max(since, max(ts for _, ts in found) - 10 * SECOND_US)
            time.sleep(POLL_S)
    legs = {pair.name: (pair.y, pair.x) for pair in settings.pairs}
    known_from = closings.known_from()
    delays = []
    for (pair, ts), when in seen.items():
        closed = [closings.of(leg, ts) for leg in legs[pair]]
        if ts // SECOND_US > known_from and None not in closed:
            delays.append(1_000 * (when - max(moment for moment in closed if moment is not None)))
    return delays


def row(name: str, found: Figures) -> str:
    return LAYOUT.format(
        name,
        f"{found.database_cpu:.1f} %",
        f"{found.pipeline_cpu:.1f} %",
        f"{found.cpu:.1f} %",
        f"{found.written:.2f} MB/s",
        *(f"{found.delay(share):.0f} ms" for share in (50, 95, 99)),
        f"{found.rows:,.0f}",
    )


def beyond(shape: Shape, last: Figures, first: Figures) -> Iterator[str]:
    """What is beyond its bound, in words."""
    bounds = (
        ("CPU of QuestDB and pipeline, % of a core", last.cpu, shape.most_cpu),
        ("MB/s written", last.written, shape.most_mb_s),
        ("median latency of signals, ms", last.delay(50), shape.most_median_ms),
        ("99th percentile of it, ms", last.delay(99), shape.most_p99_ms),
        ("CPU of the 24th hour, times that of the first", last.cpu / first.cpu, MOST_GROWTH),
        ("bytes of the 24th hour, times those of the first", last.written / first.written, MOST_GROWTH),
    )
    for what, found, most in bounds:
        if most is not None and not found <= most:
            yield f"{shape.name}: {what}: {found:.2f}, at most {most:g} is promised"


# The size of a database


def megabytes(directory: Path) -> float:
    """What a directory takes on the disk; files that go while it is looked at count nothing."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total / 1e6


def size_empty() -> float:
    """MB of a database that runs and has tables without a row."""
    with tempfile.TemporaryDirectory(prefix="pairflow-bench-", ignore_cleanup_errors=True) as directory:
        http_port, pg_port = free_ports(*PORTS[:2])
        with running(QuestDB(dir=Path(directory), http_port=http_port, pg_port=pg_port)) as endpoint:
            prepare(endpoint)
            return megabytes(Path(directory))


def size_of_demo(say: Callable[[str], None]) -> float:
    """MB of the demo's database when two hours of its market are in it and it follows the present."""
    with tempfile.TemporaryDirectory(prefix="pairflow-bench-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        ports = [str(port) for port in free_ports(*PORTS[:2])]
        command = [
            sys.executable,
            "-m",
            "flows.command",
            "demo",
            "--http-port",
            ports[0],
            "--pg-port",
            ports[1],
        ]
        database = home / ".pairflow" / "demo" / "questdb"
        with child(command, cwd=home, stderr=(home / "log").open("w")) as demo:
            say("waiting until the demo has caught up")
            endpoint = Endpoint("127.0.0.1", int(ports[0]), int(ports[1]), database)
            wait_until(lambda: demo.poll() is not None or caught_up(endpoint), "the demo")
            if demo.poll() is not None:
                raise UserError(f"the demo ended: {(home / 'log').read_text()[-300:]}")
            return megabytes(database)


def caught_up(endpoint: Endpoint) -> bool:
    try:
        with connect(endpoint) as connection:
            return (newest(connection, "signals") or 0) > time.time_ns() // 1_000 - CAUGHT_UP_US
    except (UserError, psycopg.Error):  # not started yet
        return False


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.running", description=__doc__)
    options.add_argument(
        "--seconds", type=float, default=120.0, help="of each measurement of cost (default 120)"
    )
    options.add_argument(
        "--latency", type=float, default=60.0, help="of each measurement of latency (default 60)"
    )
    options.add_argument("--shapes", default="1,2,3", help="which of the three (default: 1,2,3)")
    options.add_argument("--play", nargs="+", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.play:
        port, trades_s, present_us, *symbols = chosen.play
        play(int(port), symbols, int(trades_s), int(present_us))
        return 0

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    failed: list[str] = []
    print(LAYOUT.format(*HEADER))
    for shape in (SHAPES[int(k) - 1] for k in chosen.shapes.split(",")):
        found = []
        for hour, second in HOURS.items():
            found.append(measure(shape, second, chosen.seconds, chosen.latency, say))
            print(row(f"{shape.name}, {hour}", found[-1]), flush=True)
        failed += beyond(shape, found[1], found[0])
    for what, size, most in (
        ("an empty database", size_empty(), MOST_EMPTY_MB),
        ("the demo's after two hours", size_of_demo(say), MOST_DEMO_MB),
    ):
        print(f"{what}: {size:.0f} MB", flush=True)
        if size > most:
            failed.append(f"{what}: {size:.0f} MB, at most {most:.0f} are promised")
    for line in failed:
        print(f"benchmark: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
