"""Row 17: `kill -9` at a random moment, restart (many seeds).

docs/faults.md says what Pairflow promises in this case.
"""

import random
import time

import pytest

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import Home, Tables, count, same, tables

LONGEST_S = 1.0  # until a run is killed, from its first line of output on


@pytest.fixture
def speed() -> float:
    return 36.0


def test_a_pipeline_that_is_killed_again_and_again_leaves_r(
    home: Home, database: Endpoint, r: Tables, chance: random.Random, kills: int = 3
) -> None:
    for _ in range(kills):
        with home.running() as run:
            # R begins with the first trade, so a run must have seen it before the first kill.
            run.until(lambda: "streaming" in run.said and count(database))
            time.sleep(chance.uniform(0, LONGEST_S))
            run.kill()
    with home.running() as run:
        run.catches_up(database, r)
        assert run.terminate() == 0
    same(tables(database), r)


@pytest.mark.long
@pytest.mark.parametrize("turn", range(20))
def test_many_seeds(
    home: Home, played: Background, database: Endpoint, r: Tables, chance: random.Random, turn: int
) -> None:
    played.control("faults", drop=0.01, duplicate=0.01)
    while not home.last.reached():
        with home.running() as run:
            time.sleep(chance.uniform(0, 8))
            run.kill()
    played.control("faults", drop=0)
    test_a_pipeline_that_is_killed_again_and_again_leaves_r(home, database, r, chance, kills=1)
