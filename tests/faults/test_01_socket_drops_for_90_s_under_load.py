"""Row 1: socket drops for 90 s under load.

docs/faults.md says what Pairflow promises in this case.
"""

from math import inf

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import SYMBOLS, Stops, Tables, asked, ledger, live, once, records, same, tables

OUTAGE_S = 90


def test_missing_ids_are_filled_in_order_and_entered_once_and_all_tables_equal_r(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 15, 15 + OUTAGE_S)
    with live(settings, database) as line:
        line.until(market.reached)
        played.call(played.exchange.disconnect, inf)
        market.go_on()
        line.until(market.reached)
        played.call(played.exchange.disconnect)  # cuts no connection, but accepts new ones again
        market.go_on()
        line.has(len(r["trades"]))
    same(tables(database), r)
    once(line.rows("bars"), "bars")
    assert asked(played)
    for symbol in SYMBOLS:
        assert line.ids(symbol) == [row["id"] for row in records(r["trades"], "trades", symbol=symbol)]
    gaps = ledger(database)
    assert sorted(gap["symbol"] for gap in gaps) == list(SYMBOLS)
    for gap in gaps:
        assert (gap["cause"], gap["status"]) == ("disconnect", "filled") and gap["filled_at"] is not None
        assert gap["trades"] == gap["last_id"] - gap["first_id"] + 1
        of = {row["id"]: row["ts"] for row in records(r["trades"], "trades", symbol=gap["symbol"])}
        assert of[gap["last_id"]] - of[gap["first_id"]] > 0.9 * OUTAGE_S * SECOND_US
        assert gap["ts"] == of[gap["first_id"] - 1]
