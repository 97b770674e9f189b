"""Row 19: down for 10 min.

docs/faults.md says what Pairflow promises in this case.
"""

from pathlib import Path

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import (
    COMPARED,
    SYMBOLS,
    Home,
    Stops,
    Tables,
    count,
    eventually,
    ledger,
    noted,
    once,
    same,
    tables,
)

DOWN_S = 60  # longer than every window of the timeframe 1s


def test_the_trades_of_that_time_are_filled_in_and_nothing_changes_afterwards(
    home: Home, played: Background, database: Endpoint, r: Tables, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    market = Stops(played, 20, 20 + DOWN_S)
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        run.kill()
    market.go_on()
    eventually(market.reached)
    market.go_on()
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.catches_up(database, r)
        run.until(lambda: len(ledger(database)) == len(SYMBOLS))
        assert run.terminate() == 0
    same(tables(database), r)
    for name in COMPARED:
        once(noted(notes, name), name)
    gaps = ledger(database)
    assert {(gap["cause"], gap["status"]) for gap in gaps} == {("restart", "filled")}
    assert sum(gap["trades"] for gap in gaps) > 0.3 * len(r["trades"])
