"""Row 7: duplicates; overlap of socket and REST.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import SYMBOLS, Stops, Tables, lasting, live, records, same, tables


def test_each_id_counts_once_however_often_it_comes(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 30, 60, 90)
    with live(settings, database) as line:
        line.begun()
        played.control("faults", duplicate=0.3, shuffle=20)
        for _ in range(3):
            line.until(market.reached)
            played.call(played.exchange.disconnect)  # REST fills the gap while the new socket streams
            market.go_on()
        played.control("faults", drop=0.05)
        lasting(played, line, len(r["trades"]))
        line.until(lambda: line.total("duplicates") > 0.2 * len(r["trades"]) * 0.5)
    same(tables(database), r)
    for symbol in SYMBOLS:
        assert line.ids(symbol) == [row["id"] for row in records(r["trades"], "trades", symbol=symbol)]
