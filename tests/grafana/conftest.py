"""Tables of a real QuestDB, empty or with plausible rows, and a Grafana: an installed or a running one."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from grafana.tools.api import Grafana, named
from tests.conftest import emptied
from tests.grafana.installed import HOME, Database, Installed, grafana_on, prepared
from tests.grafana.rows import HOURS, Stack, fill
from tests.line import Ports


@pytest.fixture
def empty(database: Endpoint) -> Iterator[Stack]:
    """The tables without rows."""
    until = datetime.now(UTC).replace(microsecond=0)
    with connect(database) as connection:
        yield Stack(connection, until - timedelta(hours=HOURS), until)


def _state(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """A value that stays the same as long as no table is written to, altered or created again."""
    ids = "SELECT table_name, id FROM tables()"
    return connection.execute(
        f"SELECT name, id, sequencerTxn FROM wal_tables() w JOIN ({ids}) t ON w.name = t.table_name "
        "ORDER BY name"
    ).fetchall()


@pytest.fixture(scope="session")
def as_filled() -> dict[str, Any]:
    """The state after the tables were last filled, so that tests that only read can share the rows."""
    return {}


@pytest.fixture
def filled(questdb: Endpoint, as_filled: dict[str, Any]) -> Iterator[Stack]:
    """Three hours of two cointegrated symbols, in every table.

    The bars are 1m bars, and 1s bars of the minute in progress.
    """
    with connect(questdb) as connection:
        if as_filled.get("state") != _state(connection):
            emptied(questdb)
            as_filled["until"] = until = datetime.now(UTC).replace(microsecond=0)
            fill(Stack(connection, until - timedelta(hours=HOURS), until))
            settle(questdb)
            as_filled["state"] = _state(connection)
        yield Stack(connection, as_filled["until"] - timedelta(hours=HOURS), as_filled["until"])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Iterator[Database]:
    """A QuestDB that tests may stop, with Pairflow's tables and the read-only user."""
    if not HOME:
        pytest.skip("GRAFANA_HOME names no installed Grafana")
    database = Database(tmp_path_factory.mktemp("server"), *free_ports(2))
    try:
        yield prepared(database)
    finally:
        database.stop()


@pytest.fixture(scope="session")
def installed(
    tmp_path_factory: pytest.TempPathFactory, server: Database, free_ports: Ports
) -> Iterator[Installed]:
    """A Grafana that has no secrets except the passwords that it needs, shared by the session."""
    with grafana_on(tmp_path_factory.mktemp("grafana"), server, free_ports) as grafana:
        grafana.start()
        yield grafana


@pytest.fixture
def shown(server: Database) -> Iterator[Stack]:
    """The same rows as `filled`, in the database of the installed Grafana."""
    emptied(server.endpoint)
    until = datetime.now(UTC).replace(microsecond=0)
    with connect(server.endpoint) as connection:
        stack = Stack(connection, until - timedelta(hours=HOURS), until)
        fill(stack)
        settle(server.endpoint)
        yield stack


@pytest.fixture(scope="session")
def grafana(request: pytest.FixtureRequest) -> Grafana:
    """The running Grafana that GRAFANA_URL names, or the installed one."""
    if os.environ.get("GRAFANA_URL"):
        return named()
    if not HOME:
        pytest.skip("neither GRAFANA_URL names a running Grafana nor GRAFANA_HOME an installed one")
    installed: Installed = request.getfixturevalue("installed")
    return installed.admin
