"""Row 18: kill between write and epoch commit.

One row per key.
"""

import signal
from pathlib import Path

import pytest

from flows.questdb import Endpoint
from flows.questdb import tables as schema
from tests.faults.stage import Home, Tables, count, noted, once, same, tables


@pytest.fixture
def speed() -> float:
    return 30.0


def test_rows_that_are_written_twice_are_there_once(home: Home, database: Endpoint, r: Tables, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with home.running("tests.faults.observed", DIE_AT="before the commit:8", NOTES=str(notes)) as run:
        assert run.ends() == -signal.SIGKILL
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
        keys = [tuple(row[list(schema()[name].columns).index(key)] for key in schema()[name].keys) for row in rows]
        assert len(keys) == len(set(keys))
        once(noted(notes, name), name)
