"""The exchange's past: its clock, its candles, and the trade with which a time begins."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from flows.feed.frames import join
from flows.feed.refusals import Failed
from flows.feed.venue import length_for
from flows.markets import AGG_TRADE, TRADE
from flows.replay.recordings import read
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.venues.binance.api import BinanceApi
from flows.venues.binance.venue import VENUE
from operators.candles import FIELDS

START_US = 1_763_800_000_000_000
SECOND_US = 1_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
PLAYED_S = 1_300  # more candles of a second than a page holds


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, PLAYED_S + 100)
    return path


@pytest.fixture(scope="module")
def exchange(recording: Path) -> Iterator[Background]:
    with background(paths=[recording], speed=1e-6, begin="now", since_us=PLAYED_S * SECOND_US) as played:
        yield played


@pytest.fixture
def api(exchange: Background) -> Iterator[BinanceApi]:
    with closing(BinanceApi(exchange.rest_url)) as asked:
        yield asked


def test_the_clock_is_the_exchanges(api: BinanceApi, exchange: Background) -> None:
    assert api.clock_us() == exchange.control("clock")["now_us"]


@pytest.mark.parametrize(
    ("timeframe_s", "interval_s"),
    [(1, 1), (5, 1), (90, 1), (60, 60), (120, 60), (180, 180), (300, 300), (240, 60)],
)
def test_bars_are_made_of_the_longest_candles_that_fit(timeframe_s: int, interval_s: int) -> None:
    assert length_for(VENUE, timeframe_s * SECOND_US) == interval_s * SECOND_US


def test_candles_of_several_pages_are_those_of_the_trades(api: BinanceApi, recording: Path) -> None:
    trades = join(list(read([recording], SYMBOLS)), 2)
    eth = trades.rows(trades.symbol == 1)
    found = api.klines("ETHUSDT", SECOND_US, START_US, START_US + PLAYED_S * SECOND_US)
    assert len(found["ts"]) > 1_000
    assert np.all(np.diff(found["ts"]) == SECOND_US)
    assert found["ts"][-1] == START_US + (PLAYED_S - 1) * SECOND_US
    for k in np.random.default_rng(1).integers(0, len(found["ts"]), 50).tolist():
        of = eth.rows((eth.ts >= found["ts"][k]) & (eth.ts < found["ts"][k] + SECOND_US))
        assert found["trades"][k] == len(of)
        assert found["volume"][k] == pytest.approx(of.qty.sum(), abs=1e-9)
        assert found["quote_volume"][k] == pytest.approx(of.price @ of.qty, rel=1e-9)
        assert found["buy_volume"][k] == pytest.approx(of.qty[~of.is_buyer_maker].sum(), abs=1e-9)
        if len(of):
            expected = [of.price[0], of.price.max(), of.price.min(), of.price[-1]]
            assert [found[name][k] for name in ("open", "high", "low", "close")] == expected


def test_nothing_is_told_of_a_time_before_the_first_trade(api: BinanceApi) -> None:
    found = api.klines("BTCUSDT", SECOND_US, START_US - 60 * SECOND_US, START_US - 30 * SECOND_US)
    assert all(len(found[name]) == 0 for name in ("ts", *FIELDS))


@pytest.mark.parametrize("stream", [TRADE, AGG_TRADE])
def test_the_first_id_is_that_of_the_first_trade_from_then_on(
    api: BinanceApi, recording: Path, stream: str
) -> None:
    trades = join(list(read([recording], SYMBOLS)), 2)
    btc = trades.rows(trades.symbol == 0)
    for second in (0, 7, 500, PLAYED_S - 1):
        start = START_US + second * SECOND_US
        after = btc.rows(btc.ts >= start)
        found = api.first_id_from(stream, "BTCUSDT", start)
        if stream == TRADE:
            assert found == after.id[0]
        else:
            assert found is not None
            assert api.first_id_from(stream, "BTCUSDT", int(after.ts[0])) == found


def test_where_nothing_came_since_the_first_id_is_the_next(
    api: BinanceApi, exchange: Background, recording: Path
) -> None:
    trades = join(list(read([recording], SYMBOLS)), 2)
    now = exchange.control("clock")["now_us"]
    last = trades.id[(trades.symbol == 0) & (trades.ts <= now)].max()
    assert api.first_id_from(TRADE, "BTCUSDT", now + 1) == last + 1


def test_a_symbol_without_any_trade_has_no_first_id(recording: Path) -> None:
    with background(paths=[recording]) as waiting, closing(BinanceApi(waiting.rest_url)) as api:
        assert api.first_id_from(TRADE, "BTCUSDT", START_US) is None


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'[{"a":"x"}]', b'[["x"]]', b"\xff"])
def test_an_answer_of_another_kind_is_said_to_be_one(body: bytes) -> None:
    with answering(body) as url, closing(BinanceApi(url)) as api:
        for ask in (
            api.clock_us,
            lambda: api.klines("BTCUSDT", SECOND_US, 0, SECOND_US),
            lambda: api.first_id_from(TRADE, "BTCUSDT", 0),
        ):
            with pytest.raises(
                Failed, match=r"(a web page instead of the|: no) (time|list of (candles|trades))"
            ):
                ask()
