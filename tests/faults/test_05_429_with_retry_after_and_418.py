"""Row 5: 429 with `Retry-After: 7`; 418.

docs/faults.md says what Pairflow promises in this case.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.sandbox.background import Background, background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import QUICK, SECONDS, SPEED, Tables, asked, ids_at, live, same, settings_for, tables

RETRY_AFTER_S = 2  # Binance says 7
BUDGET, PAGE_WEIGHT = 100, 25


@pytest.mark.parametrize("status", [429, 418])
def test_no_request_comes_earlier_and_the_socket_keeps_flowing(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames, status: int
) -> None:
    first = ids_at(trades, "ETHUSDT", 20)
    played.control("lose", symbol="ETHUSDT", first=first, last=first + 9)
    played.control("faults", rest_status=status, rest_failures=1, retry_after_s=RETRY_AFTER_S)
    with live(settings, database) as line:
        line.until(lambda: asked(played))
        flowed = len(line.ids("BTCUSDT"))
        line.until(lambda: len(line.ids("BTCUSDT")) > flowed + 100)
        assert len(asked(played)) == 1, "meanwhile"
        line.has(len(r["trades"]))
    times = [at for at, _, _ in asked(played)]
    assert times[1] - times[0] >= RETRY_AFTER_S
    same(tables(database), r)


def test_the_budget_is_kept_when_many_pages_are_missing(
    recording: Path, trades: Frames, database: Endpoint, r: Tables, tmp_path: Path
) -> None:
    limits = replace(QUICK.limits, weight=50, pause_s=0.5)
    with background(paths=[recording], speed=SPEED, budget=BUDGET, budget_window_s=1.5) as exchange:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            exchange.control(
                "lose", symbol=symbol, first=ids_at(trades, symbol, 20), last=ids_at(trades, symbol, 110)
            )
        settings = settings_for(exchange, database, tmp_path)
        # Both symbols miss trades of the same time. The one whose gap is noticed later must not count as a
        # quiet symbol meanwhile.
        settings = structs.replace(
            settings, sources=(structs.replace(settings.source, quiet_us=SECONDS * SECOND_US),)
        )
        with live(settings, database, options=replace(QUICK, limits=limits)) as line:
            line.has(len(r["trades"]))
        assert len(asked(exchange)) > BUDGET // PAGE_WEIGHT, "more than a window's budget in all"
        assert {status for _, _, status in asked(exchange)} == {200}
    same(tables(database), r)
