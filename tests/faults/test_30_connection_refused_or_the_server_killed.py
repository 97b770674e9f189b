"""Row 30: connection refused for 60 s; `kill -9` of the server while writing.

docs/faults.md says what Pairflow promises in this case.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.database import keeper
from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import SPEED, Stops, Tables, live, same, settings_for, tables

AWAY_S = 60 / SPEED


def test_rows_wait_while_the_connection_is_refused(
    settings: Settings, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between, market = proxy(database.http_port), Stops(played, 20)
    with live(settings, database, through=between.port) as line:
        line.until(market.reached)
        between.close()
        market.go_on()
        line.until(lambda: line.writer.away_since is not None)
        time.sleep(AWAY_S)
        proxy(database.http_port, at=between.port)
        line.has(len(r["trades"]))
    assert "refused" in line.said[0] and "back after" in line.said[-1]
    same(tables(database), r)


@pytest.mark.parametrize("kills", [2])
def test_a_killed_server_comes_back_and_has_every_row(
    server: tuple[Path, Endpoint], played: Background, r: Tables, tmp_path: Path, kills: int
) -> None:
    directory, endpoint = server
    market = Stops(played, *(20 + 40 * kill for kill in range(kills)))
    with live(settings_for(played, endpoint, tmp_path), endpoint) as line:
        for kill in range(kills):
            line.until(market.reached)
            os.kill(json.loads(keeper.state_file(directory).read_text())["pid"], signal.SIGKILL)
            market.go_on()
            line.until(lambda kill=kill: len([text for text in line.said if "back after" in text]) > kill)  # type: ignore[misc]
        line.until(lambda: line.tally.rows["trades"] >= len(r["trades"]) and line.writer.waiting == 0)
        line.has(len(r["trades"]))
    same(tables(endpoint), r)
