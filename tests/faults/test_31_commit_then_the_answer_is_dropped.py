"""Row 31: commit, then the answer is dropped.

docs/faults.md says what Pairflow promises in this case.
"""

from collections.abc import Callable
from typing import Any

from flows.database.connection import Endpoint
from flows.database.schema import tables as schema
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import Stops, Tables, live, same, tables

DROPPED = 3


def test_what_is_sent_again_is_there_once(
    settings: Settings, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between, market = proxy(database.http_port), Stops(played, 20, 60)
    with live(settings, database, through=between.port) as line:
        for _ in range(2):
            line.until(market.reached)
            before = between.faults
            between.fault = "drop"
            market.go_on()
            line.until(lambda before=before: between.faults >= before + DROPPED)  # type: ignore[misc]
            between.fault = None
        line.has(len(r["trades"]))
    found = tables(database)
    same(found, r)
    for name, rows in found.items():
        at = [list(schema()[name].columns).index(key) for key in schema()[name].keys]
        assert len({tuple(row[k] for k in at) for row in rows}) == len(rows)
