"""Row 10: the 24 h cut; `serverShutdown` (raw event, or stream `!serverShutdown`; no notice time promised).

docs/faults.md says what Pairflow promises in this case.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.database.connection import Endpoint
from flows.feed.frames import TRADE
from flows.sandbox.background import background
from flows.venues.binance.messages import decode
from tests.faults.stage import QUICK, SPEED, Stops, Tables, asked, ledger, live, same, settings_for, tables

LIFETIME_S = 1.2  # of a connection; at Binance a day
LONG_S = 600.0  # of notice: the exchange does not end the old connection, so Pairflow must do it


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "foreseen"])
def test_the_next_connection_streams_before_the_old_one_ends(
    recording: Path, database: Endpoint, r: Tables, tmp_path: Path, announced: bool
) -> None:
    # On a busy machine one of the two simultaneous connections may be late, and the market stands for longer.
    patience = replace(QUICK.patience, grace_s=5.0, settle_s=600.0)
    timing = QUICK.timing if announced else replace(QUICK.timing, lifetime_s=LIFETIME_S)
    with background(paths=[recording], speed=SPEED) as exchange:
        market = Stops(exchange, 60)
        with live(
            settings_for(exchange, database, tmp_path),
            database,
            options=replace(QUICK, timing=timing, patience=patience),
        ) as line:
            line.until(market.reached)
            if announced:
                exchange.control("shutdown", notice_s=LONG_S)
            line.until(lambda: exchange.stats()["counts"].get("connects", 0) >= 2)
            market.go_on()
            line.has(len(r["trades"]))
        assert asked(exchange) == [], "nothing was missing"
    same(tables(database), r)
    assert ledger(database) == []
    assert line.total("reconnects") == 0


def test_a_cut_without_notice_is_filled(
    recording: Path, database: Endpoint, r: Tables, tmp_path: Path
) -> None:
    with background(paths=[recording], speed=SPEED, lifetime_s=LIFETIME_S, notice_s=0.0) as exchange:
        with live(settings_for(exchange, database, tmp_path), database) as line:
            line.has(len(r["trades"]))
        assert exchange.stats()["counts"]["connects"] >= 2
    same(tables(database), r)


@pytest.mark.parametrize(
    "message",
    [
        b'{"e":"serverShutdown","E":1763799900000}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1763799900000}}',
    ],
)
def test_both_forms_of_the_announcement_are_understood(message: bytes) -> None:
    assert [control["e"] for control in decode([message], {"BTCUSDT": 0}, TRADE).controls] == [
        "serverShutdown"
    ]
