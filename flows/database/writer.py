"""The writer that loses no row.

It sends over HTTP. Deduplication makes a second delivery harmless, so whatever is in doubt is sent again.
"""

import base64
import http.client
import json
import select
import time
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Protocol

from flows.database import credentials
from flows.database.columns import Rows
from flows.database.connection import Endpoint
from flows.database.encode import checked, encode, encoder, gathered, row_text, slices
from flows.errors import UserError
from flows.retrying import backoff

REQUEST_ROWS = 50_000  # about 5 MB
REQUEST_S = 30.0
STOPPING_S = 5.0  # of a request, once the process is to end
LOOK_S = 0.1  # how often a request that is under way looks whether it is
SEND_BYTES = 1 << 16
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0


class Stopping(Protocol):
    """Whether the process is to end: `flows.runtime.stop.Stop`, or a threading.Event."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> object: ...


class _Never:
    """Of a writer that nobody stops."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float, /) -> None:
        time.sleep(timeout)


class _InDoubt(Exception):
    """The request failed in a way that leaves open whether the rows are in."""


class Writer:
    """Rows to the database, each at least once, so that deduplication makes it once.

    `write` keeps the rows and sends whenever REQUEST_ROWS are together; `flush` returns only when the server
    has acknowledged all. Both block while the database is away, for as long as it takes: nothing is dropped
    and nothing grows. Once `stop` is set a failure is not tried again, and a request fails after STOPPING_S;
    a database that answers still gets everything. Not for use by several threads.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        log: Callable[[str], None] = print,
        stop: Stopping | None = None,
        request_s: float = REQUEST_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        random: Random | None = None,
    ) -> None:
        self.waiting = 0  # rows that are not acknowledged
        self.acknowledged = 0  # rows
        self.away_since: float | None = None  # by `now`; None while the database answers
        self._endpoint, self._log, self._request_s, self._now = endpoint, log, request_s, now
        self._stop: Stopping = _Never() if stop is None else stop
        self._sleep = sleep or self._stop.wait
        self._random = random or Random()
        self._rows: list[Rows] = []
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        who = credentials.login("HTTP", endpoint.directory)
        if who.password is not None:
            self._headers["Authorization"] = (
                "Basic " + base64.b64encode(f"{who.user}:{who.password}".encode()).decode()
            )

    def write(self, many: Sequence[Rows]) -> None:
        """Take the rows; block while more than a request of them waits for the database."""
        for rows in many:
            if len(rows):
                self._rows.append(checked(rows))
                self.waiting += len(rows)
        if self.waiting >= REQUEST_ROWS:
            self.flush()

    def flush(self, tables: Collection[str] | None = None) -> None:
        """Return when every row written so far is acknowledged; `tables`: when those of these tables are,
        while the others wait on.
        """
        if tables is None:
            chosen, self._rows = self._rows, []
        else:
            chosen = [rows for rows in self._rows if rows.table in tables]
            self._rows = [rows for rows in self._rows if rows.table not in tables]
        due = [part for rows in gathered(chosen) for part in slices(rows, REQUEST_ROWS)]
        try:
            while due:
                request: list[Rows] = []
                count = 0
                for rows in due:
                    if request and count + len(rows) > REQUEST_ROWS:
                        break
                    request.append(rows)
                    count += len(rows)
                self._deliver(request, count)
                del due[: len(request)]
                self.waiting -= count
                self.acknowledged += count
        finally:
            self._rows = due + self._rows  # what was not acknowledged still waits, before what came later

    def close(self) -> None:
        """Drop the connection; rows that wait are not sent."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _deliver(self, request: Sequence[Rows], count: int) -> None:
        buffer = encoder().new_buffer()
        for rows in request:
            encode(rows, buffer)
        body = bytes(buffer)
        where = f"questdb {self._endpoint.host}:{self._endpoint.http_port}"
        failures = 0
        while True:
            try:
                self._post(body, request)
            except _InDoubt as failure:
                if self.away_since is None:
                    self.away_since = self._now()
                    self._log(f"{where}: away ({failure}): {count} rows wait, trying again")
                if self._stop.is_set():
                    away = f"away for {self._now() - self.away_since:.0f} s ({failure})"
                    raise UserError(
                        f"{where}: {away}: stopped with {self.waiting} rows not written: start again when "
                        "it answers"
                    ) from None
                self._sleep(
                    backoff(failures, FIRST_PAUSE_S, MAX_PAUSE_S) * (0.5 + 0.5 * self._random.random())
                )
                failures += 1
            else:
                if self.away_since is not None:
                    self._log(
                        f"{where}: back after {self._now() - self.away_since:.0f} s, {count} rows written"
                    )
                    self.away_since = None
                return

    def _post(self, body: bytes, request: Sequence[Rows]) -> None:
        reused = self._connection is not None
        if self._connection is None:
            connect_s = min(self._request_s, STOPPING_S)  # nothing can cut it short
            self._connection = http.client.HTTPConnection(
                self._endpoint.host, self._endpoint.http_port, timeout=connect_s
            )
        try:
            self._send(self._connection, body)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            # the server may hang up on an idle connection: no failure yet
            if reused and isinstance(error, ConnectionError):
                return self._post(body, request)
            raise _InDoubt(
                "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            ) from None
        if status not in (http.client.OK, http.client.NO_CONTENT):
            self._connection.close()
            self._connection = None
            raise _refusal(self._endpoint, status, answer, request)

    def _send(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        """Send the request and wait for the first byte of its answer, but not longer than it may take."""
        connection.putrequest("POST", "/write")
        for name, text in (*self._headers.items(), ("Content-Length", str(len(body)))):
            connection.putheader(name, text)
        connection.endheaders()
        began, stopping = time.monotonic(), False
        until = began + self._request_s
        unsent = memoryview(body)
        while True:
            readable, writable, _ = select.select(
                [connection.sock], [connection.sock] if unsent else [], [], LOOK_S
            )
            if readable:  # also when the server has hung up, or refuses before it has read everything
                return
            if writable:
                unsent = unsent[connection.sock.send(unsent[:SEND_BYTES]) :]
            if not stopping and self._stop.is_set():
                stopping, until = True, min(until, time.monotonic() + STOPPING_S)
            if time.monotonic() > until:
                raise TimeoutError


def _refusal(endpoint: Endpoint, status: int, answer: bytes, request: Sequence[Rows]) -> Exception:
    """What an answer other than success means: try again, or stop with the server's words and the row."""
    where = f"questdb {endpoint.host}:{endpoint.http_port}"
    try:
        told = json.loads(answer)
        words, line = " ".join(str(told["message"]).split()), int(told.get("line") or 1)
    except (ValueError, KeyError, TypeError):
        words, line = " ".join(answer.decode(errors="replace").split())[:300], 1
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        way_out = credentials.refused("HTTP", endpoint.directory)
        return UserError(f"{where}: user or password refused (HTTP {status}): {way_out}")
    if status == http.client.NOT_FOUND:
        return UserError(f"{where}: takes no rows (HTTP 404 on /write): is it QuestDB's HTTP port?")
    if status == http.client.BAD_REQUEST:
        for rows in request:
            if line <= len(rows):
                row = row_text(rows, line - 1)
                return UserError(
                    f"table {rows.table}: refused by the database: {words}: row {row}: correct the table, "
                    "then start again"
                )
            line -= len(rows)
        return UserError(f"{where}: refused: {words}")
    return _InDoubt(f"HTTP {status} {words}".strip())
