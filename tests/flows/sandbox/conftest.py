"""A recording, and exchanges that play it."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.feed.frames import Frames, join
from flows.replay.recordings import read
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from tests.flows.sandbox.asking import SECONDS, START_US, SYMBOLS, until


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, SECONDS)
    return path


@pytest.fixture(scope="module")
def lines(recording: Path) -> list[bytes]:
    return gzip.decompress(recording.read_bytes()).splitlines()


@pytest.fixture(scope="module")
def trades(recording: Path) -> Frames:
    return join(list(read([recording], SYMBOLS)), 2)


@pytest.fixture
def at_once(recording: Path) -> Iterator[Background]:
    """The recording as fast as it is read."""
    with background(paths=[recording], speed=0) as exchange:
        yield exchange


@pytest.fixture
def played(recording: Path) -> Iterator[Background]:
    """An exchange whose whole recording has happened."""
    with background(paths=[recording], speed=0, begin="now") as exchange:
        until(lambda: exchange.call(exchange.exchange.clock)["ended"])
        yield exchange
