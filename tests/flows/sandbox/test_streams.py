"""What clients hear over websockets, and what is said to them."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from flows.feed.frames import COLUMNS, Frames, join
from flows.markets import AGG_TRADE, TRADE
from flows.sandbox.background import Background, background
from flows.venues.binance.messages import decode, decode_rest
from tests.flows.sandbox.asking import (
    BOTH,
    CODES,
    SECONDS,
    START_US,
    ask,
    get,
    hear,
    hear_all,
    listen,
    pages,
    same,
    until,
)
from tests.line import LAST_S


def test_a_client_hears_the_recording_whole_and_byte_for_byte(
    at_once: Background, lines: list[bytes]
) -> None:
    with listen(at_once) as client:
        assert hear(client, len(lines)) == lines


def test_nothing_happens_before_the_first_subscription(at_once: Background, lines: list[bytes]) -> None:
    assert ask(at_once, "/api/v3/trades?symbol=BTCUSDT") == []
    assert ask(at_once, "/api/v3/klines?symbol=BTCUSDT&interval=1s") == []
    with listen(at_once, "/ws"):
        assert not at_once.call(at_once.exchange.clock)["begun"]
    with listen(at_once) as client:
        assert hear(client, 1) == lines[:1]


def test_play_waits_for_its_audience(recording: Path, lines: list[bytes]) -> None:
    with background(paths=[recording], speed=0, audience=2) as exchange, listen(exchange) as a:
        with pytest.raises(TimeoutError):
            a.recv(timeout=0.1)
        with listen(exchange) as b:
            assert hear(a, len(lines)) == hear(b, len(lines)) == lines


def test_raw_streams_and_microseconds(at_once: Background, trades: Frames) -> None:
    n = int((trades.symbol == 1).sum())
    with listen(at_once, "/ws/ethusdt@trade?timeUnit=MICROSECOND") as client:
        heard = hear(client, n)
    assert heard[0].startswith(b'{"e":"trade","E":1763800')
    assert same(decode(heard, CODES, TRADE), trades.rows(trades.symbol == 1))
    assert json.loads(heard[0])["T"] == trades.ts[trades.symbol == 1][0]


def test_aggregates_on_the_stream_are_those_of_rest_and_hold_every_trade(
    at_once: Background, trades: Frames
) -> None:
    mine = trades.rows(trades.symbol == 0)
    with listen(at_once, "/stream?streams=btcusdt@aggTrade") as client:
        heard = hear_all(at_once, client)
    events = [json.loads(text)["data"] for text in heard]
    assert [e["f"] for e in events[1:]] == [e["l"] + 1 for e in events[:-1]]
    assert (events[0]["f"], events[-1]["l"]) == (mine.id[0], mine.id[-1])
    found = decode(heard, CODES, AGG_TRADE)
    assert (
        (np.diff(found.id) == 1).all()
        and found.count.sum() == len(mine)
        and np.isclose(found.qty.sum(), mine.qty.sum())
    )
    rest = [
        decode_rest(
            get(at_once, f"/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&fromId={page}")[1], 0, AGG_TRADE
        )
        for page in pages(found.id)
    ]
    assert same(found, join(rest, 1), tuple(name for name in COLUMNS if name != "event_ts"))


def test_subscriptions_come_and_go_by_message(at_once: Background) -> None:
    def request(client: ClientConnection, method: str, params: Any = None) -> Any:
        client.send(json.dumps({"method": method, "params": params, "id": 9}))
        while "data" in (reply := json.loads(client.recv(timeout=LAST_S))):
            pass
        return reply

    with listen(at_once, "/stream") as client:
        assert request(client, "SUBSCRIBE", ["btcusdt@trade", "nonsense@trade"]) == {"result": None, "id": 9}
        assert request(client, "LIST_SUBSCRIPTIONS") == {
            "result": ["btcusdt@trade", "nonsense@trade"],
            "id": 9,
        }
        assert request(client, "UNSUBSCRIBE", ["btcusdt@trade"]) == {"result": None, "id": 9}
        assert request(client, "LIST_SUBSCRIPTIONS") == {"result": ["nonsense@trade"], "id": 9}
    with listen(at_once, "/stream") as client:
        assert request(client, "DANCE")["error"]["code"] == 2
        assert request(client, "SUBSCRIBE", "btcusdt@trade")["error"]["code"] == 2
        client.send("{")
        assert "error" in json.loads(client.recv(timeout=LAST_S))


def test_more_than_five_messages_a_second_are_a_policy_violation(at_once: Background) -> None:
    with listen(at_once, "/ws") as client, pytest.raises(ConnectionClosed) as closed:
        for number in range(50):
            client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        hear(client, 50)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_too_many_streams_are_a_policy_violation(recording: Path) -> None:
    with background(paths=[recording], most_streams=1) as exchange, listen(exchange) as client:
        with pytest.raises(ConnectionClosed) as closed:
            hear(client, 10_000)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_pings_come_and_who_does_not_answer_is_closed(recording: Path) -> None:
    with background(paths=[recording], ping_every_s=0.05, pong_within_s=0.2) as exchange:
        with listen(exchange, "/ws"):
            until(lambda: exchange.stats()["counts"].get("pongs", 0) >= 2)
        with socket.create_connection(("127.0.0.1", exchange.port), timeout=LAST_S) as mute:
            mute.sendall(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            until(lambda: mute.recv(4096) == b"")
        assert exchange.stats()["counts"]["pong_timeouts"] >= 1


def test_a_connection_s_life_ends_after_a_notice(recording: Path) -> None:
    with background(paths=[recording], lifetime_s=0.3, notice_s=0.1, speed=1e-6) as exchange:
        for path, unwrap in (
            ("/stream?streams=x@trade", lambda m: (m["stream"], m["data"]["e"])),
            ("/ws", lambda m: ("!serverShutdown", m["e"])),
        ):
            with listen(exchange, path) as client:
                assert unwrap(json.loads(hear(client, 1)[0])) == ("!serverShutdown", "serverShutdown")
                with pytest.raises(ConnectionClosed):
                    hear(client, 1)


def test_a_client_that_stops_reading_for_a_while_misses_nothing(recording: Path, lines: list[bytes]) -> None:
    with (
        background(paths=[recording], speed=0) as exchange,
        connect(
            exchange.ws_url + BOTH, max_queue=1, ping_interval=None, close_timeout=1, proxy=None
        ) as client,
    ):
        until(lambda: exchange.stats()["counts"].get("messages"))
        assert hear(client, len(lines)) == lines


def test_restarted_it_begins_again_and_since_resumes_elsewhere(
    recording: Path, lines: list[bytes], trades: Frames
) -> None:
    for _ in range(2):
        with background(paths=[recording], speed=0) as exchange, listen(exchange) as client:
            assert hear(client, 100) == lines[:100]
    middle_us = START_US + 10_000_000
    for since_us in (middle_us, middle_us - int(trades.ts[0])):
        with background(paths=[recording], speed=0, since_us=since_us) as exchange:
            known = ask(exchange, "/api/v3/trades?symbol=BTCUSDT&limit=1")
            assert known[0]["id"] == trades.id[(trades.symbol == 0) & (trades.ts <= middle_us)][-1]
            with listen(exchange) as client:
                assert hear(client, 1)[0] == lines[int((trades.ts <= middle_us).sum())]


def test_speed_is_market_time_over_wall_time(recording: Path, lines: list[bytes]) -> None:
    with background(paths=[recording], speed=40) as exchange, listen(exchange) as client:
        began = time.monotonic()
        assert hear(client, len(lines)) == lines
        assert time.monotonic() - began > (SECONDS - 2) / 40  # never faster than asked for
