"""REST against the local exchange, and against servers that are none."""

import queue
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from flows.binance.messages import AGG_TRADE, TRADE, Frames, join
from flows.binance.rest import Limits, Rest, check_symbols
from flows.binance.sequencer import Page, Request
from flows.errors import UserError
from flows.exchange import Background, background
from flows.market import record
from flows.recordings import read
from tests.line import LAST_S

START_US = 1_763_800_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
QUICK = Limits(connect_s=1.0, read_s=3.0, pause_s=0.1, retry_after_s=0.3)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, 30)
    return path


@pytest.fixture(scope="module")
def eth(recording: Path) -> Frames:
    trades = join(list(read([recording], SYMBOLS)), 2)
    return trades.rows(trades.symbol == 1)


@contextmanager
def playing(recording: Path, **options: object) -> Iterator[Background]:
    """An exchange whose recording has happened."""
    with background(paths=[recording], speed=0.0, begin="now", **options) as exchange:
        deadline = time.monotonic() + LAST_S
        while not exchange.call(exchange.exchange.clock)["ended"]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield exchange


@pytest.fixture
def exchange(recording: Path) -> Iterator[Background]:
    with playing(recording) as played:
        yield played


@contextmanager
def asking(base_url: str, stream: str = TRADE, limits: Limits = QUICK) -> Iterator[tuple[Rest, "queue.Queue[Page | None]"]]:
    answers: queue.Queue[Page | None] = queue.Queue()
    rest = Rest(base_url, stream, SYMBOLS, lambda _, page: answers.put(page), limits)
    rest.start()
    try:
        yield rest, answers
    finally:
        rest.stop()
        assert "rest" not in {thread.name for thread in threading.enumerate()}


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """A server that gives the same bytes to everyone."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65_536)
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def from_id(number: int) -> Request:
    return Request(1, number, None, 1)


def test_a_page_begins_at_its_id_and_holds_a_thousand(exchange: Background, eth: Frames) -> None:
    first = int(eth.id[0])
    with asking(exchange.rest_url) as (rest, answers):
        rest.ask(from_id(first))
        rest.ask(from_id(int(eth.id[-1]) - 1))
        rest.ask(from_id(int(eth.id[-1]) + 1))
        whole, last, nothing = (answers.get(timeout=LAST_S) for _ in range(3))
    assert whole is not None and last is not None and nothing is not None
    assert np.array_equal(whole.ids, np.arange(first, first + min(1_000, len(eth)))) and whole.full == (len(eth) >= 1_000)
    for name in ("id", "ts", "price", "qty", "is_buyer_maker"):
        assert np.array_equal(getattr(whole.frames, name), getattr(eth, name)[:1_000])
    assert (last.ids.tolist(), last.full) == (eth.id[-2:].tolist(), False)
    assert len(nothing.ids) == 0 and not nothing.full


def test_aggregate_trades_are_asked_for_by_their_own_ids(exchange: Background, eth: Frames) -> None:
    ids = exchange.exchange.source.tapes["ETHUSDT"].rows(AGG_TRADE)["id"]
    with asking(exchange.rest_url, AGG_TRADE) as (rest, answers):
        rest.ask(from_id(int(ids[3])))
        page = answers.get(timeout=LAST_S)
    assert page is not None and page.ids.tolist() == ids[3:1_003].tolist()
    assert page.frames.count.sum() >= len(page.ids)


def test_a_listed_trade_that_can_be_none_is_in_the_ids_only() -> None:
    row = '{{"id":{},"price":"{}","qty":"1","time":1763800000000,"isBuyerMaker":true}}'
    body = f"[{row.format(7, '1.5')},{row.format(8, '0.0')},{row.format(9, 'rubbish')},{row.format(10, '2')}]".encode()
    with server(http("200 OK", body)) as url, asking(url) as (rest, answers):
        rest.ask(from_id(7))
        page = answers.get(timeout=LAST_S)
    assert page is not None
    assert (page.ids.tolist(), page.frames.id.tolist(), page.full) == ([7, 8, 9, 10], [7, 10], False)


@pytest.mark.parametrize(
    "answer",
    [
        http("500 Internal Server Error", b"oops"),
        http("404 Not Found", b"<html>"),
        http("200 OK", b"<html>a captive portal</html>"),
        http("200 OK", b'{"code":-1121,"msg":"Invalid symbol."}'),
        http("200 OK", b"[{]"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_an_answer_that_holds_no_trades_is_a_failure_and_named(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with server(answer) as url, asking(url) as (rest, answers):
        for _ in range(2):
            rest.ask(from_id(7))
            assert answers.get(timeout=LAST_S) is None
    assert "trades of ETHUSDT from id 7: " in caplog.text and "Traceback" not in caplog.text


def test_an_exchange_that_is_not_there_is_a_failure_each_time() -> None:
    with asking("http://127.0.0.1:9") as (rest, answers):
        for _ in range(3):
            rest.ask(from_id(7))
            assert answers.get(timeout=LAST_S) is None


@pytest.mark.parametrize("status", ["429 Too Many Requests", "418 I'm a teapot"])
@pytest.mark.parametrize(("header", "wait_s"), [("Retry-After: 1", 1.0), ("Retry-After: Wed, 21 Oct", 0.3), ("X: y", 0.3)])
def test_after_a_refusal_nothing_is_asked_until_its_time_is_over(status: str, header: str, wait_s: float) -> None:
    with server(http(status, b"{}", header)) as url, asking(url) as (rest, answers):
        rest.ask(from_id(7))
        rest.ask(from_id(7))
        assert answers.get(timeout=LAST_S) is None
        began = time.monotonic()
        assert answers.get(timeout=LAST_S) is None
        assert time.monotonic() - began >= wait_s * 0.9


def test_the_budget_is_not_spent_by_us_alone(recording: Path, eth: Frames) -> None:
    with playing(recording, budget=300, budget_window_s=1.5) as exchange:
        limits = Limits(weight=200, pause_s=0.3)
        with asking(exchange.rest_url, limits=limits) as (rest, answers):
            for _ in range(20):
                rest.ask(from_id(int(eth.id[0])))
            assert all(answers.get(timeout=LAST_S) is not None for _ in range(20))
        assert {status for _, _, status in exchange.stats()["requests"]} == {200}


def test_stopping_does_not_wait_for_an_answer(exchange: Background) -> None:
    exchange.control("faults", rest_delay_s=3)
    with asking(exchange.rest_url, limits=Limits(read_s=60.0)) as (rest, _):
        rest.ask(from_id(1))
        deadline = time.monotonic() + LAST_S
        while not exchange.stats()["used_weight"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert exchange.stats()["requests"] == [], "not answered yet"


def test_stopping_does_not_wait_for_a_ban_to_end() -> None:
    with server(http("418 I'm a teapot", b"{}", "Retry-After: 1000")) as url, asking(url) as (rest, answers):
        rest.ask(from_id(7))
        assert answers.get(timeout=LAST_S) is None
        rest.ask(from_id(7))


def test_a_symbol_that_the_exchange_does_not_know_any_more_is_named_once(
    exchange: Background, eth: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.control("delist", symbol="ETHUSDT")
    with asking(exchange.rest_url) as (rest, answers):
        for _ in range(3):
            rest.ask(from_id(int(eth.id[0])))
            page = answers.get(timeout=LAST_S)
            assert page is not None and page.unknown
        assert [record.getMessage() for record in caplog.records] == [
            f"{exchange.rest_url}: ETHUSDT: the exchange does not know it any more; the others go on"
        ]
        exchange.exchange.faults.delisted.clear()
        rest.ask(from_id(int(eth.id[0])))
        page = answers.get(timeout=LAST_S)
        assert page is not None and not page.unknown and len(page.ids)


# check_symbols


def test_known_symbols_cost_one_request(exchange: Background) -> None:
    check_symbols(exchange.rest_url, SYMBOLS)
    assert len(exchange.stats()["requests"]) == 1
    check_symbols(exchange.rest_url + "/", SYMBOLS, TRADE)
    check_symbols(exchange.rest_url, SYMBOLS[:1], AGG_TRADE)


def refusal(base_url: str, symbols: Sequence[str] = SYMBOLS, stream: str | None = None) -> str:
    with pytest.raises(UserError) as refused:
        check_symbols(base_url, symbols, stream, QUICK)
    message = str(refused.value)
    assert "\n" not in message and message.startswith("exchange: ")
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", message)


def test_unknown_symbols_are_all_named(exchange: Background) -> None:
    assert refusal(exchange.rest_url, ["AUSDT", *SYMBOLS, "BUSDT"]) == (
        "exchange: http://HOST does not trade AUSDT, BUSDT; correct pairs, alerts or source.symbols"
    )


def test_a_symbol_whose_trading_is_halted_is_not_traded() -> None:
    body = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"},{"symbol":"ETHUSDT","status":"BREAK"}]}'
    with server(http("200 OK", body)) as url:
        assert "does not trade ETHUSDT;" in refusal(url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            http("451 Unavailable For Legal Reasons", b"{}"),
            "HTTP 451, it does not serve this country; give source.ws_url and source.rest_url other",
        ),
        (http("429 Too Many", b"{}", "Retry-After: 7"), "HTTP 429, too many requests from this address; try again in 7 s"),
        (http("418 I'm a teapot", b"{}", "Retry-After: 120"), "HTTP 418, too many requests from this address; try again in 120 s"),
        (http("503 Service Unavailable", b"be\n back"), "HTTP 503 and no list of symbols: be back; check the network, or source.rest_url"),
        (http("200 OK", b"<html>\r\nWelcome"), "HTTP 200 and no list of symbols: <html> Welcome; check the network"),
        (http("200 OK", b'{"symbols":null}'), "HTTP 200 and no list of symbols"),
        (b"rubbish", "check the network, or source.rest_url in the configuration"),
        (b"", "check the network, or source.rest_url in the configuration"),
    ],
)
def test_what_is_no_exchange_for_us_is_said_in_one_line(answer: bytes, message: str) -> None:
    with server(answer) as url:
        assert message in refusal(url)


def test_no_network_is_said_in_one_line(exchange: Background) -> None:
    assert refusal("http://127.0.0.1:9") == (
        "exchange: http://HOST: Connection refused; check the network, or source.rest_url in the configuration"
    )
    assert "no-such-host.invalid" in refusal("http://no-such-host.invalid")
    assert "check the network" in refusal(exchange.rest_url.replace("http:", "https:"))


def test_a_server_that_does_not_answer_is_said_in_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, pytest.raises(UserError, match="no answer in time; check"):
        check_symbols(f"http://127.0.0.1:{silent.getsockname()[1]}", SYMBOLS, limits=Limits(read_s=0.2))


def test_a_host_without_past_trades_is_refused() -> None:
    listed = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"},{"symbol":"ETHUSDT","status":"TRADING"}]}'
    answers = iter([http("200 OK", listed), http("404 Not Found", b"")])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "does not serve /api/v3/historicalTrades, which fills holes; give source.rest_url another host" in refusal(url, stream=TRADE)
    finally:
        thread.join()
        listener.close()
