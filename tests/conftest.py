"""One real QuestDB for the whole session."""

import socket
from collections.abc import Iterator

import pytest

from flows.config import QuestDB
from flows.embedded import running
from flows.questdb import Endpoint, connect, prepare, tables


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="session")
def questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A real QuestDB with Pairflow's tables, shared by the session: tests that write use `database`."""
    http_port, pg_port = free_ports(2)
    directory = tmp_path_factory.mktemp("questdb")
    with running(QuestDB(dir=directory, http_port=http_port, pg_port=pg_port)) as endpoint:
        prepare(endpoint)
        yield endpoint


@pytest.fixture
def database(questdb: Endpoint) -> Iterator[Endpoint]:
    """The session's QuestDB with empty tables."""
    prepare(questdb)
    with connect(questdb) as connection:
        for name in tables():
            if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
                connection.execute(f"DROP TABLE {name}")  # unlike TRUNCATE also forgets its TTL and its symbols
    prepare(questdb)
    yield questdb
