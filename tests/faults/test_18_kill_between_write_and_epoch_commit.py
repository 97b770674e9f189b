"""Row 18: kill between write and epoch commit.

docs/faults.md says what Pairflow promises in this case.
"""

import signal
from pathlib import Path

from flows.database.connection import Endpoint
from flows.database.schema import tables as schema
from flows.sandbox.background import Background
from tests.faults.stage import SECONDS, Home, Stops, Tables, count, noted, once, same, tables


def test_rows_that_are_written_twice_are_there_once(
    home: Home, played: Background, database: Endpoint, r: Tables, tmp_path: Path
) -> None:
    notes, market = tmp_path / "notes", Stops(played, *range(5, SECONDS - 10, 5))
    with home.running("tests.faults.observed", DIE_AT="before the commit:4", NOTES=str(notes)) as run:
        assert run.walks(market, database) == -signal.SIGKILL
    market.end()
    before = noted(notes, "trades")
    assert before and count(database) == len(before)
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.catches_up(database, r)
        assert run.terminate() == 0
    written = noted(notes, "trades")
    assert len(written) > len(set(written)), "the epoch was done again"
    found = tables(database)
    same(found, r)
    for name, rows in found.items():
        keys = [
            tuple(row[list(schema()[name].columns).index(key)] for key in schema()[name].keys) for row in rows
        ]
        assert len(keys) == len(set(keys))
        once(noted(notes, name), name)
