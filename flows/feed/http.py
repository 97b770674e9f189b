"""Requests to a venue over HTTP: one at a time, within its budget, through the proxy that the environment
names.

`Api` is what the REST interfaces of all venues share.
"""

import base64
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import numpy as np
import python_socks.sync
import urllib3

from flows.feed.proxies import Proxy, bracketed, proxy_for, through
from flows.feed.refusals import BANNED, OK, TOO_MANY, Failed, reason, refusal, seconds

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
    weight: int | None = None  # that the requests of a minute may use; None: what the venue's `Api` says
    # When that is used up, one request in so many seconds asks whether the minute is over: no clock has to
    # agree with the venue's.
    pause_s: float = 5.0
    retry_after_s: float = 60.0  # where a refusal does not say how long


class Budget:
    """When the exchange may be asked again. All who ask it share one: it counts by address, not by thread."""

    def __init__(self, limits: Limits | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now = limits or Limits(), now
        self._not_before = -np.inf

    def wait_s(self) -> float:
        return max(0.0, self._not_before - self._now())

    def heed(self, status: int, headers: Mapping[str, str], used_up: bool) -> None:
        """Put off the next request for as long as the venue asks, or for a while when its budget is used up."""
        wait_s = 0.0
        if status in (TOO_MANY, BANNED):
            wait_s = seconds(headers.get("Retry-After"), self._limits.retry_after_s)
        elif used_up:
            wait_s = self._limits.pause_s
        if wait_s:
            self._not_before = max(self._not_before, self._now() + wait_s)


class Api:
    """One server's REST, for one thread; `stop` from another one ends what is under way.

    A venue's `Api` gives the class attributes, and says which refusals mean what.
    """

    headers: ClassVar[Mapping[str, str]] = {}  # of each request
    used_header: ClassVar[str] = ""  # of each answer: the weight that this minute's requests have used so far
    weight: ClassVar[int] = (
        0  # that they may use: less than the venue allows, as the address may serve others
    )

    def __init__(self, base_url: str, limits: Limits | None = None, budget: Budget | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        limits = limits or Limits()
        self._weight = self.weight if limits.weight is None else limits.weight
        self._http, self._budget = _Http(self.base_url, limits, self.headers), budget or Budget(limits)
        self._stopping = threading.Event()

    @staticmethod
    def is_unknown(status: int, body: bytes) -> bool:
        """Whether a refusal says that the venue does not have the symbol."""
        raise NotImplementedError

    @staticmethod
    def instead(path: str) -> str:
        """What a user can do who gets no answer from a path: words that `or` can follow; empty: nothing
        special.
        """
        return ""

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
        used = seconds(answer.headers.get(self.used_header), 0.0)
        self._budget.heed(answer.status, answer.headers, used + weight > self._weight > 0)
        if answer.status != OK:
            unknown = self.is_unknown(answer.status, answer.data)
            raise refusal(path, answer.status, answer.headers, answer.data, unknown, self.instead(path))
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


class _Http:
    """Requests to one server, that can be cut short from another thread; through the proxy that the
    environment names.
    """

    def __init__(self, base_url: str, limits: Limits, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
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
        return self._pools.request(
            "GET",
            self._base_url + path,
            fields=dict(query),
            headers=self._headers,
            redirect=False,
            retries=False,
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
