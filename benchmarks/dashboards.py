"""`make bench-dashboards`: every statement of the dashboards and rules on a week of data, against the promise
that a panel answers in 200 ms.

Exit code 1 when a panel's statement is slower than that, at its 95th percentile, in any range of time.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from benchmarks import week
from flows.database.connection import Endpoint, connect
from flows.database.embedded import free_ports, running
from flows.database.prepare import prepare
from flows.database.retention import newest
from flows.errors import UserError
from flows.settings.model import QuestDB
from grafana.queries import Query, dashboards, queries, rules

PROMISED_MS: Final = 200.0
RANGES: Final = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
QUICK_RANGES: Final = ("15m", "1h")
TIMEFRAMES: Final = ("1s", "1m")
CHOICE: Final = {
    "symbol": week.SYMBOLS[0],
    "pair": week.PAIRS[0],
    "timeframe": TIMEFRAMES[0],
    "method": "ols",
}
RUNS, QUICK_RUNS = 7, 2  # the first of them does not count
PORTS: Final = (9_020, 8_832)  # whoever looks for Pairflow's database does not find this one
HALF_FILLED: Final = "half-filled"  # a file beside the database, until it is full
LAYOUT: Final = "{:>8} {:>9} {:>9}  {:<10} {}"


@dataclass(frozen=True, slots=True)
class Case:
    """A statement in one range of time and, where it depends on one, for one timeframe."""

    query: Query
    choice: dict[str, str]
    within: str  # of RANGES, or a rule's own
    span: timedelta
    ms: list[float]

    @property
    def where(self) -> str:
        return f"{self.within} {self.choice['timeframe']}" if by_timeframe(self.query) else self.within

    def run(self, connection: Any, until: datetime, runs: int) -> None:
        for run in range(runs):
            end = until - timedelta(seconds=run)  # as at a refresh: each text is a new one
            text = self.query.expanded(self.choice, end - self.span, end).encode()
            began = time.perf_counter()
            try:
                connection.execute(text).fetchall()
            except psycopg.Error as error:
                raise UserError(f"{self.query.where}, {self.where}: {' '.join(str(error).split())}") from None
            if run:
                self.ms.append(1_000 * (time.perf_counter() - began))


def by_timeframe(query: Query) -> bool:
    return "${timeframe:" in query.text or query.minimum == "$timeframe"


def p95(ms: Sequence[float]) -> float:
    return float(np.percentile(ms, 95))


def choices(connection: Any, since: datetime, until: datetime) -> dict[str, str]:
    """A value for each variable: one of ours, else the first that its own query finds, else the one the file
    has.
    """
    choice: dict[str, str] = dict(CHOICE)
    for each in (
        each for board in dashboards() for each in board["templating"]["list"] if each["name"] not in CHOICE
    ):
        if each["type"] == "query":
            rows = connection.execute(
                Query("", each["query"], "variable").expanded(choice, since, until).encode()
            ).fetchall()
            choice[each["name"]] = str(rows[0][0]) if rows else ""
        else:
            choice[each["name"]] = str(each.get("current", {}).get("value", ""))
    return choice


def cases(choice: dict[str, str], ranges: Sequence[str]) -> Iterator[Case]:
    """A rule sees its own range, everything else all of them."""
    own = {
        f"rule {rule['title']}, {part['refId']}": part["relativeTimeRange"]["from"]
        for rule in rules()
        for part in rule["data"]
        if "relativeTimeRange" in part
    }
    for query in queries():
        spans = (
            {f"{own[query.where]}s": timedelta(seconds=own[query.where])}
            if query.where in own
            else {each: RANGES[each] for each in ranges}
        )
        for within, span in spans.items():
            for timeframe in TIMEFRAMES if by_timeframe(query) else TIMEFRAMES[:1]:
                yield Case(query, {**choice, "timeframe": timeframe}, within, span, [])


@contextmanager
def database(directory: Path | None, seconds: int) -> Iterator[Endpoint]:
    """A filled one: in a directory that is kept, or for once. One that has rows stays as it is."""
    with tempfile.TemporaryDirectory(prefix="pairflow-week-") as once:
        home = directory or Path(once)
        half = home / HALF_FILLED
        if half.exists():
            raise UserError(f"{home}: was not filled to its end: delete it, and start again")
        http_port, pg_port = free_ports(*PORTS)
        with running(QuestDB(dir=home, http_port=http_port, pg_port=pg_port), say) as endpoint:
            prepare(endpoint)
            with connect(endpoint) as connection:
                filled = newest(connection, "bars")
            if filled is None:
                half.touch()
                week.fill(endpoint, int(time.time()), seconds, say)
                half.unlink()
            yield endpoint


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.dashboards", description=__doc__)
    options.add_argument(
        "--quick",
        action="store_true",
        help="an hour of data and few runs: a smoke run, too small to mean anything",
    )
    options.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="the database's directory: filled once, then used again as it is",
    )
    options.add_argument(
        "--runs",
        type=int,
        metavar="N",
        help=f"of each statement, with one that does not count (default {RUNS})",
    )
    options.add_argument(
        "--only", default="", metavar="REGEX", help="only the statements whose line this is found in"
    )
    chosen = options.parse_args(arguments)
    runs = max(chosen.runs or (QUICK_RUNS if chosen.quick else RUNS), 2)
    ranges = QUICK_RANGES if chosen.quick else tuple(RANGES)
    try:
        with (
            database(chosen.keep, 3_600 if chosen.quick else 7 * week.DAY_S) as endpoint,
            connect(endpoint) as connection,
        ):
            until = datetime.fromtimestamp((newest(connection, "bars") or 0) / 1e6, UTC) + timedelta(
                seconds=1
            )
            choice = choices(connection, until - RANGES[ranges[-1]], until)
            measured = [each for each in cases(choice, ranges) if re.search(chosen.only, each.query.where)]
            for number, case in enumerate(measured, start=1):
                progress(f"{number} of {len(measured)}: {case.query.where}, {case.where}")
                case.run(connection, until, runs)
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    finally:
        progress("")
    return tell(measured, chosen.quick)


def tell(measured: Sequence[Case], quick: bool) -> int:
    """Print the table, the slowest statement first; the exit code."""
    print(LAYOUT.format("p95 ms", "slowest", "median", "where", "statement"))
    by_statement: dict[str, list[Case]] = {}
    for case in measured:
        by_statement.setdefault(case.query.where, []).append(case)
    lines = []
    for statement, of in by_statement.items():
        slowest = max(of, key=lambda case: p95(case.ms))
        lines.append(
            (
                p95([ms for case in of for ms in case.ms]),
                p95(slowest.ms),
                float(np.median(slowest.ms)),
                slowest.where,
                statement,
            )
        )
    for *ms, where, statement in sorted(lines, reverse=True):
        print(LAYOUT.format(*(f"{each:.1f}" for each in ms), where, statement))
    late = {case.query.where for case in measured if p95(case.ms) > PROMISED_MS}
    overall = p95([ms for case in measured for ms in case.ms]) if measured else 0.0
    print(
        f"{len(by_statement)} statements, p95 {overall:.1f} ms, {len(late)} slower than {PROMISED_MS:.0f} ms in some range"
    )
    return 1 if not quick and any(", panel " in statement for statement in late) else 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(what: str) -> None:
    """Say on a terminal what is being done; nothing takes the words away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
