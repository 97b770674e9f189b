"""The socket's thread against the local exchange."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.binance.messages import TRADE, decode
from flows.binance.stream import Broken, Connected, Disconnected, Inbox, Stream, Subscribed, Timing
from flows.exchange import Background, background
from flows.market import record
from tests.line import LAST_S

START_US = 1_763_800_000_000_000
QUICK = Timing(connect_s=2.0, silence_s=0.3, backoff_s=0.05, backoff_cap_s=0.2, subscribe_s=0.25, overlap_s=0.1)
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
        self.stream = Stream(ws_url, streams, self.inbox, random.Random(1), timing)
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


def test_connects_that_are_refused_are_tried_again_ever_more_seldom(exchange: Background, caplog: pytest.LogCaptureFixture) -> None:
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


def test_an_open_but_silent_connection_is_dropped(exchange: Background, caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_renewal_that_is_refused_is_tried_again_while_the_old_connection_streams(exchange: Background) -> None:
    with listening(exchange) as listener:
        listener.until(lambda: listener.ids)
        exchange.control("faults", ws_status=503)
        listener.stream.renew()
        listener.until(lambda: exchange.stats()["counts"].get("refused", 0) >= 2)
        heard = len(listener.ids)
        listener.until(lambda: len(listener.ids) > heard)
        exchange.control("faults", ws_status=0)
        listener.until(lambda: exchange.stats()["counts"]["connects"] == 2 and exchange.stats()["connected"] == 1)
        assert listener.news == [Connected(again=False), Subscribed(), Subscribed()]


def test_an_exchange_that_asks_for_another_connection_again_and_again_gets_them_ever_more_seldom(exchange: Background) -> None:
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
    with background(paths=[recording], speed=10.0, ping_every_s=0.05, pong_within_s=1.0) as exchange, listening(exchange):
        deadline = time.monotonic() + LAST_S
        while exchange.stats()["counts"].get("pongs", 0) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "pong_timeouts" not in exchange.stats()["counts"]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "ws://no-such-host.invalid", "wss://127.0.0.1:9"])
def test_what_cannot_be_reached_is_named_and_stopping_is_at_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
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
    assert inbox.full and inbox.drain(0.0, 2) == [0, 1] and inbox.drain(0.0, 2) == [2] and inbox.drain(0.0, 2) == []
