"""The tables of a real QuestDB, without a row and with plausible ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flows.questdb import Endpoint, connect, settle
from tests.grafana.rows import HOURS, Stack, fill


@pytest.fixture
def empty(database: Endpoint) -> Iterator[Stack]:
    """The tables, without a row."""
    until = datetime.now(UTC).replace(microsecond=0)
    with connect(database) as connection:
        yield Stack(connection, until - timedelta(hours=HOURS), until)


@pytest.fixture
def filled(database: Endpoint, empty: Stack) -> Stack:
    """Three hours of two cointegrated symbols: 1m bars, and 1s bars of the minute in progress; signals, tests, alerts, gaps, health."""
    fill(empty)
    settle(database)
    return empty
