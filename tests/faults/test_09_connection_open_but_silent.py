"""Row 9: connection open but silent.

docs/faults.md says what Pairflow promises in this case.
"""

from dataclasses import replace

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import QUICK, SPEED, Stops, Tables, bars_age_s, live, market_s, same, tables

STALE_S = 60  # from this age of the newest bar on, Grafana's rule "No new bars" fires


def test_a_silent_connection_is_replaced_and_reported(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    watched = replace(QUICK, timing=replace(QUICK.timing, silence_s=1.2 * STALE_S / SPEED))
    market = Stops(played, 20)
    with live(settings, database, options=watched) as line:
        line.until(lambda: market.reached() and bars_age_s(database, 20) < STALE_S)
        connects = played.stats()["counts"]["connects"]
        played.control("faults", silent=True)
        market.go_on()
        line.until(lambda: bars_age_s(database, market_s(played)) > STALE_S)
        line.until(lambda: played.stats()["counts"]["connects"] > connects)
        played.control("faults", silent=False)
        line.has(len(r["trades"]))
        assert bars_age_s(database, market_s(played)) < STALE_S
    assert played.stats()["counts"].get("cut", 0) == 0, "it was this side that hung up"
    same(tables(database), r)
