"""Row 2: drop across a bar boundary.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.sandbox.background import Background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import START_US, Line, Stops, Tables, ids_at, live, once, records, same, tables

BOUNDARY_S = 60


def last_bar_s(line: Line, symbol: str) -> float:
    bars = records(line.rows("bars"), "bars", symbol=symbol, timeframe="1s")
    return max([(bar["ts"] - START_US) / SECOND_US for bar in bars], default=-1)


def test_a_bar_waits_for_its_trades_is_emitted_once_and_equals_r(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    first, last = ids_at(trades, "ETHUSDT", BOUNDARY_S - 0.5), ids_at(trades, "ETHUSDT", BOUNDARY_S + 0.5) - 1
    played.control("lose", symbol="ETHUSDT", first=first, last=last)
    market = Stops(played, BOUNDARY_S - 20)
    with live(settings, database) as line:
        line.until(market.reached)
        played.control("faults", rest_status=503)
        market.go_on()
        line.until(lambda: last_bar_s(line, "BTCUSDT") > BOUNDARY_S + 20)
        assert last_bar_s(line, "ETHUSDT") < BOUNDARY_S - 0.5, (
            "the bar at the boundary waits, and the minute that ends there"
        )
        assert not [
            bar
            for bar in records(line.rows("bars"), "bars", symbol="ETHUSDT", timeframe="1m")
            if bar["ts"] == START_US
        ]
        played.control("faults", rest_status=0)
        line.has(len(r["trades"]))
    same(tables(database), r)
    keys = [(row["ts"], row["symbol"], row["timeframe"]) for row in records(line.rows("bars"), "bars")]
    assert len(keys) == len(set(keys)) == len(r["bars"])
    once(line.rows("signals"), "signals")
