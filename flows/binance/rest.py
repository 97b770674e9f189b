"""The exchange over REST: missing trades, on one thread, one request at a time, within its budget; and whether it has our symbols."""

import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import numpy as np
import urllib3

from flows.binance.messages import AGG_TRADE, TRADE, Frames, decode_rest
from flows.binance.sequencer import Page, Request
from flows.errors import UserError

log = logging.getLogger(__name__)

PAGE: Final = 1_000  # trades an answer holds at most
PATHS: Final = {TRADE: "/api/v3/historicalTrades", AGG_TRADE: "/api/v3/aggTrades"}
WEIGHTS: Final = {TRADE: 25, AGG_TRADE: 4}
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
OK, BAD_REQUEST, NOT_FOUND, TOO_MANY, BANNED, LEGAL = 200, 400, 404, 429, 418, 451
UNKNOWN_SYMBOL: Final = -1121
STOP_S: Final = 5.0  # the end of a request that is under way; longer only while a name is looked up
STOPPING: Final = 100
SYMBOLS_A_REQUEST: Final = 100  # of exchangeInfo: addresses have a length limit
ADVICE: Final = "check the network, or source.rest_url in the configuration"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of the wall clock and request weight; tests scale them."""

    connect_s: float = 3.0
    read_s: float = 10.0
    weight: int = 5_000  # of the 6,000 a minute: the address may serve others too
    pause_s: float = 5.0  # then one request at a time asks whether the minute is over; no clock has to agree with the exchange's
    retry_after_s: float = 60.0  # where a refusal does not say how long


Answer = Callable[[Request, Page | None], None]


class Failed(Exception):
    """No answer, or one that does not hold what was asked for."""


class Unknown(Failed):
    """The exchange does not have the symbol."""


class Budget:
    """When the exchange may be asked again. All who ask it share one: it counts by address, not by thread."""

    def __init__(self, limits: Limits | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now = limits or Limits(), now
        self._not_before = -np.inf

    def wait_s(self) -> float:
        return max(0.0, self._not_before - self._now())

    def heed(self, status: int, headers: Mapping[str, str], weight: int) -> None:
        """Put off the next request for as long as the exchange asks, or until it may have budget again for so much weight."""
        wait_s = 0.0
        if status in (TOO_MANY, BANNED):
            wait_s = _number(headers.get("Retry-After"), self._limits.retry_after_s)
        elif _number(headers.get(USED_WEIGHT), 0.0) + weight > self._limits.weight:
            wait_s = self._limits.pause_s
        if wait_s:
            self._not_before = max(self._not_before, self._now() + wait_s)


class Api:
    """One server's REST, for one thread; `stop` from another one ends what is under way."""

    def __init__(self, base_url: str, limits: Limits | None = None, budget: Budget | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        limits = limits or Limits()
        self._http, self._budget = _Http(self.base_url, limits), budget or Budget(limits)
        self._stopping = threading.Event()

    def get(self, path: str, query: Mapping[str, str], weight: int) -> bytes:
        """The answer's body, when the budget allows; raises Failed unless there is one with status 200."""
        self._stopping.wait(self._budget.wait_s())
        if self._stopping.is_set():
            raise Failed("stopped")
        try:
            answer = self._http.get(path, query)
        except urllib3.exceptions.HTTPError as error:
            raise Failed(reason(error)) from None
        self._budget.heed(answer.status, answer.headers, weight)
        if answer.status == BAD_REQUEST and _code(answer.data) == UNKNOWN_SYMBOL:
            raise Unknown(f"HTTP {answer.status} {shown(answer.data)}")
        if answer.status != OK:
            raise Failed(f"HTTP {answer.status} {shown(answer.data)}")
        return answer.data

    @property
    def stopped(self) -> bool:
        return self._stopping.is_set()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until `stop`."""
        self._stopping.wait(seconds)

    def stop(self, thread: threading.Thread, within_s: float = STOP_S) -> None:
        """Have the thread that asks come to its end."""
        self._stopping.set()
        for _ in range(STOPPING):
            if not thread.is_alive():
                break
            self._http.abort()  # again and again: it may just be connecting
            thread.join(timeout=within_s / STOPPING)
        self._http.close()

    def close(self) -> None:
        self._http.close()


class Rest:
    """Missing trades. `ask` queues a request; its answer (None: it failed) comes to `answer` on this object's thread."""

    def __init__(
        self,
        base_url: str,
        stream: str,
        symbols: Sequence[str],
        answer: Answer,
        limits: Limits | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._stream, self._symbols, self._answer = stream, tuple(symbols), answer
        self._api = Api(base_url, limits, budget)
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._failures = 0
        self._gone: set[int] = set()  # symbols that the exchange does not know any more
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and the request that is under way."""
        self._requests.put(None)
        self._api.stop(self._thread)

    def ask(self, request: Request) -> None:
        self._requests.put(request)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            page = None
            try:
                page = self._page(request)
                self._failures = 0
                self._gone.discard(request.symbol)
            except Unknown:
                page = Page(Frames.none(len(self._symbols)), np.zeros(0, np.int64), full=False, unknown=True)
                if request.symbol not in self._gone:
                    self._gone.add(request.symbol)
                    symbol = self._symbols[request.symbol]
                    log.error("%s: %s: the exchange does not know it any more; the others go on", self._api.base_url, symbol)
            except Failed as error:
                self._say(request, str(error))
            except Exception:  # a thread that died would leave the hole open without a word
                log.exception("%s: trades of %s from id %d", self._api.base_url, self._symbols[request.symbol], request.from_id)
            if self._api.stopped:
                return
            self._answer(request, page)

    def _page(self, request: Request) -> Page:
        query = {"symbol": self._symbols[request.symbol], "fromId": str(request.from_id), "limit": str(PAGE)}
        body = self._api.get(PATHS[self._stream], query, WEIGHTS[self._stream])
        frames = decode_rest(body, request.symbol, self._stream, len(self._symbols))
        if frames.unreadable or frames.controls:
            raise Failed(f"no list of trades: {shown(body)}")
        listed = _ids(body)
        ids = frames.id if listed is None else listed
        return Page(frames, ids, len(ids) >= PAGE)

    def _say(self, request: Request, why: str) -> None:
        self._failures += 1
        if self._failures.bit_count() == 1 and not self._api.stopped:  # the 1st, 2nd, 4th, 8th … in a row: no flood
            log.warning(
                "%s: trades of %s from id %d: %s; asking again", self._api.base_url, self._symbols[request.symbol], request.from_id, why
            )


class _Http:
    """Requests to one server, that can be cut short from another thread."""

    def __init__(self, base_url: str, limits: Limits) -> None:
        timeout = urllib3.Timeout(connect=limits.connect_s, read=limits.read_s)
        self._pool = urllib3.connection_from_url(base_url, timeout=timeout, retries=False, maxsize=1)
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._open: list[Any] = []
        opened = self._open

        class Connection(self._pool.ConnectionCls):  # type: ignore[name-defined, misc]
            def connect(self) -> None:
                super().connect()
                opened[:] = [self]

        self._pool.ConnectionCls = Connection

    def get(self, path: str, query: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        return self._pool.request("GET", self._prefix + path, fields=dict(query), headers={"X-MBX-TIME-UNIT": "MICROSECOND"})

    def abort(self) -> None:
        for connection in list(self._open):
            with suppress(OSError, AttributeError):  # not connected any more
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._pool.close()


class _Refusal(msgspec.Struct):
    code: int


class _Listed(msgspec.Struct, gc=False):
    id: int | None = None
    a: int | None = None


def _ids(body: bytes) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """The ids that an answer lists, of sound trades or not; None when one has none."""
    with suppress(msgspec.MsgspecError, OverflowError, TypeError):
        rows = msgspec.json.decode(body, type=list[_Listed])
        return np.array([row.a if row.id is None else row.id for row in rows], np.int64)
    return None


def check_symbols(base_url: str, symbols: Sequence[str], stream: str | None = None, limits: Limits | None = None) -> None:
    """Raise UserError unless the exchange answers, trades all these symbols and, where `stream` is given, tells its past trades."""
    base_url = base_url.rstrip("/")
    http = _Http(base_url, limits or Limits())
    try:
        wanted = list(dict.fromkeys(symbols))
        groups = [wanted[k : k + SYMBOLS_A_REQUEST] for k in range(0, len(wanted), SYMBOLS_A_REQUEST)]
        unknown = [symbol for group in groups for symbol in _untraded(http, base_url, group)]
        if unknown:
            raise UserError(f"exchange: {base_url} does not trade {', '.join(unknown)}; correct pairs, alerts or source.symbols")
        if stream is not None and wanted:
            status, _ = _get(http, base_url, PATHS[stream], {"symbol": wanted[0], "limit": "1"})
            if status in (BAD_REQUEST, NOT_FOUND):
                raise UserError(
                    f"exchange: {base_url} does not serve {PATHS[stream]}, which fills holes; give source.rest_url another host"
                )
    finally:
        http.close()


def _untraded(http: _Http, base_url: str, symbols: Sequence[str]) -> list[str]:
    """Which of these symbols the exchange does not trade: one request when it knows them all, else halves."""
    query = {"symbol": symbols[0]} if len(symbols) == 1 else {"symbols": msgspec.json.encode(symbols).decode()}
    status, body = _get(http, base_url, "/api/v3/exchangeInfo", query)
    if status == BAD_REQUEST:
        if len(symbols) == 1:
            return list(symbols)
        half = len(symbols) // 2
        return _untraded(http, base_url, symbols[:half]) + _untraded(http, base_url, symbols[half:])
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any]) if status == OK else {}
        listed = {entry["symbol"]: entry["status"] for entry in answer["symbols"]}
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise UserError(f"exchange: {base_url}: HTTP {status} and no list of symbols: {shown(body)}; {ADVICE}") from None
    return [symbol for symbol in symbols if listed.get(symbol) != "TRADING"]


def _get(http: _Http, base_url: str, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
    try:
        answer = http.get(path, query)
    except urllib3.exceptions.HTTPError as error:
        raise UserError(f"exchange: {base_url}: {reason(error)}; {ADVICE}") from None
    if answer.status == LEGAL:
        raise UserError(
            f"exchange: {base_url}: HTTP 451, it does not serve this country; give source.ws_url and source.rest_url other hosts"
        )
    if answer.status in (TOO_MANY, BANNED):
        wait_s = _number(answer.headers.get("Retry-After"), Limits().retry_after_s)
        raise UserError(f"exchange: {base_url}: HTTP {answer.status}, too many requests from this address; try again in {wait_s:.0f} s")
    return answer.status, answer.data


def _code(body: bytes) -> int | None:
    """The exchange's own number for an error."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_Refusal).code
    return None


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text or "")
    except ValueError:
        return default
    return number if 0 <= number < np.inf else default


def shown(body: bytes) -> str:
    """The beginning of an answer, on one line."""
    return " ".join(body[:100].decode(errors="replace").split())


def reason(error: BaseException) -> str:
    """The innermost cause in a few words, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "no answer in time"
    text = str(error).rsplit(": ", maxsplit=1)[-1] or type(error).__name__
    return re.sub(r"^\[Errno -?\d+\] |\s*\(_ssl\.c:\d+\)", "", text).rstrip(".")
