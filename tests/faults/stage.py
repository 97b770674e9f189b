"""What the faults happen to: the whole line, on a thread of this process or in processes of its own, and what
its tables hold.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.schema import tables as schema
from flows.database.sink import QuestDBSink
from flows.database.tally import Tally
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.feed.asking import Patience
from flows.feed.frames import Frames, join
from flows.feed.http import Limits
from flows.live.socket import Timing
from flows.live.source import ExchangePartition, ExchangeSource, Options
from flows.pipeline import pipeline
from flows.replay.recordings import read
from flows.replay.source import RecordingSource
from flows.runtime.running import execute
from flows.runtime.stop import Stop
from flows.sandbox.background import Background
from flows.settings.decoding import decode
from flows.settings.model import Settings
from grafana.queries import rules
from operators.columns import SECOND_US
from tests import forked
from tests.line import LAST_S

Row = tuple[Any, ...]
Tables = dict[str, list[Row]]

START_US = 1_763_799_900_000_000  # a whole minute
SYMBOLS = ("BTCUSDT", "ETHUSDT")  # in the order of their codes
SECONDS, RATE = 120, 25.0
SPEED = 60.0  # of the market that is played
COMPARED = ("trades", "bars", "signals", "cointegration", "activity", "alerts")
EPOCH = timedelta(seconds=0.2)
QUICK = Options(
    patience=Patience(grace_s=0.1, settle_s=0.1, backoff_s=0.05, backoff_cap_s=0.3, tries=3),
    timing=Timing(
        connect_s=60.0, silence_s=30.0, backoff_s=0.05, backoff_cap_s=0.3, subscribe_s=0.05, overlap_s=0.2
    ),
    limits=Limits(connect_s=60.0, read_s=60.0, pause_s=0.1),
)
CONFIGURATION = """
source: {{ws_url: "{ws}", rest_url: "{rest}"}}
bars: {{timeframes: [1s, 2s, 1m]}}
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    timeframes: [1s, 2s]
    hedge: {{window: {{1s: 40, 2s: 20}}}}
    zscore: {{window: {{1s: 20, 2s: 10}}}}
    correlation: {{window: {{1s: 20, 2s: 5}}}}
    adf: {{window: {{1s: 40, 2s: 30}}, every: {{1s: 10, 2s: 1}}}}
alerts:
  - {{name: z, metric: zscore, outside: 1.5, exit: 0.5, timeframes: [1s]}}
  - {{name: stale, metric: staleness, above: 10s}}
questdb: {{{where}, http_port: {http}, pg_port: {pg}}}
recovery: {{dir: recovery, every: 200ms}}
"""


def configuration(exchange: Background | None, endpoint: Endpoint, embedded: bool = False) -> str:
    ws, rest = (exchange.ws_url, exchange.rest_url) if exchange else ("wss://x.invalid", "https://x.invalid")
    where = "embedded: true, dir: db" if embedded else "embedded: false, host: 127.0.0.1"
    return CONFIGURATION.format(ws=ws, rest=rest, where=where, http=endpoint.http_port, pg=endpoint.pg_port)


def settings_for(exchange: Background | None, endpoint: Endpoint, directory: Path) -> Settings:
    return decode(configuration(exchange, endpoint), "pipeline.yaml", directory)


def eventually(condition: Callable[[], Any], deadline_s: float = LAST_S) -> Any:
    """What the condition answers, when that is true."""
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.02)
    return found


# trades


def trades_of(recording: Path) -> Frames:
    return join(list(read([recording], SYMBOLS)), len(SYMBOLS))


def ids_at(trades: Frames, symbol: str, second: float) -> int:
    """The id of the symbol's first trade from so many seconds after the start."""
    of = (trades.symbol == SYMBOLS.index(symbol)) & (trades.ts >= START_US + second * SECOND_US)
    return int(trades.id[of].min())


# tables


def tables(endpoint: Endpoint, names: Iterable[str] = COMPARED) -> Tables:
    """All rows by their keys, times as µs."""
    settle(endpoint)
    with connect(endpoint) as connection:
        return {name: connection.execute(_select(name)).fetchall() for name in names}


def _select(name: str) -> str:
    table = schema()[name]
    columns = ", ".join(
        f"{column}::LONG" if type_ == "TIMESTAMP" else column for column, type_ in table.columns.items()
    )
    return f"SELECT {columns} FROM {name} ORDER BY {', '.join(table.keys)}"


def records(rows: list[Row], table: str, **of: object) -> list[dict[str, Any]]:
    """Rows of a table by column, those with these values."""
    found = [dict(zip(schema()[table].columns, row, strict=True)) for row in rows]
    return [row for row in found if all(row[name] == wanted for name, wanted in of.items())]


def ledger(endpoint: Endpoint) -> list[dict[str, Any]]:
    return records(tables(endpoint, ["gaps"])["gaps"], "gaps")


def same(found: Tables, expected: Tables, names: Iterable[str] = COMPARED) -> None:
    for name in names:
        ours, theirs = found[name], expected[name]
        if ours != theirs:
            missing, more = (
                [row for row in theirs if row not in set(ours)],
                [row for row in ours if row not in set(theirs)],
            )
            raise AssertionError(
                f"{name}: {len(ours)} rows, expected {len(theirs)}; missing {missing[:3]}, instead {more[:3]}"
            )


def count(endpoint: Endpoint, table: str = "trades", where: str = "") -> int:
    with connect(endpoint) as connection:
        return int(connection.execute(f"SELECT count() FROM {table} {where}").fetchone()[0])


# the line on a thread of this process


class NotingWriter(Writer):
    """Remembers what was to be written, in order."""

    noted: list[Rows]

    def write(self, many: Any) -> None:
        self.noted += many
        super().write(many)


class NotingSource(ExchangeSource):
    partition: ExchangePartition

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> ExchangePartition:
        self.partition = super().build_part(step_id, for_part, resume_state)
        return self.partition


class Line:
    """The whole dataflow with the real source and the real database, on a thread; one epoch after the other,
    no recovery store.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        options: Options = QUICK,
        through: int | None = None,
        **writer: Any,
    ) -> None:
        """`through`: the port by which the rows go to the database."""
        self.endpoint, self.stop, self.tally = endpoint, Stop(), Tally()
        self.said: list[str] = []
        self.noted: list[Rows] = []
        self.error: BaseException | None = None
        to = endpoint if through is None else replace(endpoint, http_port=through)

        def made() -> Writer:
            self.writer = NotingWriter(to, log=self.said.append, **writer)
            self.writer.noted = self.noted
            return self.writer

        self.source = NotingSource(settings, self.stop, options)
        self.flow = pipeline(settings, self.source, QuestDBSink(made, self.tally))
        self.thread = threading.Thread(target=self._run, name="line")
        self.thread.start()

    @property
    def partition(self) -> ExchangePartition:
        return self.source.partition

    def _run(self) -> None:
        try:
            execute(self.flow, recovery=None, every=EPOCH)
        except BaseException as error:
            self.error = error

    def until(self, condition: Callable[[], Any], deadline_s: float = LAST_S) -> Any:
        def alive() -> Any:
            assert self.thread.is_alive(), f"the line has ended: {self.error}"
            return condition()

        return eventually(alive, deadline_s)

    def begun(self) -> None:
        self.until(lambda: self.tally.rows["trades"] > 0)

    def has(self, trades: int) -> None:
        """Wait until so many trades are in the database."""
        self.until(lambda: count(self.endpoint) >= trades)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(LAST_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def rows(self, table: str) -> list[Row]:
        """Every row that was to be written, in that order."""
        return [row for rows in self.noted if rows.table == table for row in plain(rows)]

    def total(self, column: str) -> int:
        """A count of the health rows, summed."""
        return sum(int(np.sum(rows.columns[column])) for rows in list(self.noted) if rows.table == "health")  # type: ignore[arg-type]

    def ids(self, symbol: str) -> list[int]:
        """Ids of the symbol's trades in the order in which they went to the database."""
        columns = list(schema()["trades"].columns)
        return [
            row[columns.index("id")] for row in self.rows("trades") if row[columns.index("symbol")] == symbol
        ]


def plain(rows: Rows) -> list[Row]:
    def listed(column: Column) -> list[Any]:
        if isinstance(column, Symbols):
            return [(*column.names, None)[code] for code in column.codes.tolist()]
        return column.tolist()  # type: ignore[no-any-return]

    return list(zip(*(listed(rows.columns[name]) for name in schema()[rows.table].columns), strict=True))


@contextmanager
def live(settings: Settings, endpoint: Endpoint, **options: Any) -> Iterator[Line]:
    line = Line(settings, endpoint, **options)
    try:
        yield line
    except BaseException:
        line.stop.set()
        # the database may be away: what is under way need not arrive
        line.writer._post = lambda *_: None  # type: ignore[method-assign]
        line.thread.join(LAST_S)
        raise
    line.end()


def lasting(exchange: Background, line: Line, trades: int) -> None:
    """Wait for the end of the recording: the connection is cut then, for what was lost last no later message
    tells.
    """
    line.until(lambda: ended(exchange))
    exchange.call(exchange.exchange.disconnect)
    line.has(trades)


def ended(exchange: Background) -> bool:
    return bool(exchange.call(exchange.exchange.clock)["ended"])


def market_s(exchange: Background) -> float:
    """Seconds of market time since the recording began."""
    return float((exchange.call(exchange.exchange.clock)["now_us"] - START_US) / SECOND_US)


class Stops:
    """Seconds at which the market stands until `go_on`: what a test does there happens there, however busy
    the machine is.
    """

    def __init__(self, exchange: Background, *seconds: float) -> None:
        self._exchange, self._left = exchange, [START_US + round(second * SECOND_US) for second in seconds]
        source = exchange.exchange.source
        advance = source.advance
        source.advance = lambda now_us, wall_s: min([advance(now_us, wall_s), *self._left[:1]])  # type: ignore[method-assign]

    def reached(self) -> bool:
        """Whether it stands, everything before it sent."""
        return bool(self._exchange.call(self._stands))

    def _stands(self) -> bool:
        exchange = self._exchange.exchange
        return self._left[:1] == [exchange.now_us] and not any(
            each.unsent() or each.held for each in exchange.clients.values()
        )

    def go_on(self) -> None:
        """To the next stop; without one to the end."""
        self._exchange.call(self._left.__delitem__, slice(1))

    def end(self) -> None:
        """Stop no more."""
        self._exchange.call(self._left.clear)


def asked(exchange: Background, what: str = "historicalTrades") -> list[tuple[float, str, int]]:
    """Requests so far: seconds, path, status."""
    return [request for request in exchange.stats()["requests"] if what in request[1]]


def once(rows: list[Row], table: str) -> None:
    """No key was written twice with other content."""
    at = [list(schema()[table].columns).index(key) for key in schema()[table].keys]
    contents = Counter(dict.fromkeys(set(map(repr, rows)), 1))
    keys = Counter(tuple(row[k] for k in at) for row in {repr(row): row for row in rows}.values())
    assert len(contents) == len(keys), [key for key, times in keys.items() if times > 1][:3]


def replay(batches: Iterable[Frames], settings: Settings, endpoint: Endpoint, workers: int = 1) -> None:
    """Recorded trades through the dataflow into the database."""
    source = RecordingSource(settings, iter(batches), Stop())
    flow = pipeline(settings, source, QuestDBSink(lambda: Writer(endpoint)))
    execute(flow, recovery=None, every=timedelta(seconds=10), workers=workers)


# the line as a process


@dataclass
class Home:
    """A directory with a configuration, in which the command runs."""

    path: Path
    endpoint: Endpoint
    # the market's: it goes on from there for a process that has connected, so that a later trade shows what
    # an earlier one lacks
    last: "Stops"

    def command(self, *arguments: str, module: str = "flows.command", **environment: str) -> Any:
        return forked.start(
            [sys.executable, "-m", module, *arguments],
            cwd=self.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        )

    @contextmanager
    def running(
        self, module: str = "flows.command", arguments: Iterable[str] = ("run",), **environment: str
    ) -> Iterator["Process"]:
        process = Process(self.command(*arguments, module=module, **environment), self.last)
        try:
            yield process
        finally:
            process.kill()

    @property
    def recovery(self) -> Path:
        return self.path / "recovery"


class Process:
    """A running command, and what it said so far."""

    def __init__(self, popen: Any, last: "Stops") -> None:
        self.popen, self._last = popen, last
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        self.lines += iter(self.popen.stderr.readline, "")

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def until(self, condition: Callable[[], Any], deadline_s: float = LAST_S) -> Any:
        def alive() -> Any:
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}: {self.said}"
            return condition()

        return eventually(alive, deadline_s)

    def catches_up(self, endpoint: Endpoint, r: Tables) -> None:
        """Wait until every table has as many rows as R: those that were there before a crash are not enough,
        all must have been derived.
        """
        self.until(lambda: "connected" in self.said)
        self._last.go_on()
        self.until(lambda: all(count(endpoint, name) >= len(rows) for name, rows in r.items()))

    def ends(self, deadline_s: float = LAST_S) -> int:
        """Wait for its end; its exit code."""
        code = self.popen.wait(deadline_s)
        self._reader.join()
        return code

    def walks(self, market: Stops, endpoint: Endpoint) -> int:
        """Wait for its end in a market that goes on whenever the trades before its stop are written, a commit
        or more each time; its exit code.
        """
        before = -1
        while self.popen.poll() is None:
            if market.reached() and (written := count(endpoint)) > before:
                before = written
                market.go_on()
            time.sleep(0.02)
        return self.ends()

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait()
        self._reader.join()
        assert self.popen.stderr is not None
        self.popen.stderr.close()

    def terminate(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.ends()


def noted(path: Path, table: str) -> list[Row]:
    """Every row of the table that observed processes were to write, in that order."""
    found: list[Row] = []
    with path.open("rb") as file:
        while file.peek(1):  # type: ignore[attr-defined]
            try:
                found += [row for rows in pickle.load(file) if rows.table == table for row in plain(rows)]
            except EOFError:
                break  # killed while it wrote
    return found


# Grafana's rules


def rule_sql(uid: str) -> str:
    """The query of an alert rule as it is provisioned."""
    (rule,) = [rule for rule in rules() if rule["uid"] == uid]
    return str(rule["data"][0]["model"]["rawSql"])


NO_BARS_S = 10**6  # the age while the database shows no bar yet


def bars_age_s(endpoint: Endpoint, at_s: float) -> int:
    """What the rule on freshness sees at a time of the market."""
    at = np.datetime64(START_US + int(at_s * SECOND_US), "us")
    with connect(endpoint) as connection:
        statement = rule_sql("pairflow-stale").replace("now()", f"'{at}Z'::TIMESTAMP")
        found = connection.execute(statement).fetchone()
    return NO_BARS_S if found is None else int(found[0])
