"""Clients of the local exchange: what they hear and what they are answered."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from flows.feed.frames import COLUMNS, Frames
from flows.sandbox.background import Background
from tests.line import LAST_S

START_US = 1_763_800_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
CODES = {"BTCUSDT": 0, "ETHUSDT": 1}
BOTH = "/stream?streams=btcusdt@trade/ethusdt@trade"
SECONDS = 20


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LAST_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.005)
    return found


def listen(exchange: Background, path: str = BOTH) -> ClientConnection:
    return connect(exchange.ws_url + path, max_queue=None, ping_interval=None, close_timeout=1, proxy=None)


def hear(client: ClientConnection, n: int) -> list[bytes]:
    return [client.recv(timeout=LAST_S, decode=False) for _ in range(n)]


def hear_all(exchange: Background, client: ClientConnection) -> list[bytes]:
    """All messages until the recording has ended."""
    heard: list[bytes] = []
    while True:
        try:
            heard.append(client.recv(timeout=0.05, decode=False))
        except TimeoutError:
            if exchange.call(exchange.exchange.clock)["ended"] and len(heard) >= exchange.stats()[
                "counts"
            ].get("messages", 0):
                return heard


def get(exchange: Background, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(exchange.rest_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=LAST_S) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read(), dict(e.headers)


def ask(exchange: Background, path: str, **headers: str) -> Any:
    status, body, _ = get(exchange, path, **headers)
    assert status == 200, body
    return json.loads(body)


def same(a: Frames, b: Frames, names: tuple[str, ...] = COLUMNS) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def pages(ids: np.ndarray) -> list[int]:
    return list(range(int(ids[0]), int(ids[-1]) + 1, 1000))
