"""Row 3: REST has the newest ids only later (its source is a database that lags).

docs/faults.md says what Pairflow promises in this case.
"""

from dataclasses import replace
from itertools import pairwise

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.sandbox.background import Background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import QUICK, Stops, Tables, asked, ids_at, ledger, live, records, same, tables

LAG_S = 60
# Requests that are so far apart that their growing distances are visible on a busy machine, too.
PATIENCE = replace(QUICK.patience, backoff_s=0.2, backoff_cap_s=2.0)


def test_a_hole_is_asked_for_with_backoff_and_nothing_passes_it(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    first = ids_at(trades, "BTCUSDT", 40)
    played.control("faults", rest_lag_us=LAG_S * SECOND_US)
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 99)
    market = Stops(played, 40 + LAG_S - 10)

    def times() -> list[float]:
        return [at for at, path, _ in asked(played) if f"symbol=BTCUSDT&fromId={first}&" in path]

    with live(settings, database, options=replace(QUICK, patience=PATIENCE)) as line:
        line.until(lambda: len(times()) >= 3)
        assert max(line.ids("BTCUSDT")) < first
        line.until(market.reached)
        market.go_on()
        line.has(len(r["trades"]))
    same(tables(database), r)
    assert line.ids("BTCUSDT") == [row["id"] for row in records(r["trades"], "trades", symbol="BTCUSDT")], (
        "in id order throughout"
    )
    waits = [after - before for before, after in pairwise(times())]
    assert waits[0] < waits[1], waits
    assert [(gap["first_id"], gap["trades"], gap["status"]) for gap in ledger(database)] == [
        (first, 100, "filled")
    ]
    assert [row["status"] for row in records(line.rows("gaps"), "gaps")] == ["open", "filled"]
