"""The socket's thread against the local exchange."""

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import serve

import flows.live.socket
from flows.feed.inbox import Broken, Connected, Disconnected, Inbox, Joined, Subscribed
from flows.live.socket import Stream, Timing
from flows.live.subscriptions import Pace
from flows.markets import TRADE
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.venues.binance.messages import decode
from flows.venues.binance.venue import VENUE
from tests.line import LAST_S
from tests.proxies import HOST, proxying

START_US = 1_763_800_000_000_000
QUICK = Timing(
    connect_s=2.0, silence_s=0.3, backoff_s=0.05, backoff_cap_s=0.2, subscribe_s=0.25, overlap_s=0.1
)
CODES = {"BTCUSDT": 0}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, ("BTCUSDT",), START_US, 30)
    return path


@pytest.fixture
def exchange(recording: Path) -> Iterator[Background]:
    with background(paths=[recording], speed=10.0) as played:
        yield played


class Listener:
    """A stream and all that came into its inbox: messages as ids, news as themselves."""

    def __init__(self, ws_url: str, streams: list[str], timing: Timing, limit: int) -> None:
        self.inbox = Inbox(limit)
        self.stream = Stream(VENUE, ws_url, streams, self.inbox, random.Random(1), timing)
        self.news: list[Any] = []
        self.ids: list[int] = []
        self.stream.start()

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LAST_S
        while not condition():
            assert time.monotonic() < deadline, f"the deadline passed: {self.news}"
            for entry in self.inbox.drain(0.02, 1_000):
                if isinstance(entry, bytes):
                    self.ids += decode([entry], CODES, TRADE).id.tolist()
                else:
                    assert not isinstance(entry, Broken), entry
                    self.news.append(entry)


@contextmanager
def listening(
    exchange: Background | str, streams: list[str] | None = None, timing: Timing = QUICK, limit: int = 100_000
) -> Iterator[Listener]:
    url = exchange if isinstance(exchange, str) else exchange.ws_url
    listener = Listener(url, streams or ["btcusdt@trade"], timing, limit)
    try:
        yield listener
    finally:
        listener.stream.stop()
        assert "stream" not in {thread.name for thread in threading.enumerate()}


def test_messages_come_between_connected_and_disconnected(exchange: Background) -> None:
    with listening(exchange) as listener:
        listener.until(lambda: len(listener.ids) > 100)
        assert listener.news == [Connected(again=False), Subscribed()]
        exchange.call(exchange.exchange.disconnect)
        listener.until(lambda: len(listener.news) == 5)
        assert listener.news[2:] == [Disconnected(), Connected(again=True), Subscribed()]


def test_many_streams_are_subscribed_in_turn_within_the_limits_of_the_exchange(exchange: Background) -> None:
    streams = [f"s{k}usdt@trade" for k in range(1_000)] + ["btcusdt@trade"]
    with listening(exchange, streams, replace(QUICK, silence_s=30.0)) as listener:
        listener.until(lambda: Subscribed() in listener.news)
        assert exchange.stats()["streams"] == len(streams), "all are subscribed before it says so"
        listener.until(lambda: len(listener.ids) > 10)
        assert listener.news == [Connected(again=False), Subscribed()]
        counts = exchange.stats()["counts"]
        assert counts["SUBSCRIBE"] == 5 and "too_many_incoming" not in counts and counts["connects"] == 1


def test_connects_that_are_refused_are_tried_again_ever_more_seldom(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.control("faults", ws_status=451)
    timing = replace(QUICK, backoff_cap_s=100.0)
    with listening(exchange, timing=timing) as listener:
        listener.until(lambda: exchange.stats()["counts"].get("refused", 0) >= 5)
        assert listener.news == []
        at = exchange.stats()["connects"]
        for n in range(4):
            assert at[n + 1] - at[n] >= timing.backoff_s * 2**n / 2
        why = "HTTP 451, it does not serve this country: give source.ws_url another host; connecting again"
        assert {record.getMessage() for record in caplog.records} == {f"{exchange.ws_url}: {why}"}
        assert len(caplog.records) <= 4, "not one for each"
        exchange.control("faults", ws_status=0)
        listener.until(lambda: listener.ids)


def test_connections_that_do_not_last_are_made_ever_more_seldom(exchange: Background) -> None:
    timing = replace(QUICK, backoff_cap_s=100.0)
    with listening(exchange, timing=timing) as listener:
        for n in range(1, 6):
            listener.until(lambda n=n: exchange.stats()["counts"].get("connects", 0) == n)  # type: ignore[misc]
            exchange.call(exchange.exchange.disconnect)
        at = exchange.stats()["connects"]
        assert all(at[n + 1] - at[n] >= timing.backoff_s * 2**n / 2 for n in range(4))


def test_the_default_backoff_stays_below_300_connects_in_five_minutes() -> None:
    timing = Timing()
    fastest, connects = 0.0, 0
    while fastest < 300.0:
        fastest += min(timing.backoff_s * 2.0**connects, timing.backoff_cap_s) / 2
        connects += 1
    assert connects < 50


def test_an_open_but_silent_connection_is_dropped(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.control("faults", silent=True)
    with listening(exchange) as listener:
        listener.until(lambda: listener.news.count(Disconnected()) >= 2)
        exchange.control("faults", silent=False)
        listener.until(lambda: listener.ids)
    assert "no message for 0.3 s; connecting again" in caplog.text
    assert "no message for 0.6 s" in caplog.text, "more patience with symbols that hardly trade"


def test_the_connection_is_renewed_before_the_exchange_ends_it(exchange: Background) -> None:
    with listening(exchange, timing=replace(QUICK, lifetime_s=0.5)) as listener:
        listener.until(lambda: exchange.stats()["counts"].get("connects", 0) >= 3)
        assert listener.news[0] == Connected(again=False)
        assert set(listener.news[1:]) == {Subscribed()}, "there was always one"
        listener.until(lambda: exchange.stats()["connected"] <= 2)
        got = sorted(set(listener.ids))
        assert got == list(range(got[0], got[-1] + 1))


def test_a_renewal_that_is_refused_is_tried_again_while_the_old_connection_streams(
    exchange: Background,
) -> None:
    with listening(exchange) as listener:
        listener.until(lambda: listener.ids)
        exchange.control("faults", ws_status=503)
        listener.stream.renew()
        listener.until(lambda: exchange.stats()["counts"].get("refused", 0) >= 2)
        heard = len(listener.ids)
        listener.until(lambda: len(listener.ids) > heard)
        exchange.control("faults", ws_status=0)
        listener.until(
            lambda: exchange.stats()["counts"]["connects"] == 2 and exchange.stats()["connected"] == 1
        )
        assert listener.news == [Connected(again=False), Subscribed(), Subscribed()]


def test_an_exchange_that_asks_for_another_connection_again_and_again_gets_them_ever_more_seldom(
    exchange: Background,
) -> None:
    timing = replace(QUICK, overlap_s=0.0, backoff_cap_s=100.0)
    with listening(exchange, timing=timing) as listener:
        for n in range(1, 6):
            listener.until(lambda n=n: exchange.stats()["counts"].get("connects", 0) == n)  # type: ignore[misc]
            listener.stream.renew()
        at = exchange.stats()["connects"]
        assert all(at[n + 1] - at[n] >= timing.backoff_s * 2 ** (n - 1) / 2 for n in range(1, 4))
        assert Disconnected() not in listener.news


def test_a_connection_that_ends_before_its_successor_streams_is_an_outage(exchange: Background) -> None:
    with listening(exchange) as listener:
        listener.until(lambda: listener.ids)
        exchange.control("faults", handshake_delay_s=0.5)
        listener.stream.renew()
        exchange.call(exchange.exchange.disconnect)
        listener.until(lambda: len(listener.news) == 5)
        assert listener.news[2:] == [Disconnected(), Connected(again=True), Subscribed()]


def test_a_full_inbox_ends_the_connection_until_there_is_room(exchange: Background) -> None:
    with listening(exchange, limit=100) as listener:
        deadline = time.monotonic() + LAST_S
        while not (exchange.stats()["counts"].get("connects") and not exchange.stats()["connected"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert len(listener.inbox) <= 100 + 3, "bounded"
        listener.until(lambda: listener.news.count(Connected(again=True)) >= 1)


def test_pings_are_answered_while_nobody_takes_messages(recording: Path) -> None:
    with (
        background(paths=[recording], speed=10.0, ping_every_s=0.05, pong_within_s=1.0) as exchange,
        listening(exchange),
    ):
        deadline = time.monotonic() + LAST_S
        while exchange.stats()["counts"].get("pongs", 0) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "pong_timeouts" not in exchange.stats()["counts"]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "ws://no-such-host.invalid", "wss://127.0.0.1:9"])
def test_what_cannot_be_reached_is_named_and_stopping_is_at_once(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(url) as listener:
        listener.until(lambda: "connecting again" in caplog.text)
    assert f"{url}: " in caplog.text and "Traceback" not in caplog.text


def test_a_peer_without_tls_is_named(exchange: Background, caplog: pytest.LogCaptureFixture) -> None:
    with listening(exchange.ws_url.replace("ws:", "wss:")) as listener:
        listener.until(lambda: "connecting again" in caplog.text)
    assert "Traceback" not in caplog.text


def test_a_drained_inbox_gives_entries_in_order_and_no_more_than_asked_for() -> None:
    inbox = Inbox(3)
    for entry in range(3):
        assert not inbox.full
        inbox.put(entry)
    assert (
        inbox.full
        and inbox.drain(0.0, 2) == [0, 1]
        and inbox.drain(0.0, 2) == [2]
        and inbox.drain(0.0, 2) == []
    )


# streams that the exchange refuses

REFUSED = replace(
    QUICK,
    silence_s=30.0,
    subscribe_s=0.25,
    answers=Pace(answer_s=0.4, again_s=0.3, again_cap_s=0.5),
    renew_s=1.0,
    backoff_cap_s=0.5,
)
MANY = [f"s{k:03}usdt@trade" for k in range(203)] + ["btcusdt@trade"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    assert all(line.isprintable() for line in found)
    return found


def test_a_subscription_that_is_refused_is_named_and_asked_for_again(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.control("faults", subscribe_failures=1)
    with listening(exchange, MANY, replace(REFUSED, renew_s=100.0)) as listener:
        listener.until(lambda: listener.ids)
        assert listener.news == [
            Connected(again=False),
            Subscribed(tuple(MANY[200:])),
            Joined(tuple(MANY[200:])),
        ]
    why = "the exchange refuses the streams of S200USDT, S201USDT, S202USDT, BTCUSDT (Invalid request: injected); asking again"
    assert lines(caplog)[0] == f"{exchange.ws_url}: {why}"
    assert [len(streams) for _, method, streams in exchange.exchange.asked if method == "SUBSCRIBE"] == [4, 4]
    assert "too_many_incoming" not in exchange.stats()["counts"]


def test_of_a_request_that_is_refused_in_part_the_others_come(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.exchange.faults.unstreamed.append("S201USDT")
    with listening(exchange, MANY, replace(REFUSED, renew_s=100.0)) as listener:
        listener.until(
            lambda: (
                listener.ids
                and any(
                    "refuses the streams of S201USDT; asking again now and then" in line
                    for line in lines(caplog)
                )
            )
        )
        exchange.exchange.faults.unstreamed.clear()
        listener.until(lambda: Joined(("s201usdt@trade",)) in listener.news)
        joined = {stream for news in listener.news if isinstance(news, Joined) for stream in news.streams}
        assert joined == set(MANY[200:])


def test_a_request_without_an_answer_counts_as_refused(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.control("faults", subscribe_failures=1, mute_refusals=True)
    with listening(exchange, MANY, replace(REFUSED, renew_s=100.0)) as listener:
        listener.until(lambda: Joined(tuple(MANY[200:])) in listener.news)
    assert "BTCUSDT (no answer within 0.4 s); asking again" in lines(caplog)[0]


def test_streams_that_go_on_being_refused_are_tried_on_another_connection_ever_more_seldom(
    exchange: Background, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exchange.control("faults", subscribe_failures=-1)
    with listening(exchange, MANY, REFUSED) as listener:
        listener.until(lambda: exchange.stats()["counts"].get("connects", 0) >= 3)
        assert Disconnected() not in listener.news, "what comes goes on coming"
        renewed = [
            at
            for at, method, streams in exchange.exchange.asked
            if len(streams) == 4 and method == "SUBSCRIBE"
        ]
        at = exchange.stats()["connects"]
        assert at[1] - at[0] >= REFUSED.renew_s and at[2] - at[1] >= 2 * REFUSED.renew_s and len(renewed) >= 3
        exchange.control("faults", subscribe_failures=0)
        listener.until(lambda: "streams after all: " in caplog.text or listener.news[-1] == Subscribed())
    assert "opening another connection" in caplog.text and len(lines(caplog)) < 20, "no flood"


@pytest.mark.parametrize("by", ["status", "message"])
def test_streams_that_are_refused_in_the_address_are_named_and_then_asked_for_by_requests(
    by: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def refuse_address(connection: Any, request: Any) -> Any:
        asked.append(request.path)
        if by == "status" and "streams=" in request.path:
            return connection.respond(400, "no such stream")
        return None

    async def converse(connection: Any) -> None:
        if "streams=" in asked[-1]:
            await connection.send('{"error":{"code":2,"msg":"no such stream"}}')
        async for message in connection:
            await connection.send(f'{{"id":{json.loads(message)["id"]},"result":null}}')

    ready, end = threading.Event(), asyncio.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()

    async def serving() -> None:
        async with serve(converse, "127.0.0.1", 0, process_request=refuse_address) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serving()))
    thread.start()
    ready.wait()
    try:
        with listening(
            f"ws://127.0.0.1:{ports[0]}", ["测试币usdt@trade", "btcusdt@trade"], REFUSED
        ) as listener:
            listener.until(lambda: len(asked) == 2 and listener.news[-1:] == [Subscribed()])
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
    assert "the streams of 测试币USDT, BTCUSDT" in lines(caplog)[0]
    assert asked == [
        "/stream?streams=%E6%B5%8B%E8%AF%95%E5%B8%81usdt@trade/btcusdt@trade&timeUnit=MICROSECOND",
        "/stream?timeUnit=MICROSECOND",
    ]


# through proxies


@pytest.mark.parametrize(
    ("variable", "scheme", "how"),
    [("HTTPS_PROXY", "http", "CONNECT"), ("ALL_PROXY", "socks5h", "SOCKS5"), ("WS_PROXY", "http", "CONNECT")],
)
def test_the_socket_goes_through_the_proxy_of_the_environment(
    exchange: Background, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str, how: str
) -> None:
    far = f"ws://{HOST}:{exchange.port}"
    with proxying(exchange.port) as proxy:
        monkeypatch.setenv(variable, f"{scheme}://user:s3cret@127.0.0.1:{proxy.port}")
        with listening(far) as listener:
            listener.until(lambda: listener.ids)
    assert proxy.asked[0] == f"{how} {HOST}:{exchange.port}" and len(proxy.logins) == len(proxy.asked)


@pytest.mark.parametrize(
    "written",
    [
        "foo",
        "http://",
        "http://u:s3cret@127.0.0.1:x",
        "socks5://u:s3cret@127.0.0.1:9",
        "http://u:s3cret@127.0.0.1:9",
    ],
)
def test_a_proxy_that_is_none_or_away_is_a_line_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", written)
    with listening("ws://no-such-host.invalid") as listener:
        listener.until(lambda: len(caplog.records) >= 2)
    assert "s3cret" not in caplog.text and "Traceback" not in caplog.text
    assert all("ALL_PROXY" in line and line.endswith("; connecting again") for line in lines(caplog))


def test_whatever_a_library_raises_is_a_line_with_its_class_and_tried_again(
    exchange: Background, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []
    connect = flows.live.socket.connect

    def breaking(*arguments: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ImportError("a part that is\nnot installed")
        return connect(*arguments, **options)

    monkeypatch.setattr("flows.live.socket.connect", breaking)
    with listening(exchange) as listener:
        listener.until(lambda: listener.ids)
    assert (
        lines(caplog)[0] == f"{exchange.ws_url}: ImportError: a part that is not installed; connecting again"
    )
    assert "Traceback" not in caplog.text
