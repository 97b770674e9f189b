"""Row 24: SIGTERM / Ctrl-C.

docs/faults.md says what Pairflow promises in this case.
"""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.database.connection import Endpoint
from flows.database.writer import STOPPING_S
from flows.live.socket import CLOSE_S
from flows.sandbox.background import Background
from flows.watchers.beside import STOP_S
from tests.faults.stage import COMPARED, Home, Stops, Tables, configuration, count, noted, once, same, tables

WITHIN_S = 10


def test_the_waits_at_the_end_leave_half_of_the_time_to_the_work() -> None:
    """The work itself takes longer or shorter, depending on the machine."""
    # Waiting for the answer of the database, for the closing of the websocket, for monitor and audit.
    assert STOPPING_S + CLOSE_S + 2 * STOP_S < WITHIN_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_taken_is_written_and_the_next_run_goes_on_at_the_exact_id(
    home: Home, played: Background, database: Endpoint, r: Tables, tmp_path: Path, number: int
) -> None:
    notes, market = tmp_path / "notes", Stops(played, 40)
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        market.go_on()
        assert run.terminate(number) == 0
    with home.running("tests.faults.observed", NOTES=str(notes)) as run:
        run.catches_up(database, r)
        assert run.terminate(number) == 0
    same(tables(database), r)
    written = noted(notes, "trades")
    assert len(written) == len(set(written)), "none twice"
    for name in COMPARED:
        once(noted(notes, name), name)


def test_with_the_database_away_it_ends_as_soon_and_the_next_run_writes_what_it_could_not(
    home: Home, played: Background, database: Endpoint, r: Tables, proxy: Callable[..., Any]
) -> None:
    between = proxy(database.http_port)
    (home.path / "pipeline.yaml").write_text(configuration(played, replace(database, http_port=between.port)))
    market = Stops(played, 40)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        between.fault = (
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\naway"
        )
        market.go_on()
        run.until(lambda: between.faults)
        assert run.terminate() == 1
        assert "rows not written" in run.lines[-1]
    assert count(database) < len(r["trades"])
    between.fault = None
    with home.running() as run:
        run.catches_up(database, r)
        assert run.terminate() == 0
    same(tables(database), r)
