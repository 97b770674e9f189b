"""Row 25: 1, 2, 4 workers; any batch sizes; any `PYTHONHASHSEED`.

docs/faults.md says what Pairflow promises in this case.
"""

import random
from pathlib import Path

import pytest

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.settings.model import Settings
from tests.faults.stage import Home, Tables, replay, same, tables


@pytest.mark.parametrize(("workers", "hash_seed"), [("1", "0"), ("2", "1"), ("4", "4242")])
def test_workers_and_hash_seeds_change_no_row(
    home: Home, database: Endpoint, recording: Path, r: Tables, workers: str, hash_seed: str
) -> None:
    with home.running(
        arguments=("replay", "--workers", workers, str(recording)), PYTHONHASHSEED=hash_seed
    ) as run:
        assert run.ends() == 0, run.said
    same(tables(database), r)


@pytest.mark.parametrize("most", [50, 5_000])
def test_batch_sizes_change_no_row(
    settings: Settings, database: Endpoint, trades: Frames, r: Tables, chance: random.Random, most: int
) -> None:
    batches, at = [], 0
    while at < len(trades):
        size = chance.randint(1, most)
        batches.append(trades.rows(slice(at, at + size)))
        at += size
    replay(batches, settings, database)
    same(tables(database), r)
