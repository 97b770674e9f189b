"""Row 37: a day within retention replayed while live.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.database.retention import set_retention, ttl_would_drop
from flows.feed.frames import Frames
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import START_US, Stops, Tables, count, live, replay, same, tables


def test_no_row_changes(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    set_retention(database, trades="3650d", bars="3650d", signals="3650d")
    market = Stops(played, 40)
    with live(settings, database) as line:
        line.until(lambda: market.reached() and count(database))
        assert ttl_would_drop(database, START_US) is None
        before = tables(database)
        replay([trades], settings, database)
        after = tables(database)
        for name, rows in before.items():
            assert set(rows) <= set(after[name]), name
        market.go_on()
        line.until(lambda: line.tally.rows["trades"] >= len(r["trades"]))
    same(tables(database), r)
