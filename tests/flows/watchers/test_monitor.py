"""The monitor against a real database and the local exchange's clock."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flows.database.connection import Endpoint, connect
from flows.database.writer import Writer
from flows.feed.health import Vitals
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.settings.decoding import decode
from flows.venues.binance.api import BinanceApi
from flows.watchers.monitor import Monitor, Pace
from operators.columns import NEVER
from tests.flows.database.written import eventually, trades
from tests.flows.feed.test_health import values

START_US = 1_763_800_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
SETTINGS = decode("source: {symbols: [BTCUSDT, ETHUSDT]}", "test")
QUICK = Pace(look_s=0.02, clock_s=0.02)


# against the local exchange and a real database


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """A recording that has been played: its clock stands."""
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, 5)
    with background(paths=[path], speed=0.0, begin="now") as played:
        eventually(lambda: played.call(played.exchange.clock)["ended"])
        yield played


@pytest.fixture
def monitoring(exchange: Background) -> Iterator[Callable[[Endpoint], Vitals]]:
    exchange.control("faults", reset=True)
    with ExitStack() as stack:

        def start(endpoint: Endpoint) -> Vitals:
            vitals = Vitals(SYMBOLS)
            stack.enter_context(
                Monitor(
                    SETTINGS,
                    SETTINGS.source,
                    endpoint,
                    BinanceApi(exchange.rest_url),
                    vitals,
                    QUICK,
                    lambda: exchange.exchange.now_us,
                )
            )
            return vitals

        yield start


def test_the_skew_is_the_exchanges_clock_less_ours_and_a_large_one_is_said_once(
    database: Endpoint,
    exchange: Background,
    monitoring: Callable[[Endpoint], Vitals],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    vitals = monitoring(database)
    eventually(lambda: values(vitals)["skew_ms"] == [0.0, 0.0])
    for skew_us in (900_000, 1_300_000, 1_400_000, -200_000):
        exchange.control("faults", skew_us=skew_us)
        eventually(lambda skew_us=skew_us: values(vitals)["skew_ms"] == [skew_us / 1_000] * 2)  # type: ignore[misc]
    eventually(lambda: "agrees" in caplog.text)
    assert [record.message for record in caplog.records if record.name == "flows.watchers.monitor"] == [
        "clock: this machine's is 1.3 s behind the exchange's: bars and signals do not go by it, lag and freshness do: set it by NTP",
        "clock: this machine's agrees with the exchange's again",
    ]


def test_the_clock_of_a_simulated_market_is_nobodys(database: Endpoint, exchange: Background) -> None:
    exchange.control("faults", reset=True)
    settings = decode("source: {symbols: [BTCUSDT, ETHUSDT], exchange: simulated}", "test")
    vitals = Vitals(SYMBOLS)
    before = exchange.stats()["used_weight"]
    with Monitor(settings, settings.source, database, BinanceApi(exchange.rest_url), vitals, QUICK):
        eventually(lambda: values(vitals)["suspended"] == [0, 0])
    assert np.isnan(values(vitals)["skew_ms"]).all()
    assert exchange.stats()["used_weight"] == before


def test_a_skew_nobody_can_tell_is_null_and_that_is_said_once(
    database: Endpoint,
    exchange: Background,
    monitoring: Callable[[Endpoint], Vitals],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    vitals = monitoring(database)
    eventually(lambda: values(vitals)["skew_ms"] == [0.0, 0.0])
    exchange.control("faults", rest_status=500)
    eventually(lambda: np.isnan(values(vitals)["skew_ms"]).all())
    failures = exchange.stats()["counts"]["http_500"]
    eventually(lambda: exchange.stats()["counts"]["http_500"] > failures + 5)
    exchange.control("faults", reset=True)
    eventually(lambda: "answered again" in caplog.text)
    assert len([record for record in caplog.records if record.name == "flows.watchers.beside"]) == 2


def test_a_suspended_table_is_counted_and_named_with_the_way_out_until_it_is_resumed(
    database: Endpoint, monitoring: Callable[[Endpoint], Vitals], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    vitals = monitoring(database)
    eventually(lambda: values(vitals)["suspended"] == [0, 0])
    with connect(database) as connection:
        connection.execute("ALTER TABLE trades SUSPEND WAL WITH 28, 'disk full'")
        try:
            writer = Writer(database)
            for first_id in (1, 10):
                writer.write([trades(3, first_id)])
                writer.flush()
            writer.close()
            eventually(lambda: (values(vitals)["suspended"][0], values(vitals)["wal_pending"][0]) == (1, 2))
        finally:
            connection.execute("ALTER TABLE trades RESUME WAL")
    eventually(lambda: (values(vitals)["suspended"][0], values(vitals)["wal_pending"][0]) == (0, 0))
    said = [record for record in caplog.records if record.name == "flows.watchers.monitor"]
    assert [record.levelname for record in said] == ["ERROR", "INFO"]
    assert said[0].message.startswith("table trades: suspended (")
    assert said[0].message.endswith("see to the cause (disk space?), then ALTER TABLE trades RESUME WAL")
    assert said[1].message == "table trades: no longer suspended"


def test_a_database_that_is_away_leaves_null_and_one_line(
    database: Endpoint,
    monitoring: Callable[[Endpoint], Vitals],
    proxy: Callable[[int], Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.watchers.beside.backoff", lambda *_: 0.01)
    caplog.set_level(logging.INFO)
    between = proxy(database.pg_port)
    vitals = monitoring(replace(database, pg_port=between.port))
    eventually(lambda: values(vitals)["suspended"] == [0, 0])
    between.fault = "drop"
    eventually(lambda: values(vitals)["suspended"] == [NEVER, NEVER] and between.faults > 3)
    between.fault = None
    eventually(lambda: values(vitals)["suspended"] == [0, 0])
    eventually(lambda: "answered again" in caplog.text)
    assert len([record for record in caplog.records if record.name == "flows.watchers.beside"]) == 2
