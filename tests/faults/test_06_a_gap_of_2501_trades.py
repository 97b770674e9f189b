"""Row 6: a gap of 2,501 trades.

docs/faults.md says what Pairflow promises in this case.
"""

import msgspec

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import Tables, asked, ids_at, ledger, live, records, same, tables

COUNT = 2_501
HOUR_US = 3_600_000_000


def test_three_pages_fill_it_none_twice_and_none_missing(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    first = ids_at(trades, "BTCUSDT", 20)
    played.control("lose", symbol="BTCUSDT", first=first, last=first + COUNT - 1)
    # Otherwise BTCUSDT, the only silent stream, would count as a quiet symbol.
    patient = msgspec.structs.replace(settings.source, quiet_us=HOUR_US)
    with live(msgspec.structs.replace(settings, sources=(patient,)), database) as line:
        line.has(len(r["trades"]))
    same(tables(database), r)
    assert line.ids("BTCUSDT") == [row["id"] for row in records(r["trades"], "trades", symbol="BTCUSDT")]
    pages = [
        int(path.split("fromId=")[1].split("&")[0])
        for _, path, _ in asked(played)
        if "symbol=BTCUSDT" in path
    ]
    assert pages == [first, first + 1_000, first + 2_000]
    assert [
        (gap["symbol"], gap["first_id"], gap["trades"], gap["cause"], gap["status"])
        for gap in ledger(database)
    ] == [("BTCUSDT", first, COUNT, "lost", "filled")]
