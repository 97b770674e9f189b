"""A recording of two minutes of a simulated market, R, and the seed of the random choices.

R is what the tables hold after an uninterrupted run over the recording.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.database.connection import Endpoint
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.feed.frames import Frames
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.settings.model import QuestDB, Settings
from tests.conftest import emptied
from tests.faults.stage import (
    RATE,
    SECONDS,
    SPEED,
    START_US,
    SYMBOLS,
    Home,
    Stops,
    Tables,
    configuration,
    replay,
    settings_for,
    tables,
    trades_of,
)
from tests.line import Ports

LAST_STOP_S = SECONDS - 10


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, SECONDS, rate=RATE)
    return path


@pytest.fixture(scope="session")
def trades(recording: Path) -> Frames:
    return trades_of(recording)


@pytest.fixture(scope="session")
def r(questdb: Endpoint, trades: Frames, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """R, made in the simplest way: by replaying the recording."""
    emptied(questdb)
    replay([trades], settings_for(None, questdb, tmp_path_factory.mktemp("replayed")), questdb)
    return tables(questdb)


@pytest.fixture
def speed() -> float:
    """How much faster than in reality the market is played.

    Tests that start processes use a slower market, because a process needs some seconds to start.
    """
    return SPEED


@pytest.fixture
def played(recording: Path, speed: float) -> Iterator[Background]:
    """The local exchange. It plays the recording from the first subscription on."""
    with background(paths=[recording], speed=speed) as exchange:
        yield exchange


@pytest.fixture
def settings(r: Tables, played: Background, database: Endpoint, tmp_path: Path) -> Settings:
    """Settings of a pipeline with the local exchange and the session's database.

    The database is empty. R, which needs it too, has been made before.
    """
    return settings_for(played, database, tmp_path)


@pytest.fixture
def home(r: Tables, played: Background, database: Endpoint, logins: None, tmp_path: Path) -> Home:
    """The same settings, in a directory in which the command runs."""
    (tmp_path / "pipeline.yaml").write_text(configuration(played, database))
    return Home(tmp_path, database, Stops(played, LAST_STOP_S))


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("PAIRFLOW_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"PAIRFLOW_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Iterator[tuple[Path, Endpoint]]:
    """Another QuestDB, which tests may kill, and its directory."""
    directory = tmp_path_factory.mktemp("own")
    http_port, pg_port = free_ports(2)
    with running(QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)) as endpoint:
        prepare(endpoint)
        yield directory, endpoint


@pytest.fixture
def server(own: tuple[Path, Endpoint]) -> tuple[Path, Endpoint]:
    """The QuestDB that tests may kill, with empty tables."""
    emptied(own[1])
    return own
