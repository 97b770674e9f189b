"""Row 20: two crashes in one epoch; during backfill; in the very first epoch.

docs/faults.md says what Pairflow promises in this case.
"""

import signal

import pytest

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import SECONDS, Home, Stops, Tables, same, tables


@pytest.mark.parametrize(
    "deaths",
    [
        # The second crash comes before the epoch that the first crash interrupted is committed.
        ["before the commit:3", "before the commit:1"],
        ["before the commit:2", "backfill:2"],
        ["written:2", "written:2"],
    ],
    ids=["two in one epoch", "during backfill", "in the first epoch"],
)
def test_crashes_in_a_row_leave_r(
    home: Home, played: Background, database: Endpoint, r: Tables, deaths: list[str]
) -> None:
    if deaths[0].startswith("written"):  # an epoch in which both symbols can begin
        text = (home.path / "pipeline.yaml").read_text()
        (home.path / "pipeline.yaml").write_text(text.replace("every: 200ms", "every: 5s"))
    market = Stops(played, *range(5, SECONDS - 10, 5))
    for place in deaths:
        with home.running("tests.faults.observed", DIE_AT=place) as run:
            assert run.walks(market, database) == -signal.SIGKILL
    market.end()
    with home.running() as run:
        run.catches_up(database, r)
        assert run.terminate() == 0
    same(tables(database), r)
