"""Row 35: disk full.

docs/faults.md says what Pairflow promises in this case.
"""

import json
import resource
import time
from dataclasses import replace
from pathlib import Path

from flows.database import keeper
from flows.database.connection import Endpoint, connect
from flows.database.wal import suspended
from flows.database.writer import REQUEST_ROWS
from flows.sandbox.background import Background
from tests.faults.stage import QUICK, Stops, Tables, eventually, live, same, settings_for, tables

FULL_S = 2.0
QUEUE = 1_000


def test_writes_stop_memory_is_bounded_and_with_space_every_row_arrives(
    server: tuple[Path, Endpoint], played: Background, r: Tables, tmp_path: Path
) -> None:
    directory, endpoint = server
    market = Stops(played, 20)
    pid = json.loads(keeper.state_file(directory).read_text())["pid"]
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    with live(
        settings_for(played, endpoint, tmp_path), endpoint, options=replace(QUICK, queue=QUEUE)
    ) as line:
        line.until(market.reached)
        # From now on no file of the server can grow.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
        market.go_on()
        try:
            with connect(endpoint) as connection:
                line.until(lambda: line.writer.away_since is not None or suspended(connection))
            until = time.monotonic() + FULL_S
            while time.monotonic() < until:
                assert len(line.partition._inbox) <= QUEUE + 10 and line.writer.waiting <= REQUEST_ROWS
                time.sleep(0.02)
            assert all("No space left" in text for text in line.said)
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        with connect(endpoint) as connection:
            for name, _ in suspended(connection):  # as in row 34: the alert reports it, a person resumes it
                connection.execute(f"ALTER TABLE {name} RESUME WAL")
            eventually(lambda: not suspended(connection))
        line.has(len(r["trades"]))
    same(tables(endpoint), r)
