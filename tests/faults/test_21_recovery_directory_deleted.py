"""Row 21: recovery directory deleted.

Resumes from what QuestDB holds, or refuses; never counts twice.
"""

import shutil

import pytest

from flows.exchange import Background
from flows.questdb import Endpoint
from tests.faults.stage import Home, Tables, count, market_s, same, tables


@pytest.fixture
def speed() -> float:
    return 25.0


def test_a_pipeline_without_its_store_goes_on_where_the_database_ends(
    home: Home, played: Background, database: Endpoint, r: Tables
) -> None:
    with home.running() as run:
        run.until(lambda: market_s(played) > 60 and count(database, "bars"))
        run.kill()
    shutil.rmtree(home.recovery)
    with home.running() as run:
        run.catches_up(database, r)
        assert "going on where the database ends" in run.said
        assert run.terminate() == 0
    same(tables(database), r)
