import gzip
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from flows.errors import UserError
from flows.feed.frames import AGG_TRADE, COLUMNS, TRADE, Frames, join
from flows.replay.recordings import read
from flows.sandbox.background import Background, background
from flows.sandbox.exchange import Exchange
from flows.sandbox.market import record
from flows.sandbox.options import Options
from flows.sandbox.sources import Simulation
from flows.venues.binance.messages import decode, decode_rest
from tests import forked
from tests.line import LAST_S

START_US = 1_763_800_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
CODES = {"BTCUSDT": 0, "ETHUSDT": 1}
BOTH = "/stream?streams=btcusdt@trade/ethusdt@trade"
SECONDS = 20


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, SECONDS)
    return path


@pytest.fixture(scope="module")
def lines(recording: Path) -> list[bytes]:
    return gzip.decompress(recording.read_bytes()).splitlines()


@pytest.fixture(scope="module")
def trades(recording: Path) -> Frames:
    return join(list(read([recording], SYMBOLS)), 2)


@pytest.fixture
def at_once(recording: Path) -> Iterator[Background]:
    """The recording as fast as it is read."""
    with background(paths=[recording], speed=0) as exchange:
        yield exchange


@pytest.fixture
def played(recording: Path) -> Iterator[Background]:
    """An exchange whose whole recording has happened."""
    with background(paths=[recording], speed=0, begin="now") as exchange:
        until(lambda: exchange.call(exchange.exchange.clock)["ended"])
        yield exchange


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LAST_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.005)
    return found


def listen(exchange: Background, path: str = BOTH) -> ClientConnection:
    return connect(exchange.ws_url + path, max_queue=None, ping_interval=None, close_timeout=1, proxy=None)


def hear(client: ClientConnection, n: int) -> list[bytes]:
    return [client.recv(timeout=LAST_S, decode=False) for _ in range(n)]


def hear_all(exchange: Background, client: ClientConnection) -> list[bytes]:
    """All messages until the recording has ended."""
    heard: list[bytes] = []
    while True:
        try:
            heard.append(client.recv(timeout=0.05, decode=False))
        except TimeoutError:
            if exchange.call(exchange.exchange.clock)["ended"] and len(heard) >= exchange.stats()["counts"].get("messages", 0):
                return heard


def get(exchange: Background, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(exchange.rest_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=LAST_S) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read(), dict(e.headers)


def ask(exchange: Background, path: str, **headers: str) -> Any:
    status, body, _ = get(exchange, path, **headers)
    assert status == 200, body
    return json.loads(body)


def same(a: Frames, b: Frames, names: tuple[str, ...] = COLUMNS) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


# streams


def test_a_client_hears_the_recording_whole_and_byte_for_byte(at_once: Background, lines: list[bytes]) -> None:
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


def test_aggregates_on_the_stream_are_those_of_rest_and_hold_every_trade(at_once: Background, trades: Frames) -> None:
    mine = trades.rows(trades.symbol == 0)
    with listen(at_once, "/stream?streams=btcusdt@aggTrade") as client:
        heard = hear_all(at_once, client)
    events = [json.loads(text)["data"] for text in heard]
    assert [e["f"] for e in events[1:]] == [e["l"] + 1 for e in events[:-1]]
    assert (events[0]["f"], events[-1]["l"]) == (mine.id[0], mine.id[-1])
    found = decode(heard, CODES, AGG_TRADE)
    assert (np.diff(found.id) == 1).all() and found.count.sum() == len(mine) and np.isclose(found.qty.sum(), mine.qty.sum())
    rest = [
        decode_rest(get(at_once, f"/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&fromId={page}")[1], 0, AGG_TRADE) for page in pages(found.id)
    ]
    assert same(found, join(rest, 1), tuple(name for name in COLUMNS if name != "event_ts"))


def pages(ids: np.ndarray) -> list[int]:
    return list(range(int(ids[0]), int(ids[-1]) + 1, 1000))


def test_subscriptions_come_and_go_by_message(at_once: Background) -> None:
    def request(client: ClientConnection, method: str, params: Any = None) -> Any:
        client.send(json.dumps({"method": method, "params": params, "id": 9}))
        while "data" in (reply := json.loads(client.recv(timeout=LAST_S))):
            pass
        return reply

    with listen(at_once, "/stream") as client:
        assert request(client, "SUBSCRIBE", ["btcusdt@trade", "nonsense@trade"]) == {"result": None, "id": 9}
        assert request(client, "LIST_SUBSCRIPTIONS") == {"result": ["btcusdt@trade", "nonsense@trade"], "id": 9}
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
        connect(exchange.ws_url + BOTH, max_queue=1, ping_interval=None, close_timeout=1, proxy=None) as client,
    ):
        until(lambda: exchange.stats()["counts"].get("messages"))
        assert hear(client, len(lines)) == lines


def test_restarted_it_begins_again_and_since_resumes_elsewhere(recording: Path, lines: list[bytes], trades: Frames) -> None:
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


# REST


def test_ping_time_and_exchange_info(played: Background, trades: Frames) -> None:
    assert ask(played, "/api/v3/ping") == {}
    assert ask(played, "/api/v3/time")["serverTime"] == trades.ts[-1] // 1000
    assert ask(played, "/api/v3/time", **{"X-MBX-TIME-UNIT": "MICROSECOND"})["serverTime"] == trades.ts[-1]
    info = ask(played, "/api/v3/exchangeInfo")
    assert [(s["symbol"], s["baseAsset"], s["quoteAsset"], s["status"]) for s in info["symbols"]] == [
        ("BTCUSDT", "BTC", "USDT", "TRADING"),
        ("ETHUSDT", "ETH", "USDT", "TRADING"),
    ]
    assert [s["symbol"] for s in ask(played, "/api/v3/exchangeInfo?symbols=%5B%22ETHUSDT%22%5D")["symbols"]] == ["ETHUSDT"]


def test_historical_trades_are_paged_by_inclusive_ids(played: Background, trades: Frames) -> None:
    mine = trades.rows(trades.symbol == 0)
    bodies = [get(played, f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={page}")[1] for page in pages(mine.id)]
    found = join([decode_rest(body, 0, TRADE) for body in bodies], 1)
    assert same(found, mine, ("id", "ts", "price", "qty", "is_buyer_maker"))
    assert [t["id"] for t in ask(played, "/api/v3/historicalTrades?symbol=BTCUSDT&limit=3")] == mine.id[-3:].tolist()
    assert len(ask(played, "/api/v3/trades?symbol=BTCUSDT&limit=5000")) == min(1000, len(mine))
    assert len(ask(played, "/api/v3/trades?symbol=BTCUSDT")) == 500
    assert ask(played, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={mine.id[-1] + 1}") == []


def test_aggregates_are_found_by_time(played: Background, trades: Frames) -> None:
    begin, end = START_US // 1000 + 3000, START_US // 1000 + 3999
    found = ask(played, f"/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&startTime={begin}&endTime={end}")
    mine = trades.rows((trades.symbol == 0) & (trades.ts // 1000 >= begin) & (trades.ts // 1000 < end))
    assert found and sum(a["l"] - a["f"] + 1 for a in found) == len(mine)


def test_klines_are_those_of_the_trades(played: Background, trades: Frames) -> None:
    klines = ask(played, "/api/v3/klines?symbol=ETHUSDT&interval=1s&limit=1000")
    assert len(klines) == SECONDS and all(len(k) == 12 for k in klines)
    mine = trades.rows(trades.symbol == 1)
    for k in klines:
        inside = mine.rows((mine.ts // 1000 >= k[0]) & (mine.ts // 1000 <= k[6]))
        assert k[6] == k[0] + 999 and k[8] == len(inside)
        if len(inside):
            assert [float(x) for x in k[1:5]] == [inside.price[0], inside.price.max(), inside.price.min(), inside.price[-1]]
            assert float(k[5]) == pytest.approx(inside.qty.sum(), abs=1e-8)
            assert float(k[9]) == pytest.approx(inside.qty[~inside.is_buyer_maker].sum(), abs=1e-8)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("trades?symbol=XXXUSDT", -1121),
        ("historicalTrades", -1102),
        ("historicalTrades?symbol=BTCUSDT&fromId=-3", -1100),
        ("historicalTrades?symbol=BTCUSDT&fromId=99999999999999999999999", -1100),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=5", -1128),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("exchangeInfo?symbol=XXXUSDT", -1121),
        ("exchangeInfo?symbols=nonsense", -1100),
    ],
)
def test_errors_are_the_exchange_s(played: Background, path: str, code: int) -> None:
    status, body, headers = get(played, f"/api/v3/{path}")
    assert status == 400 and json.loads(body)["code"] == code and "X-MBX-USED-WEIGHT-1M" in headers


def test_an_unknown_path_is_not_found(played: Background) -> None:
    assert get(played, "/api/v3/orders")[0] == get(played, "/")[0] == 404


def test_the_weight_of_requests_is_counted_and_limited(recording: Path) -> None:
    with background(paths=[recording], budget=52, budget_window_s=3600) as exchange:
        answers = [get(exchange, "/api/v3/historicalTrades?symbol=BTCUSDT") for _ in range(14)]
    assert [answer[2]["X-MBX-USED-WEIGHT-1M"] for answer in answers[:3]] == ["25", "50", "75"]
    assert [answer[0] for answer in answers] == [200, 200, *[429] * 11, 418]
    assert 3500 < int(answers[2][2]["Retry-After"]) <= 3600 and answers[-1][2]["Retry-After"] == "120"
    assert json.loads(answers[2][1])["code"] == -1003


# faults


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


def test_lost_ids_are_on_rest_but_not_on_the_stream_and_denied_ones_the_reverse(at_once: Background, trades: Frames) -> None:
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


@pytest.mark.parametrize(("status", "retry_after"), [(429, "7"), (418, "7"), (500, None), (503, None), (451, None)])
def test_rest_may_refuse_so_many_requests(played: Background, status: int, retry_after: str | None) -> None:
    get(played, f"/control/faults?rest_status={status}&rest_failures=2")
    answers = [get(played, "/api/v3/ping") for _ in range(3)]
    assert [answer[0] for answer in answers] == [status, status, 200]
    assert answers[0][2].get("Retry-After") == retry_after
    assert [request[1:] for request in played.stats()["requests"]] == [("/api/v3/ping", status)] * 2 + [("/api/v3/ping", 200)]


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
    played.control("misreport", symbol="BTCUSDT", interval="1s", open_us=right[2][0] * 1000, field="close", value=1.5)
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
    "path", ["/control/nonsense", "/control/faults?drop=often", "/control/faults?colour=red", "/control/lose?symbol=X", "/control/delist"]
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


# the simulated market


def test_the_simulated_market_comes_to_the_present_and_then_keeps_with_it() -> None:
    wall_us = START_US + 120_000_000
    options = Options(symbols=SYMBOLS, history_s=120, catch_up=600, begin="now")
    running = Background(options, Simulation(options, lambda: wall_us))
    try:
        until(lambda: running.call(running.exchange.clock)["now_us"] == wall_us)
        klines = ask(running, "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000")
        assert [int(k[0]) * 1000 % 60_000_000 for k in klines] == [0] * len(klines) and len(klines) >= 2
        assert ask(running, "/api/v3/trades?symbol=ETHUSDT&limit=1")[0]["time"] * 1000 <= wall_us
    finally:
        running.stop()


def test_a_client_of_the_simulated_market_hears_contiguous_ids() -> None:
    with background(symbols=SYMBOLS, history_s=60, catch_up=300) as exchange, listen(exchange) as client:
        found = decode(hear(client, 2000), CODES, TRADE)
    for code in (0, 1):
        assert (np.diff(found.id[found.symbol == code]) == 1).all()
    assert (np.diff(found.ts) >= 0).all() and not found.rejected.any()


# the command's part


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1: .*choose another"), background(port=port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_it_is_and_ends_well(recording: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.sandbox.background import serve; from flows.sandbox.options import Options\n"
        "serve(Options(paths=[Path(sys.argv[1])]), lambda text: print(text, flush=True))"
    )
    running = forked.start([sys.executable, "-c", code, str(recording)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert running.stdout is not None
    with running, running.stdout as out:
        try:
            heard = ""
            while "Ctrl-C stops it" not in heard:
                line = out.readline()
                assert line, heard
                heard += line
            assert "ws_url: ws://127.0.0.1:" in heard and "plays BTCUSDT, ETHUSDT from 2025-11-22T08:26:40" in heard
            running.send_signal(number)
            assert running.wait(LAST_S) == 0
            assert "stopped" in out.read()
        finally:
            running.kill()


async def _in_a_loop() -> int:
    async with Exchange(Options(symbols=("BTCUSDT",))) as exchange:
        return exchange.port


def test_it_serves_within_a_running_loop() -> None:
    import asyncio

    assert asyncio.run(_in_a_loop()) > 0
