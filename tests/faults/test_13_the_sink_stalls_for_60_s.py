"""Row 13: the sink stalls for 60 s.

Pongs go on, memory bounded, afterwards = R.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.exchange import background
from flows.questdb import Endpoint
from tests.faults.stage import QUICK, SPEED, Tables, live, market_s, same, settings_for, tables

STALL_S = 60 / SPEED


@pytest.mark.parametrize("queue", [200_000, 1_000])
def test_pongs_go_on_memory_is_bounded_and_afterwards_all_tables_equal_r(
    recording: Path, database: Endpoint, r: Tables, tmp_path: Path, proxy: Callable[..., Any], queue: int
) -> None:
    between = proxy(database.http_port)
    with (
        background(paths=[recording], speed=SPEED, ping_every_s=0.05, pong_within_s=1.0) as exchange,
        live(
            settings_for(exchange, database, tmp_path), database, options=replace(QUICK, queue=queue), through=between.port, request_s=0.3
        ) as line,
    ):
        line.until(lambda: market_s(exchange) > 40)
        between.fault = "hang"
        line.until(lambda: between.faults)
        stalled, before, most = time.monotonic(), exchange.stats()["counts"], 0
        acknowledged = line.writer.acknowledged
        while time.monotonic() - stalled < STALL_S:
            most = max(most, len(line.partition._inbox))
            time.sleep(0.01)
        assert line.writer.acknowledged == acknowledged and line.writer.away_since is not None
        after = exchange.stats()["counts"]
        assert not after.get("pong_timeouts")
        if most < queue // 2:
            assert after["pongs"] >= before["pongs"] + 5 and after["connects"] == before["connects"]
        else:  # rather than more memory the connection is given up, and its trades are asked for
            assert most <= queue + 10
        assert (most < queue // 2) == (queue > len(r["trades"]))
        between.fault = None
        line.has(len(r["trades"]))
    same(tables(database), r)
