"""The writer that loses no row.

It sends rows over HTTP. If it is not known whether the server has stored a request, the writer sends it
again: the tables' deduplication makes that harmless.
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
STOPPING_S = 5.0  # the longest time for a request once the process has to end
LOOK_S = 0.1  # how often a request checks whether the process has to end
SEND_BYTES = 1 << 16
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0


class Stopping(Protocol):
    """Says whether the process has to end: `flows.runtime.stop.Stop`, or a threading.Event."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> object: ...


class _Never:
    """For a writer that is never stopped."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float, /) -> None:
        time.sleep(timeout)


class _InDoubt(Exception):
    """The request failed, and it is not known whether the server has stored its rows."""


class Writer:
    """Sends each row at least once; deduplication removes what was sent twice. For one thread only.

    `write` collects rows, and sends them once there are REQUEST_ROWS. `flush` returns when the server has
    acknowledged all rows. Both block while the database is away, however long that takes, so no row is
    dropped and the memory does not grow. Once `stop` is set, a failed request is not repeated, and a request
    fails after STOPPING_S; a database that answers still gets every row.
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
        self.waiting = 0  # rows that are not acknowledged yet
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
        """Collect the rows; sends all that wait, and blocks meanwhile, once they are enough for a request."""
        for rows in many:
            if len(rows):
                self._rows.append(checked(rows))
                self.waiting += len(rows)
        if self.waiting >= REQUEST_ROWS:
            self.flush()

    def flush(self, tables: Collection[str] | None = None) -> None:
        """Return when every row written so far is acknowledged, or, if given, every row of these tables."""
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
            self._rows = due + self._rows  # rows that are not acknowledged go before those that came later

    def close(self) -> None:
        """Close the connection; rows that wait are not sent."""
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
            connect_s = min(self._request_s, STOPPING_S)  # short, because connecting does not check `stop`
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
            # the server may close an idle connection: try once more on a new one
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
        """Send the request and wait for the first byte of the answer, for a limited time."""
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
            if readable:  # also if the server has closed the connection, or refuses before the end
                return
            if writable:
                unsent = unsent[connection.sock.send(unsent[:SEND_BYTES]) :]
            if not stopping and self._stop.is_set():
                stopping, until = True, min(until, time.monotonic() + STOPPING_S)
            if time.monotonic() > until:
                raise TimeoutError


def _refusal(endpoint: Endpoint, status: int, answer: bytes, request: Sequence[Rows]) -> Exception:
    """The exception for an answer other than success: _InDoubt to try again, UserError with what is wrong."""
    where = f"questdb {endpoint.host}:{endpoint.http_port}"
    try:
        refusal = json.loads(answer)
        words, line = " ".join(str(refusal["message"]).split()), int(refusal.get("line") or 1)
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
