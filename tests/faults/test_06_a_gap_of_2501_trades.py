"""Row 6: a gap of 2,501 trades.

Three pages, none twice, none missing (`fromId` is inclusive).
"""

from dataclasses import replace

from flows.binance.messages import Frames
from flows.config import Settings
from flows.exchange import Background
from flows.questdb import Endpoint
from operators.columns import SECOND_US
from tests.faults.stage import QUICK, START_US, SYMBOLS, Tables, asked, ids_at, ledger, live, records, same, tables

COUNT = 2_501


def test_three_pages_fill_it_none_twice_and_none_missing(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    first = ids_at(trades, "BTCUSDT", 20)
    end_us = int(trades.ts[(trades.symbol == SYMBOLS.index("BTCUSDT")) & (trades.id == first + COUNT)][0])
    played.control("lose", symbol="BTCUSDT", first=first, last=first + COUNT - 1)
    until = ids_at(trades, "ETHUSDT", (end_us - START_US) / SECOND_US) - 1  # both stop: one that is silent alone looks like a quiet symbol
    played.control("lose", symbol="ETHUSDT", first=ids_at(trades, "ETHUSDT", 20), last=until)
    patient = replace(QUICK, timing=replace(QUICK.timing, silence_s=10.0))
    with live(settings, database, options=patient) as line:
        line.has(len(r["trades"]))
    same(tables(database), r)
    assert line.ids("BTCUSDT") == [row["id"] for row in records(r["trades"], "trades", symbol="BTCUSDT")]
    pages = [int(path.split("fromId=")[1].split("&")[0]) for _, path, _ in asked(played) if "symbol=BTCUSDT" in path]
    assert pages == [first, first + 1_000, first + 2_000]
    of = [gap for gap in ledger(database) if gap["symbol"] == "BTCUSDT"]
    assert [(gap["first_id"], gap["trades"], gap["cause"], gap["status"]) for gap in of] == [(first, COUNT, "lost", "filled")]
