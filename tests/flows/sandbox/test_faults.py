"""Faults: each does what it says, and nothing else."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flows.feed.frames import Frames
from flows.markets import TRADE
from flows.sandbox.background import Background, background
from flows.venues.binance.messages import decode, decode_rest
from tests.flows.sandbox.asking import CODES, ask, get, hear, hear_all, listen, until
from tests.line import LAST_S


def faulty(recording: Path, seed: int, **faults: Any) -> list[bytes]:
    with background(paths=[recording], speed=0, seed=seed) as exchange:
        exchange.control("faults", **faults)
        with listen(exchange) as client:
            return hear_all(exchange, client)


def test_faults_are_drawn_from_the_seed(recording: Path, lines: list[bytes]) -> None:
    a, b, c = (faulty(recording, seed, drop=0.1, duplicate=0.1, junk=0.05, half=0.05) for seed in (1, 1, 2))
    assert a == b and a != c
    kept = decode(a, CODES, TRADE)
    assert kept.unreadable + kept.foreign > 0
    assert 0.7 * len(lines) < len(set(a) & set(lines)) < 0.95 * len(lines)
    assert len(a) > len(set(a))


def test_messages_are_shuffled_within_a_window(recording: Path, lines: list[bytes]) -> None:
    shuffled = faulty(recording, 1, shuffle=50)
    assert sorted(shuffled) == sorted(lines) and shuffled != lines
    place = {line: k for k, line in enumerate(lines)}
    assert max(abs(place[line] - k) for k, line in enumerate(shuffled)) <= 50


def test_a_zeroed_trade_is_rejected_and_rest_has_it_right(at_once: Background, trades: Frames) -> None:
    at_once.exchange.faults.zero = 0.2
    with listen(at_once) as client:
        found = decode(hear(client, len(trades)), CODES, TRADE)
    assert found.rejected.sum() == at_once.stats()["counts"]["zeroed"] > 0
    assert len(found) + found.rejected.sum() == len(trades)
    mine = trades.rows(trades.symbol == 0)
    body = get(at_once, f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={mine.id[0]}")[1]
    assert decode_rest(body, 0, TRADE).price.tolist() == mine.price[:1000].tolist()


def test_lost_ids_are_on_rest_but_not_on_the_stream_and_denied_ones_the_reverse(
    at_once: Background, trades: Frames
) -> None:
    mine = trades.rows(trades.symbol == 1)
    first, last = int(mine.id[100]), int(mine.id[299])
    at_once.control("lose", symbol="ETHUSDT", first=first, last=last)
    at_once.control("deny", symbol="ETHUSDT", first=first + 10, last=last - 10)
    with listen(at_once, "/ws/ethusdt@trade") as client:
        heard = decode(hear_all(at_once, client), CODES, TRADE)
    assert heard.id.tolist() == mine.id[:100].tolist() + mine.id[300:].tolist()
    told = [t["id"] for t in ask(at_once, f"/api/v3/historicalTrades?symbol=ETHUSDT&limit=30&fromId={first}")]
    assert told == [*range(first, first + 10), *range(last - 9, last + 11)]


def test_rest_may_lag(recording: Path) -> None:
    with background(paths=[recording], since_us=10_000_000) as exchange:
        path = "/api/v3/trades?symbol=BTCUSDT&limit=1"
        newest = ask(exchange, path)[0]["time"]
        assert get(exchange, "/control/faults?rest_lag_us=5000000")[0] == 200
        assert ask(exchange, path)[0]["time"] <= newest - 4_000
        exchange.control("faults", reset=True)
        assert ask(exchange, path)[0]["time"] == newest


@pytest.mark.parametrize(
    ("status", "retry_after"), [(429, "7"), (418, "7"), (500, None), (503, None), (451, None)]
)
def test_rest_may_refuse_so_many_requests(played: Background, status: int, retry_after: str | None) -> None:
    get(played, f"/control/faults?rest_status={status}&rest_failures=2")
    answers = [get(played, "/api/v3/ping") for _ in range(3)]
    assert [answer[0] for answer in answers] == [status, status, 200]
    assert answers[0][2].get("Retry-After") == retry_after
    assert [request[1:] for request in played.stats()["requests"]] == [("/api/v3/ping", status)] * 2 + [
        ("/api/v3/ping", 200)
    ]


def test_connections_are_cut_and_refused_for_a_while(at_once: Background, lines: list[bytes]) -> None:
    with listen(at_once) as client:
        hear(client, 1)
        assert get(at_once, "/control/disconnect?seconds=0.5")[0] == 200
        with pytest.raises(ConnectionClosed):
            hear(client, len(lines) + 1)
    with pytest.raises(InvalidStatus) as refused, listen(at_once):
        pass
    assert refused.value.response.status_code == 503

    def reached() -> bool:
        try:
            with listen(at_once):
                return True
        except InvalidStatus:
            return False

    until(reached)
    assert at_once.stats()["counts"]["connects"] == 2


def test_connections_may_be_refused_for_legal_reasons(at_once: Background) -> None:
    at_once.exchange.faults.ws_status = 451
    with pytest.raises(InvalidStatus) as refused, listen(at_once):
        pass
    assert refused.value.response.status_code == 451


def test_a_silent_connection_stays_open(at_once: Background) -> None:
    at_once.exchange.faults.silent = True
    with listen(at_once) as client:
        until(lambda: at_once.stats()["counts"].get("silenced"))
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        client.ping().wait(LAST_S)


def test_a_shutdown_is_announced_and_then_done(at_once: Background, lines: list[bytes]) -> None:
    with listen(at_once) as client:
        hear(client, len(lines))
        at_once.control("shutdown", notice_s=0.05)
        assert json.loads(hear(client, 1)[0])["stream"] == "!serverShutdown"
        with pytest.raises(ConnectionClosed):
            hear(client, 1)


def test_one_kline_may_be_wrong(played: Background) -> None:
    path = "/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=5"
    right = ask(played, path)
    played.control(
        "misreport", symbol="BTCUSDT", interval="1s", open_us=right[2][0] * 1000, field="close", value=1.5
    )
    wrong = ask(played, path)
    assert wrong[2][4] == "1.50000000"
    wrong[2][4] = right[2][4]
    assert wrong == right


def test_a_delisted_symbol_is_unknown_and_silent(at_once: Background, trades: Frames) -> None:
    at_once.control("delist", symbol="ETHUSDT")
    with listen(at_once) as client:
        assert set(decode(hear(client, int((trades.symbol == 0).sum())), CODES, TRADE).symbol.tolist()) == {0}
    assert get(at_once, "/api/v3/trades?symbol=ETHUSDT")[0] == 400
    assert [s["symbol"] for s in ask(at_once, "/api/v3/exchangeInfo")["symbols"]] == ["BTCUSDT"]


def test_the_clock_may_be_skewed_but_trade_times_are_not(at_once: Background, trades: Frames) -> None:
    at_once.exchange.faults.skew_us = -1_300_000
    with listen(at_once) as client:
        found = decode(hear(client, len(trades)), CODES, TRADE)
    assert np.array_equal(found.ts, trades.ts)
    assert np.array_equal(found.event_ts, trades.event_ts - 1_300_000)


def test_a_paused_market_goes_on_where_it_was(at_once: Background, lines: list[bytes]) -> None:
    at_once.exchange.faults.paused = True
    with listen(at_once) as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        at_once.exchange.faults.paused = False
        assert hear(client, len(lines)) == lines


@pytest.mark.parametrize(
    "path",
    [
        "/control/nonsense",
        "/control/faults?drop=often",
        "/control/faults?colour=red",
        "/control/lose?symbol=X",
        "/control/delist",
    ],
)
def test_a_control_that_is_not_understood_says_so(played: Background, path: str) -> None:
    status, body, _ = get(played, path)
    assert status == 400 and "error" in json.loads(body)


def test_delays_hold_rest_and_the_handshake(played: Background) -> None:
    played.control("faults", rest_delay_s=0.1, handshake_delay_s=0.1)
    began = time.monotonic()
    ask(played, "/api/v3/ping")
    with listen(played):
        pass
    assert time.monotonic() - began >= 0.2
