"""Row 32: HTTP 500 for 30 s / 400.

docs/faults.md says what Pairflow promises in this case.
"""

import time
from collections.abc import Callable
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import SPEED, Home, Stops, Tables, count, live, same, tables

AWAY_S = 30 / SPEED
ANSWER = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"


def test_a_500_is_tried_again(
    settings: Settings, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between, market = proxy(database.http_port), Stops(played, 30)
    with live(settings, database, through=between.port) as line:
        line.until(market.reached)
        between.fault = ANSWER
        market.go_on()
        line.until(lambda: between.faults)
        time.sleep(AWAY_S)
        between.fault = None
        line.has(len(r["trades"]))
    assert between.faults > 1 and "HTTP 500 full" in line.said[0] and "back after" in line.said[-1]
    same(tables(database), r)


def test_a_400_stops_with_the_message_and_the_row(home: Home, played: Background, database: Endpoint) -> None:
    market = Stops(played, 20)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        with connect(database) as connection:
            connection.execute("ALTER TABLE bars DROP COLUMN vwap")
        market.go_on()
        assert run.ends() == 1
        (said,) = [line for line in run.lines if line.startswith("pairflow: ")]
        assert said.startswith("pairflow: table bars: refused by the database: ")
        assert (
            "column: vwap does not exist" in said
            and ": row ts=" in said
            and "correct the table, then start again" in said
        )
