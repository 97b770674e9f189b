"""Row 31: commit, then the answer is dropped.

One row per key.
"""

from collections.abc import Callable
from typing import Any

from flows.config import Settings
from flows.exchange import Background
from flows.questdb import Endpoint
from flows.questdb import tables as schema
from tests.faults.stage import Tables, live, market_s, same, tables

DROPPED = 3


def test_what_is_sent_again_is_there_once(
    settings: Settings, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between = proxy(database.http_port)
    with live(settings, database, through=between.port) as line:
        for second in (20, 60):
            line.until(lambda second=second: market_s(played) > second)  # type: ignore[misc]
            before = between.faults
            between.fault = "drop"
            line.until(lambda before=before: between.faults >= before + DROPPED)  # type: ignore[misc]
            between.fault = None
        line.has(len(r["trades"]))
    found = tables(database)
    same(found, r)
    for name, rows in found.items():
        at = [list(schema()[name].columns).index(key) for key in schema()[name].keys]
        assert len({tuple(row[k] for k in at) for row in rows}) == len(rows)
