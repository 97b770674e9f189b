"""A database that deduplicates as schema.sql says, behind a server that refuses, hangs and is late.

The server may also store only some of the rows, or store them without acknowledging them.
"""

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint
from flows.database.schema import tables
from flows.database.writer import Writer
from operators.columns import NEVER
from tests.simulation.clock import Clock

REWRITTEN = ("gaps", "health")  # tables about the run itself: another run has other rows
Row = tuple[Any, ...]
ENDPOINT = Endpoint("simulated", 9000, 8812)


def as_tuples(rows: Rows) -> list[Row]:
    """The rows in the order of the table's columns; NULL is None."""
    columns = []
    for name in tables()[rows.table].columns:
        column = rows.columns.get(name)
        if column is None:
            columns.append([None] * len(rows))
            continue
        if isinstance(column, Symbols):
            names = (*column.names, None)  # code -1
            columns.append([names[code] for code in column.codes.tolist()])
        elif column.dtype == np.float64:
            columns.append([None if not np.isfinite(value) else value for value in column.tolist()])
        else:
            columns.append([None if value == NEVER else value for value in column.tolist()])
    return list(zip(*columns, strict=True))


class Database:
    """Tables as dictionaries by their keys. `check` is called with each row before it is stored."""

    def __init__(self) -> None:
        self.check: Callable[[str, Row], None] = lambda table, row: None
        self.tables: dict[str, dict[Row, Row]] = {name: {} for name in tables()}
        self._keys = {
            name: [list(table.columns).index(key) for key in table.keys] for name, table in tables().items()
        }

    def apply(self, table: str, rows: Sequence[Row]) -> None:
        stored = self.tables[table]
        for row in rows:
            self.check(table, row)
            key = tuple(row[k] for k in self._keys[table])
            before = stored.get(key)
            assert before is None or before == row or table in REWRITTEN, (
                f"table {table}: a row changed: {before} is now {row}"
            )
            stored[key] = row

    def holds(self, rows: Rows) -> bool:
        stored = self.tables[rows.table]
        if rows.table in REWRITTEN:
            return all(tuple(row[k] for k in self._keys[rows.table]) in stored for row in as_tuples(rows))
        return all(
            stored.get(tuple(row[k] for k in self._keys[rows.table])) == row for row in as_tuples(rows)
        )

    def difference(self, other: "Database") -> str | None:
        """The first difference between these tables and those of the other, in a line, or None."""
        for name, rows in other.tables.items():
            own = self.tables[name]
            if name in REWRITTEN or own == rows:
                continue
            missing, surplus = (
                [rows[key] for key in rows if key not in own],
                [own[key] for key in own if key not in rows],
            )
            changed = [(own[key], rows[key]) for key in rows if key in own and own[key] != rows[key]]
            words = [
                f"table {name}: {len(missing)} rows missing, {len(surplus)} too many, {len(changed)} different"
            ]
            words += [f"missing {row}" for row in missing[:1]] + [f"too many {row}" for row in surplus[:1]]
            if changed:
                has, should = min(changed, key=repr)
                columns = [
                    column for column, a, b in zip(tables()[name].columns, has, should, strict=True) if a != b
                ]
                words.append(f"{', '.join(columns)}: {has} instead of {should}")
            return "; ".join(words)
        return None


@dataclass(slots=True)
class Illness:
    """What goes wrong with the database: shares of requests, and times in seconds."""

    until: float = np.inf
    lost_answer: float = 0.0  # the rows are stored, but not acknowledged
    partly: float = 0.0  # some of the rows are stored, and the answer is an error
    hang: float = 0.0  # no answer: the rows are stored, or not, or are stored later
    hangs_up: float = 0.0  # the server closes an idle connection
    away_every: float = np.inf
    away_s: float = 0.0


class Server:
    """Takes requests in virtual time. `crash(place)` may end the process that writes, at that place."""

    def __init__(
        self, clock: Clock, chance: Random, database: Database, illness: Illness, crash: Callable[[str], None]
    ) -> None:
        self.clock, self.chance, self.database, self.illness, self.crash = (
            clock,
            chance,
            database,
            illness,
            crash,
        )
        self.request: Sequence[Rows] = ()
        self._away_until, self._way = -np.inf, "refused"
        at = chance.expovariate(1 / illness.away_every) if illness.away_every < np.inf else np.inf
        while at < illness.until:
            clock.at(at, self._go_away)
            at += chance.expovariate(1 / illness.away_every)

    def _go_away(self) -> None:
        seconds = self.chance.uniform(0, self.illness.away_s)
        self._away_until = min(self.clock.now + seconds, self.illness.until)
        self._way = self.chance.choice(("refused", "error", "hang"))
        self.clock.note(f"database away ({self._way}) for {seconds:.1f} s")

    def _fate(self) -> str:
        if self.clock.now >= self.illness.until:
            return "good"
        if self.clock.now < self._away_until:
            return self._way
        fates = ("lost_answer", "partly", "hang", "hangs_up")
        shares = [getattr(self.illness, fate) for fate in fates]
        return self.chance.choices((*fates, "good"), (*shares, 1 - sum(shares)))[0]

    def _apply(self, many: Sequence[tuple[str, Sequence[Row]]]) -> None:
        for table, rows in many:
            self.database.apply(table, rows)

    def post(self, timeout_s: float, reused: bool) -> tuple[int, bytes]:
        """The answer to a request, or None."""
        rows = [(rows.table, as_tuples(rows)) for rows in self.request]
        fate = self._fate()
        if fate != "good":
            self.clock.note(f"database: {fate}, {sum(len(of) for _, of in rows)} rows")
        try:
            self.crash("posting")
        except BaseException:
            if self.chance.random() < 0.5:  # the request arrives although its process has ended
                self.clock.after(self.chance.uniform(0, 3), partial(self._apply, rows))
            raise
        match fate:
            case "refused":
                raise ConnectionRefusedError("Connection refused")
            case "hangs_up" if reused:
                raise http.client.RemoteDisconnected("closed")
            case "error":
                return 500, b'{"message":"out of patience"}'
            case "partly":
                k = self.chance.randrange(len(rows))
                table, of = rows[k]
                self._apply([*rows[:k], (table, of[: self.chance.randint(0, len(of))])])
                self.crash("applied")
                if self.chance.random() < 0.5:
                    return 500, b"half done"
                raise ConnectionResetError("Connection reset by peer")
            case "lost_answer":
                self._apply(rows)
                self.crash("applied")
                raise ConnectionResetError("Connection reset by peer")
            case "hang":
                match self.chance.randrange(3):
                    case 0:
                        self._apply(rows)
                    case 1:  # even if the writer does not wait for it any more
                        self.clock.after(self.chance.uniform(0, 2 * timeout_s), partial(self._apply, rows))
                self.clock.advance(timeout_s)
                self.crash("waited")
                raise TimeoutError
        self._apply(rows)
        self.crash("applied")
        return 204, b""


def transport(server: Server) -> Any:
    """A replacement of the module `http` in flows.database.writer, with connections to this server."""

    class Connection:
        def __init__(self, host: str, port: int, timeout: float) -> None:
            self._reused = False
            self._answer = 0, b""

        def send(self, timeout_s: float) -> None:
            reused, self._reused = self._reused, True
            self._answer = server.post(timeout_s, reused)

        def getresponse(self) -> Any:
            status, answer = self._answer
            return SimpleNamespace(status=status, read=lambda: answer)

        def close(self) -> None:
            pass

    return SimpleNamespace(client=SimpleNamespace(**{**vars(http.client), "HTTPConnection": Connection}))


class SimulatedWriter(Writer):
    """The writer without its sockets: the server gets the rows instead of their bytes."""

    def __init__(self, server: Server, request_s: float) -> None:
        clock = server.clock

        def sleep(seconds: float) -> None:
            server.crash("sleeping")
            clock.advance(seconds)

        super().__init__(
            ENDPOINT,
            log=clock.note,
            request_s=request_s,
            now=lambda: clock.now,
            sleep=sleep,
            random=server.chance,
        )
        self._server = server

    def _post(self, body: bytes, request: Sequence[Rows]) -> None:
        self._server.request = request
        super()._post(body, request)

    def _send(self, connection: Any, body: bytes) -> None:
        assert body
        connection.send(self._request_s)
