"""Row 13: the sink stalls for 60 s.

docs/faults.md says what Pairflow promises in this case.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.database.connection import Endpoint
from flows.sandbox.background import background
from tests.faults.stage import QUICK, SPEED, Stops, Tables, live, same, settings_for, tables

STALLED_S = 60
PONGS = 5


@pytest.mark.parametrize("queue", [200_000, 1_000])
def test_pongs_go_on_memory_is_bounded_and_afterwards_all_tables_equal_r(
    recording: Path, database: Endpoint, r: Tables, tmp_path: Path, proxy: Callable[..., Any], queue: int
) -> None:
    between = proxy(database.http_port)
    with (
        background(paths=[recording], speed=SPEED, ping_every_s=0.05, pong_within_s=60.0) as exchange,
        live(
            settings_for(exchange, database, tmp_path),
            database,
            options=replace(QUICK, queue=queue),
            through=between.port,
            request_s=0.3,
        ) as line,
    ):
        market = Stops(exchange, 40, 45, 45 + STALLED_S)
        line.until(market.reached)
        between.fault = "hang"
        market.go_on()
        line.until(lambda: market.reached() and between.faults)
        before, acknowledged, most = exchange.stats()["counts"], line.writer.acknowledged, 0
        market.go_on()
        overflows = queue < len(r["trades"]) // 2

        def stalled_and_ponged() -> bool:
            nonlocal most
            most = max(most, len(line.partition._inbox))
            ponged = exchange.stats()["counts"]["pongs"] >= before["pongs"] + PONGS
            return market.reached() and (most >= queue if overflows else ponged)

        line.until(stalled_and_ponged)
        assert line.writer.acknowledged == acknowledged and line.writer.away_since is not None
        after = exchange.stats()["counts"]
        assert not after.get("pong_timeouts") and after["connects"] == before["connects"]
        assert most <= queue + 10, (
            "rather than more memory the connection is given up, and its trades are asked for"
        )
        between.fault = None
        market.go_on()
        line.has(len(r["trades"]))
        assert exchange.stats()["counts"]["connects"] == before["connects"] + overflows
    same(tables(database), r)
