"""Row 33: hangs without an answer.

docs/faults.md says what Pairflow promises in this case.
"""

import time
from collections.abc import Callable
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.database.retention import newest
from flows.sandbox.background import Background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import Stops, Tables, live, same, tables

DEADLINE_S = 0.3
STALE_S = 3  # a row of health is written every second


def health_age_s(endpoint: Endpoint) -> float:
    with connect(endpoint) as connection:
        return time.time() - (newest(connection, "health") or 0) / SECOND_US


def test_the_request_is_given_up_at_its_deadline_and_health_shows_it(
    settings: Settings, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between, market = proxy(database.http_port), Stops(played, 20)
    with live(settings, database, through=between.port, request_s=DEADLINE_S) as line:
        line.until(lambda: market.reached() and health_age_s(database) < STALE_S)
        between.fault = "hang"
        market.go_on()
        line.until(lambda: between.faults >= 2)
        assert line.said[0].endswith("trying again") and "no answer in time" in line.said[0]
        line.until(lambda: health_age_s(database) > STALE_S)
        between.fault = None
        line.has(len(r["trades"]))
        line.until(lambda: health_age_s(database) < STALE_S)
    same(tables(database), r)
