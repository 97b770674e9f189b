"""What the tests of embedded servers share: settings, waiting, and a row to write."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flows.database import keeper
from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint
from flows.settings.model import QuestDB
from tests.line import LAST_S

T0 = 1_723_161_600_000_000

Ports = Callable[[int], list[int]]


def on(directory: Path, free_ports: Ports) -> QuestDB:
    http_port, pg_port = free_ports(2)
    return QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)


def eventually(condition: Callable[[], object], deadline_s: float = LAST_S) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "not within the deadline"
        time.sleep(0.02)


def state(directory: Path) -> dict[str, int]:
    return json.loads(keeper.state_file(directory).read_text())


def is_up(endpoint: Endpoint) -> bool:
    return keeper.answers(endpoint.host, endpoint.http_port, endpoint.pg_port)


def health(second: int) -> Rows:
    return Rows(
        "health",
        {
            "ts": np.array([T0 + second * 1_000_000]),
            "symbol": Symbols(np.zeros(1, np.int32), ("BTCUSDT",)),
            "trades": np.array([second]),
        },
    )
