"""Row 21: recovery directory deleted.

docs/faults.md says what Pairflow promises in this case.
"""

import shutil

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import Home, Stops, Tables, count, same, tables


def test_a_pipeline_without_its_store_goes_on_where_the_database_ends(
    home: Home, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 60)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        market.go_on()
        run.kill()
    shutil.rmtree(home.recovery)
    with home.running() as run:
        run.catches_up(database, r)
        assert "going on where the database ends" in run.said
        assert run.terminate() == 0
    same(tables(database), r)
