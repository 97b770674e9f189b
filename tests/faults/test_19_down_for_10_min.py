"""Row 19: down for 10 min.

Backfilled; nothing late; nothing emitted twice with other content.
"""

from pathlib import Path

import pytest

from flows.exchange import Background
from flows.questdb import Endpoint
from tests.faults.stage import COMPARED, SYMBOLS, Home, Tables, count, ledger, market_s, noted, once, same, tables

DOWN_S = 60  # longer than every window at 1s


@pytest.fixture
def speed() -> float:
    return 20.0


def test_what_came_meanwhile_is_filled_in_and_nothing_changes_afterwards(
    home: Home, played: Background, database: Endpoint, r: Tables, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.until(lambda: market_s(played) > 20 and count(database, "bars"))
        run.kill()
    down = market_s(played)
    while market_s(played) < down + DOWN_S:
        pass
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
