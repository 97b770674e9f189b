"""REST against the local exchange, and against servers that are none."""

import base64
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from flows.feed.asking import Page, Request
from flows.feed.frames import Frames, join
from flows.feed.http import Limits
from flows.feed.refusals import Failed
from flows.live.rest import Rest
from flows.markets import AGG_TRADE, TRADE
from flows.replay.recordings import read
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.venues.binance.api import BinanceApi
from flows.venues.binance.venue import VENUE
from tests.line import LAST_S
from tests.proxies import HOST, proxying

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
def asking(
    base_url: str, stream: str = TRADE, limits: Limits = QUICK
) -> Iterator[tuple[Rest, "queue.Queue[Page | None]"]]:
    answers: queue.Queue[Page | None] = queue.Queue()
    rest = Rest(VENUE, base_url, stream, SYMBOLS, lambda _, page: answers.put(page), limits)
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
    assert np.array_equal(whole.ids, np.arange(first, first + min(1_000, len(eth)))) and whole.full == (
        len(eth) >= 1_000
    )
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
        http("200 OK", b'{"code":-1121,"msg":"Invalid symbol."}'),
        http("200 OK", b"[{]"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_an_answer_that_holds_no_trades_is_a_failure_and_named(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with server(answer) as url, asking(url) as (rest, answers):
        for _ in range(2):
            rest.ask(from_id(7))
            assert answers.get(timeout=LAST_S) is None
    assert "trades of ETHUSDT from id 7: " in caplog.text and "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (
            http("401 Unauthorized", b'{"code":-2014,"msg":"API-key format invalid."}'),
            "set source.stream: aggTrade",
        ),
        (http("403 Forbidden", b"<html>"), "give source.rest_url another host"),
        (http("404 Not Found", b"<html>"), "give source.rest_url another host"),
        (http("451 Unavailable", b""), "it does not serve this country"),
        (
            http("302 Found", b"", "Location: http://127.0.0.1:9/login"),
            "it redirects to http://127.0.0.1:9; give source.rest_url",
        ),
        (http("200 OK", b"<html>a captive portal</html>"), "is it a login page"),
    ],
)
def test_a_refusal_is_told_to_the_sequencer_and_named_with_what_to_do(
    answer: bytes, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server(answer) as url, asking(url) as (rest, answers):
        rest.ask(from_id(7))
        page = answers.get(timeout=LAST_S)
    assert page is not None and page.refused and not page.unknown and not len(page.ids)
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        f"{url}: trades of ETHUSDT from id 7: /api/v3/historicalTrades: " in line
        and what in line
        and line.isprintable()
    )


def test_an_exchange_that_is_not_there_is_a_failure_each_time() -> None:
    with asking("http://127.0.0.1:9") as (rest, answers):
        for _ in range(3):
            rest.ask(from_id(7))
            assert answers.get(timeout=LAST_S) is None


@pytest.mark.parametrize("status", ["429 Too Many Requests", "418 I'm a teapot"])
@pytest.mark.parametrize(
    ("header", "wait_s"), [("Retry-After: 1", 1.0), ("Retry-After: Wed, 21 Oct", 0.3), ("X: y", 0.3)]
)
def test_after_a_refusal_nothing_is_asked_until_its_time_is_over(
    status: str, header: str, wait_s: float
) -> None:
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


# through proxies


@pytest.fixture
def far(exchange: Background, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the exchange by a name that only a proxy can look up, and no proxy yet."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return f"http://{HOST}:{exchange.port}"


@pytest.mark.parametrize(
    ("variable", "scheme", "how"),
    [
        (
            "HTTP_PROXY",
            "http",
            "GET http://{host}/api/v3/historicalTrades?symbol=ETHUSDT&fromId=7&limit=1000",
        ),
        ("ALL_PROXY", "http", "GET http://{host}/api/v3/historicalTrades?symbol=ETHUSDT&fromId=7&limit=1000"),
        ("HTTPS_PROXY", "http", "CONNECT {host}"),
        ("HTTPS_PROXY", "socks5h", "SOCKS5 {host}"),
        ("SOCKS_PROXY", "http", "SOCKS5 {host}"),
        ("ALL_PROXY", "socks5h", "SOCKS5 {host}"),
    ],
)
def test_a_page_comes_through_the_proxy_of_the_environment(
    exchange: Background, far: str, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str, how: str
) -> None:
    with proxying(exchange.port) as proxy:
        monkeypatch.setenv(variable, f"{scheme}://us%40er:p%2Fss@127.0.0.1:{proxy.port}")
        with asking(far) as (rest, answers):
            rest.ask(from_id(7))
            page = answers.get(timeout=LAST_S)
    assert page is not None and page.full
    assert proxy.asked == [how.format(host=far.removeprefix("http://"))]
    login = "us@er:p/ss"
    assert proxy.logins == [
        login
        if scheme == "socks5h" or variable == "SOCKS_PROXY"
        else f"Basic {base64.b64encode(login.encode()).decode()}"
    ]


@pytest.mark.parametrize(
    ("refusal", "why"), [(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"), (b"HTTP/1.1 407 Login\r\n\r\n", "407")]
)
def test_an_encrypted_connection_goes_through_a_tunnel_and_its_refusal_names_the_proxy(
    far: str, monkeypatch: pytest.MonkeyPatch, refusal: bytes, why: str
) -> None:
    with proxying(9, refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cret@127.0.0.1:{proxy.port}")
        with closing(BinanceApi("https://api.binance.com", QUICK)) as api, pytest.raises(Failed) as failed:
            api.get("/api/v3/time", {}, 1)
    assert proxy.asked == ["CONNECT api.binance.com:443"]
    said = str(failed.value)
    assert (
        why in said
        and said.count(f"through the proxy http://127.0.0.1:{proxy.port} (HTTPS_PROXY)") == 1
        and "s3cret" not in said
    )
    assert said.isprintable() and ("USER:PASSWORD@" in said) == (why == "407")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4", "socks4a"])
@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "https://no-such-host.invalid"])
def test_a_proxy_that_is_not_there_is_a_failure_that_names_it(
    far: str, monkeypatch: pytest.MonkeyPatch, scheme: str, url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:s3cret@127.0.0.1:9")
    with closing(BinanceApi(url, QUICK)) as api, pytest.raises(Failed) as failed:
        api.get("/api/v3/time", {}, 1)
    said = str(failed.value)
    assert said == f"Connection refused through the proxy {scheme}://127.0.0.1:9 (ALL_PROXY)"


def test_a_proxy_that_says_nothing_in_time_is_a_failure(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{silent.getsockname()[1]}")
        with (
            closing(BinanceApi(far, Limits(connect_s=0.2, read_s=0.2))) as api,
            pytest.raises(Failed, match="no answer in time through the proxy"),
        ):
            api.get("/api/v3/time", {}, 1)


def test_what_no_proxy_names_is_asked_directly(
    exchange: Background, far: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", ".test")
    with closing(BinanceApi(far, QUICK)) as api, pytest.raises(Failed) as failed:
        api.get("/api/v3/time", {}, 1)
    assert "proxy" not in str(failed.value), "the name is not known here"
    with closing(BinanceApi(exchange.rest_url, QUICK)) as api:
        assert b"serverTime" in api.get("/api/v3/time", {}, 1)


def test_an_exception_of_a_library_is_a_failure_with_its_class(
    exchange: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(BinanceApi(exchange.rest_url, QUICK)) as api:

        def broken(*_: object, **__: object) -> None:
            raise ImportError("a part that is\nnot installed")

        monkeypatch.setattr(api._http._pools, "request", broken)
        with pytest.raises(Failed, match=r"^ImportError: a part that is not installed$"):
            api.get("/api/v3/time", {}, 1)
