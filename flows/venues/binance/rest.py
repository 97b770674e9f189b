"""The exchange over REST: missing trades, on one thread, one request at a time, within its budget, through
the environment's proxy.
"""

import base64
import logging
import queue
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
import python_socks.sync
import urllib3

from flows.feed.asking import Page, Request
from flows.feed.frames import AGG_TRADE, TRADE, Frames
from flows.feed.proxies import Proxy, bracketed, proxy_for, through
from flows.retrying import is_told
from flows.venues.binance.messages import decode_rest
from flows.venues.binance.refusals import (
    BANNED,
    OK,
    TOO_MANY,
    Failed,
    Refused,
    Unknown,
    of_another_kind,
    reason,
    refusal,
    seconds,
)

log = logging.getLogger(__name__)

PAGE: Final = 1_000  # trades an answer holds at most
PATHS: Final = {TRADE: "/api/v3/historicalTrades", AGG_TRADE: "/api/v3/aggTrades"}
WEIGHTS: Final = {TRADE: 25, AGG_TRADE: 4}
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
STOP_S: Final = 5.0  # the end of a request that is under way; longer only while a name is looked up
STOPPING: Final = 100
TUNNELS: Final = {  # what a socket is opened through before a word of HTTP is said
    "socks5h": (python_socks.ProxyType.SOCKS5, True),  # and whether the proxy looks names up
    "socks5": (python_socks.ProxyType.SOCKS5, False),
    "socks4a": (python_socks.ProxyType.SOCKS4, True),
    "socks4": (python_socks.ProxyType.SOCKS4, False),
    "http": (python_socks.ProxyType.HTTP, True),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of the wall clock and request weight; tests scale them."""

    connect_s: float = 3.0
    read_s: float = 10.0
    weight: int = 5_000  # of the 6,000 a minute: the address may serve others too
    # then one request at a time asks whether the minute is over; no clock has to agree with the exchange's
    pause_s: float = 5.0
    retry_after_s: float = 60.0  # where a refusal does not say how long


Answer = Callable[[Request, Page | None], None]


class Budget:
    """When the exchange may be asked again. All who ask it share one: it counts by address, not by thread."""

    def __init__(self, limits: Limits | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now = limits or Limits(), now
        self._not_before = -np.inf

    def wait_s(self) -> float:
        return max(0.0, self._not_before - self._now())

    def heed(self, status: int, headers: Mapping[str, str], weight: int) -> None:
        """Put off the next request for as long as the exchange asks, or until it may have budget again for so
        much weight.
        """
        wait_s = 0.0
        if status in (TOO_MANY, BANNED):
            wait_s = seconds(headers.get("Retry-After"), self._limits.retry_after_s)
        elif seconds(headers.get(USED_WEIGHT), 0.0) + weight > self._limits.weight:
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

    @property
    def proxy(self) -> Proxy | None:
        return self._http.proxy

    def get(self, path: str, query: Mapping[str, str], weight: int) -> bytes:
        """The answer's body, when the budget allows; raises Failed unless there is one with status 200."""
        self._stopping.wait(self._budget.wait_s())
        if self._stopping.is_set():
            raise Failed("stopped")
        try:
            answer = self._http.get(path, query)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Failed(through(self.proxy, reason(error))) from None
        except Exception as error:  # of a library, about this environment: nobody lists what may come
            raise Failed(through(self.proxy, f"{type(error).__name__}: {reason(error)}")) from None
        self._budget.heed(answer.status, answer.headers, weight)
        if answer.status != OK:
            raise refusal(path, answer.status, answer.headers, answer.data)
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
    """Missing trades. `ask` queues a request; its answer (None: it failed) comes to `answer` on this object's
    thread.
    """

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
                page = self._no_page(unknown=True)
                if request.symbol not in self._gone:
                    self._gone.add(request.symbol)
                    symbol = self._symbols[request.symbol]
                    log.error(
                        "%s: %s: the exchange does not know it any more; the others go on",
                        self._api.base_url,
                        symbol,
                    )
            except Refused as error:
                page = self._no_page(refused=True)
                self._say(request, f"{error}; {error.advice}")
            except Failed as error:
                self._say(request, str(error))
            except Exception:  # a thread that died would leave the hole open without a word
                log.exception(
                    "%s: trades of %s from id %d",
                    self._api.base_url,
                    self._symbols[request.symbol],
                    request.from_id,
                )
            if self._api.stopped:
                return
            self._answer(request, page)

    def _page(self, request: Request) -> Page:
        symbol = self._symbols[request.symbol]
        frames, ids = trades_from(
            self._api, self._stream, symbol, request.from_id, PAGE, request.symbol, len(self._symbols)
        )
        return Page(frames, ids, len(ids) >= PAGE)

    def _no_page(self, **why: bool) -> Page:
        return Page(Frames.none(len(self._symbols)), np.zeros(0, np.int64), full=False, **why)

    def _say(self, request: Request, why: str) -> None:
        self._failures += 1
        if is_told(self._failures - 1, self._failures) and not self._api.stopped:
            log.warning(
                "%s: trades of %s from id %d: %s; asking again",
                self._api.base_url,
                self._symbols[request.symbol],
                request.from_id,
                why,
            )


def trades_from(
    api: Api, stream: str, symbol: str, from_id: int | None, limit: int, code: int = 0, symbols: int = 1
) -> tuple[Frames, np.ndarray[Any, np.dtype[np.int64]]]:
    """The symbol's trades from an id on (None: the newest ones), and the ids of all that the answer lists;
    raises Failed.
    """
    query = {"symbol": symbol} | ({} if from_id is None else {"fromId": str(from_id)}) | {"limit": str(limit)}
    body = api.get(PATHS[stream], query, WEIGHTS[stream])
    frames = decode_rest(body, code, stream, symbols)
    if frames.unreadable or frames.controls:
        raise of_another_kind(PATHS[stream], body, "list of trades")
    listed = _ids(body)
    return frames, frames.id if listed is None else listed


class _Http:
    """Requests to one server, that can be cut short from another thread; through the proxy that the
    environment names.
    """

    def __init__(self, base_url: str, limits: Limits) -> None:
        self.proxy = proxy = proxy_for(base_url)
        self._base_url = base_url
        self._open: list[Any] = []
        opened = self._open
        # Plain HTTP goes to an HTTP proxy whole, but HTTPS_PROXY names one for tunnels, as the websocket's
        # are.
        tunnel = proxy is not None and (
            proxy.socks
            or (
                urlsplit(base_url).scheme == "http"
                and (proxy.variable, proxy.scheme) == ("HTTPS_PROXY", "http")
            )
        )
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=limits.connect_s, read=limits.read_s),
            "maxsize": 1,
        }
        if proxy is None or tunnel:
            self._pools = urllib3.PoolManager(**options)
        else:
            login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            headers = {"Proxy-Authorization": f"Basic {login}"} if proxy.user else {}
            url = f"{proxy.scheme}://{bracketed(proxy.host)}:{proxy.port}"
            self._pools = urllib3.ProxyManager(url, proxy_headers=headers, **options)
        pool = self._pools.connection_from_url(base_url)

        class Connection(pool.ConnectionCls):  # type: ignore[name-defined, misc]
            def connect(self) -> None:
                super().connect()
                opened[:] = [self]

            def _new_conn(self) -> socket.socket:
                return _tunnelled(self, proxy) if proxy and tunnel else super()._new_conn()

        pool.ConnectionCls = Connection

    def get(self, path: str, query: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
        return self._pools.request(
            "GET", self._base_url + path, fields=dict(query), headers=headers, redirect=False, retries=False
        )

    def abort(self) -> None:
        for connection in list(self._open):
            with suppress(OSError, AttributeError):  # not connected any more
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._pools.clear()


def _tunnelled(connection: Any, proxy: Proxy) -> socket.socket:
    """A socket to the connection's host that the proxy passes on."""
    kind, looks_up = TUNNELS[proxy.scheme]
    tunnel = python_socks.sync.Proxy(
        kind, proxy.host, proxy.port, proxy.user or None, proxy.password or None, looks_up
    )
    try:
        opened = tunnel.connect(connection.host, connection.port, timeout=connection.timeout)
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(connection, str(error)) from error
    except Exception as error:  # its own kinds, those of the socket, and those of the lookup of a name
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    opened.settimeout(connection.timeout)
    return opened


class _Listed(msgspec.Struct, gc=False):
    id: int | None = None
    a: int | None = None


def _ids(body: bytes) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """The ids that an answer lists, of sound trades or not; None when one has none."""
    with suppress(msgspec.MsgspecError, OverflowError, TypeError):
        rows = msgspec.json.decode(body, type=list[_Listed])
        return np.array([row.a if row.id is None else row.id for row in rows], np.int64)
    return None
