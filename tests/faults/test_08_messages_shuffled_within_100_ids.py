"""Row 8: messages shuffled within 100 ids.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import SYMBOLS, Tables, live, records, same, tables


def test_bars_open_and_close_by_id_and_all_tables_equal_r(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    with live(settings, database) as line:
        line.begun()
        played.control("faults", shuffle=100)
        line.has(len(r["trades"]))
    found = tables(database)
    same(found, r)
    for symbol in SYMBOLS:
        of = sorted(
            (row["id"], row["ts"], row["price"]) for row in records(found["trades"], "trades", symbol=symbol)
        )
        for bar in records(found["bars"], "bars", symbol=symbol, timeframe="2s"):
            prices = [price for _, ts, price in of if bar["ts"] <= ts < bar["ts"] + 2_000_000]
            assert not prices or (bar["open"], bar["close"]) == (prices[0], prices[-1])
