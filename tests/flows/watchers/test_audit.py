"""The audit of bars: its comparison by hand, and against a real database and the local exchange, which lags,
fails and misreports.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from flows.feed.health import Vitals
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.settings.decoding import decode
from flows.venues.binance.api import BinanceApi
from flows.venues.binance.venue import VENUE
from flows.watchers.audit import Auditor, Pace, audited_timeframe, differences
from operators.candles import FIELDS, Candles
from tests.flows.database.written import eventually, written
from tests.line import configure, finish, follow, running

START_US = 1_763_799_960_000_000  # a whole minute
MINUTE_US = 60_000_000
MINUTES = 8  # and a half
SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = SYMBOLS
SETTINGS = decode("source: {symbols: [BTCUSDT, ETHUSDT]}", "test")
QUICK = Pace(look_s=0.02, spacing_s=0.0, tries=3, again_s=0.02, longest_s=0.1, back=MINUTES + 1)


# by hand


def bars(**columns: list[float]) -> Candles:
    given = {
        "open": [5.0],
        "high": [7.0],
        "low": [4.0],
        "close": [6.0],
        "volume": [2.0],
        "quote_volume": [11.0],
        "trades": [3],
        "buy_volume": [0.5],
    }
    return {"ts": np.zeros(1, np.int64)} | {
        name: np.array(column) for name, column in (given | columns).items()
    }


def differing(ours: Candles, theirs: Candles) -> list[str]:
    return [FIELDS[k] for k in np.flatnonzero(differences(ours, theirs)[0])]


def test_prices_and_trades_are_compared_exactly_and_sums_to_what_decimals_and_floats_differ_by() -> None:
    assert differing(bars(), bars()) == []
    for name in ("open", "high", "low", "close"):
        assert differing(bars(), bars(**{name: [np.nextafter(bars()[name][0], 9)]})) == [name]
    assert differing(bars(), bars(trades=[4])) == ["trades"]
    for name in ("volume", "quote_volume", "buy_volume"):
        sum_ = 1e6 * bars()[name]
        assert differing(bars(**{name: sum_}), bars(**{name: sum_ * (1 + 5e-10)})) == []
        assert differing(bars(**{name: sum_}), bars(**{name: sum_ * (1 + 2e-9)})) == [name]
    assert differing(bars(buy_volume=[0.0]), bars(buy_volume=[0.0])) == []


def test_a_kline_that_does_not_exist_differs_in_every_field() -> None:
    assert differing(bars(), bars(**{name: [np.nan] for name in FIELDS})) == list(FIELDS)


@pytest.mark.parametrize(
    ("timeframes", "audited"),
    [("[1s, 1m, 5m]", "1m"), ("[3m, 5m]", "3m"), ("[1s, 5m]", "1s"), ("[2m, 5m]", "5m"), ("[5s, 10s]", None)],
)
def test_the_minute_is_audited_or_the_shortest_that_the_exchange_has_too(
    timeframes: str, audited: str | None
) -> None:
    settings = decode(f"source: {{symbols: [BTCUSDT]}}\nbars: {{timeframes: {timeframes}}}", "test")
    assert audited_timeframe(settings, VENUE) == audited


# against the local exchange and a real database


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """An exchange whose recording of eight and a half minutes has happened."""
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, MINUTES * 60 + 30)
    with background(paths=[path], speed=0.0, begin="now") as exchange:
        eventually(lambda: exchange.call(exchange.exchange.clock)["ended"])
        yield exchange


@pytest.fixture
def exchange(played: Background, monkeypatch: pytest.MonkeyPatch) -> Background:
    monkeypatch.setattr(
        "flows.watchers.beside.STOP_S", 20.0
    )  # `auditing` asserts that the thread ends; how fast a machine is, is no matter
    played.control("faults", reset=True)
    return played


def ours(exchange: Background, incomplete: int = -1) -> list[Rows]:
    """Bars as the pipeline would have made them: the exchange's, and one perhaps that misses a trade and says
    so.
    """
    api = BinanceApi(exchange.rest_url)
    found = []
    for code, symbol in enumerate(SYMBOLS):
        told = api.klines(symbol, MINUTE_US, START_US, START_US + MINUTES * MINUTE_US)
        n = len(told["ts"])
        assert n == MINUTES
        told["trades"][incomplete : incomplete + 1 or None] -= incomplete >= 0
        names = {
            "symbol": Symbols(np.full(n, code, np.int32), SYMBOLS),
            "timeframe": Symbols(np.zeros(n, np.int32), ("1m",)),
        }
        found.append(Rows("bars", told | names | {"complete": np.arange(n) != incomplete}))
    api.close()
    return found


@contextmanager
def auditing(
    endpoint: Endpoint, exchange: Background, pace: Pace = QUICK, timeframe: str = "1m"
) -> Iterator[Vitals]:
    settings = decode(f"source: {{symbols: [BTCUSDT, ETHUSDT]}}\nbars: {{timeframes: [{timeframe}]}}", "test")
    vitals = Vitals(SYMBOLS)
    with Auditor(settings, settings.source, endpoint, BinanceApi(exchange.rest_url), vitals, pace):
        yield vitals
    assert not audit_runs()


def audit_runs() -> bool:
    return "audit" in {thread.name for thread in threading.enumerate()}


def counted(vitals: Vitals) -> tuple[list[int], list[int]]:
    columns: dict[str, Any] = vitals.columns(np.array([0, 1]))
    return columns["audited"].tolist(), columns["mismatched"].tolist()


def entered(endpoint: Endpoint) -> list[tuple[Any, ...]]:
    settle(endpoint)
    with connect(endpoint) as connection:
        return connection.execute(
            "SELECT ts::LONG, symbol, timeframe, field, ours, theirs FROM audits ORDER BY ts, symbol, field"
        ).fetchall()


def asked(exchange: Background, symbol: str) -> int:
    return sum(f"klines?symbol={symbol}" in path for _, path, _ in exchange.stats()["requests"])


def test_bars_that_are_the_exchanges_leave_no_entry_and_cost_one_request_a_symbol(
    database: Endpoint, exchange: Background
) -> None:
    written(database, *ours(exchange))
    before = asked(exchange, BTC)
    with auditing(database, exchange) as vitals:
        eventually(lambda: counted(vitals) == ([MINUTES] * 2, [0, 0]))
    assert asked(exchange, BTC) == before + 1
    assert entered(database) == []


def test_a_misreported_kline_is_entered_with_exactly_its_bar_and_field(
    database: Endpoint, exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    written(database, *ours(exchange))
    wrong = START_US + 3 * MINUTE_US
    exchange.control("misreport", symbol=ETH, interval="1m", open_us=wrong, field="close", value=1.5)
    with auditing(database, exchange) as vitals:
        eventually(lambda: counted(vitals) == ([MINUTES] * 2, [0, 1]))
    with connect(database) as connection:
        close = connection.execute(
            "SELECT close FROM bars WHERE symbol = 'ETHUSDT' AND ts = %s::LONG::TIMESTAMP", (wrong,)
        ).fetchone()
    assert close is not None
    assert entered(database) == [(wrong, ETH, "1m", "close", close[0], 1.5)]
    (said,) = [record.message for record in caplog.records]
    assert f"ETHUSDT 1m 2025-11-22T08:29:00Z: close is {close[0]}, its kline says 1.5" in said


def test_a_bar_that_differs_only_for_a_while_is_none_that_differs(
    database: Endpoint, exchange: Background
) -> None:
    written(database, *ours(exchange))
    exchange.control("misreport", symbol=ETH, interval="1m", open_us=START_US, field="trades", value=1)
    before = asked(exchange, ETH)
    with auditing(
        database,
        exchange,
        Pace(look_s=0.02, spacing_s=0.0, tries=1_000, again_s=0.01, longest_s=0.01, back=MINUTES + 1),
    ) as vitals:
        eventually(lambda: asked(exchange, ETH) > before + 3)
        assert counted(vitals)[0][1] == 0
        exchange.control("faults", reset=True)
        eventually(lambda: counted(vitals) == ([MINUTES] * 2, [0, 0]))
    assert entered(database) == []


def test_bars_wait_for_an_exchange_whose_rest_lags_however_long(
    database: Endpoint, exchange: Background
) -> None:
    written(database, *ours(exchange))
    exchange.control("faults", rest_lag_us=3 * MINUTE_US)
    before = asked(exchange, BTC)
    with auditing(database, exchange) as vitals:
        eventually(lambda: asked(exchange, BTC) > before + 2 * QUICK.tries)
        assert counted(vitals) == ([MINUTES - 3] * 2, [0, 0])
        exchange.control("faults", reset=True)
        eventually(lambda: counted(vitals) == ([MINUTES] * 2, [0, 0]))
    assert entered(database) == []


def test_an_incomplete_bar_is_left_out(database: Endpoint, exchange: Background) -> None:
    written(database, *ours(exchange, incomplete=2))
    with auditing(database, exchange) as vitals:
        eventually(lambda: counted(vitals) == ([MINUTES - 1] * 2, [0, 0]))
    assert entered(database) == []


def test_a_bar_is_audited_once_it_is_in_the_database_and_the_first_look_takes_in_the_newest_few(
    database: Endpoint, exchange: Background
) -> None:
    first, second = ours(exchange)
    with auditing(database, exchange, Pace(look_s=0.02, spacing_s=0.0, back=2)) as vitals:
        written(database, first)
        eventually(lambda: counted(vitals)[0] == [3, 0])
        written(database, second)
        eventually(lambda: counted(vitals)[0] == [3, 3])


def test_an_exchange_that_is_away_is_asked_again_and_lamented_once(
    database: Endpoint, exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    written(database, *ours(exchange))
    exchange.control("faults", rest_status=500)
    before = asked(exchange, BTC)
    with auditing(database, exchange) as vitals:
        eventually(lambda: asked(exchange, BTC) > before + 3)
        exchange.control("faults", reset=True)
        eventually(lambda: counted(vitals)[0] == [MINUTES] * 2)
    assert [record.message for record in caplog.records if record.name == "flows.watchers.beside"] == [
        f"audit: klines of BTCUSDT: {exchange.rest_url}: /api/v3/klines: HTTP 500 (injected); trying again",
        "audit: klines of BTCUSDT: answered again",
    ]


def test_a_symbol_that_the_exchange_has_dropped_holds_up_no_other(
    database: Endpoint, exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    written(database, *ours(exchange))
    exchange.control("delist", symbol=BTC)
    before = asked(exchange, BTC)
    with auditing(database, exchange) as vitals:
        eventually(lambda: counted(vitals)[0] == [0, MINUTES])
        eventually(lambda: asked(exchange, BTC) > before + 3)
    assert len(caplog.records) == 1


def test_a_database_that_is_away_is_asked_again(
    database: Endpoint,
    exchange: Background,
    proxy: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("flows.watchers.beside.backoff", lambda *_: 0.01)
    written(database, *ours(exchange))
    between = proxy(database.pg_port)
    between.fault = "drop"
    with auditing(replace(database, pg_port=between.port), exchange) as vitals:
        eventually(lambda: between.faults > 3)
        between.fault = None
        eventually(lambda: counted(vitals)[0] == [MINUTES] * 2)
    assert len(caplog.records) == 1


def test_an_entry_waits_for_a_database_that_takes_no_rows(
    database: Endpoint, exchange: Background, proxy: Callable[[int], Any]
) -> None:
    written(database, *ours(exchange))
    exchange.control("misreport", symbol=BTC, interval="1m", open_us=START_US, field="low", value=1)
    between = proxy(database.http_port)
    between.fault = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    with auditing(replace(database, http_port=between.port), exchange) as vitals:
        eventually(lambda: between.faults > 1)
        assert counted(vitals)[1] == [0, 0]
        between.fault = None
        eventually(lambda: counted(vitals)[1] == [1, 0])
    assert [row[:4] for row in entered(database)] == [(START_US, BTC, "1m", "low")]


@pytest.mark.parametrize("fault", [{"rest_delay_s": 30}, {"rest_status": 429}, {}])
def test_it_stops_at_once_whatever_it_waits_for(
    database: Endpoint, exchange: Background, fault: dict[str, Any]
) -> None:
    written(database, *ours(exchange))
    exchange.control("faults", **fault)
    before = exchange.stats()["used_weight"]
    with auditing(database, exchange, Pace(look_s=600, again_s=600, back=MINUTES + 1)):
        eventually(lambda: exchange.stats()["used_weight"] > before)


def test_a_database_that_hangs_does_not_hold_up_the_end(
    database: Endpoint, exchange: Background, proxy: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.watchers.beside.STOP_S", 0.1)
    between = proxy(database.pg_port)
    between.fault = "hang"
    auditor = Auditor(
        SETTINGS,
        SETTINGS.source,
        replace(database, pg_port=between.port),
        BinanceApi(exchange.rest_url),
        Vitals(SYMBOLS),
        QUICK,
    )
    with auditor:
        eventually(lambda: between.faults)
    between.close()
    eventually(lambda: not audit_runs())


def test_without_a_timeframe_that_the_exchange_has_it_says_so_and_rests(
    database: Endpoint, exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with auditing(database, exchange, timeframe="10s"):
        eventually(lambda: caplog.records)
    (said,) = caplog.records
    assert said.message.startswith("audit: none: ")


# the whole line


def test_a_kline_misreported_to_a_running_pipeline_is_the_one_entry(
    recording: Path, tmp_path: Path, database: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRFLOW_HEARTBEAT", str(tmp_path / "heartbeat"))
    with background(paths=[recording], speed=60.0) as exchange:
        wrong = exchange.exchange.source.first_us // MINUTE_US * MINUTE_US + 4 * MINUTE_US
        exchange.control("misreport", symbol=ETH, interval="1m", open_us=wrong, field="close", value=1.5)
        home = configure(tmp_path / "audited", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            follow(run, "audit: bars that differ")
            with connect(database) as connection:

                def done() -> bool:
                    found = connection.execute(
                        "SELECT symbol, max(audited), max(mismatched) FROM health ORDER BY symbol"
                    ).fetchall()
                    return [(symbol, audited >= 9, mismatched) for symbol, audited, mismatched in found] == [
                        (BTC, True, 0),
                        (ETH, True, 1),
                    ]

                eventually(done)
                bar = "symbol = 'ETHUSDT' AND timeframe = '1m' AND ts = %s::LONG::TIMESTAMP"
                close = connection.execute(f"SELECT close FROM bars WHERE {bar}", (wrong,)).fetchone()
                rate = connection.execute(
                    "SELECT max(mismatch_rate) FROM health WHERE symbol = 'ETHUSDT'"
                ).fetchone()
            assert close is not None and rate is not None
            assert entered(database) == [(wrong, ETH, "1m", "close", close[0], 1.5)]
            assert 0 < rate[0] <= 1
            assert (tmp_path / "heartbeat").exists()
            finish(run)
