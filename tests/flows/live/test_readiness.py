"""Whether an exchange is ready for a run: the local one with faults, and servers that are none."""

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from flows.errors import UserError
from flows.feed.frames import STREAMS
from flows.feed.http import Limits
from flows.live.readiness import refuse_unready, refuse_unstreamed
from flows.markets import AGG_TRADE, TRADE
from flows.sandbox.background import Background, background
from flows.venues.binance.venue import VENUE
from tests.flows.live.test_rest import QUICK, SYMBOLS, http, server

ENDPOINTS = ("exchangeInfo", "time", "klines", "aggTrades")


@pytest.fixture(scope="module")
def market() -> Iterator[Background]:
    with background(symbols=SYMBOLS) as running:
        yield running


@pytest.fixture
def exchange(market: Background) -> Iterator[Background]:
    """The module's exchange without faults."""
    market.control("faults", reset=True)
    market.exchange.requests.clear()
    yield market
    market.control("faults", reset=True)


def refusal(base_url: str, symbols: Sequence[str] = SYMBOLS, stream: str = TRADE) -> str:
    with pytest.raises(UserError) as refused:
        refuse_unready(VENUE, base_url, symbols, stream, QUICK)
    message = str(refused.value)
    assert message.isprintable() and message.startswith("exchange: ")
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", message)


@pytest.mark.parametrize(("stream", "path"), [(TRADE, "historicalTrades"), (AGG_TRADE, "aggTrades")])
def test_all_that_a_run_asks_is_asked_once_before_it(exchange: Background, stream: str, path: str) -> None:
    refuse_unready(VENUE, exchange.rest_url + "/", SYMBOLS, stream)
    asked = [path.removeprefix("/api/v3/") for _, path, _ in exchange.stats()["requests"]]
    paths = [word.partition("?")[0] for word in asked]
    assert list(dict.fromkeys(paths)) == list(
        dict.fromkeys(("exchangeInfo", "time", "klines", "aggTrades", path))
    )
    assert paths[-2:] == [path, path] and "fromId=" in asked[-1] and "startTime=" in asked[3]


@pytest.mark.parametrize("status", [401, 403, 404, 451, 302])
@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "historicalTrades"])
def test_a_path_that_is_refused_is_named_with_what_to_do(
    exchange: Background, endpoint: str, status: int
) -> None:
    exchange.control("faults", rest_status=status, rest_endpoint=endpoint)
    message = refusal(exchange.rest_url)
    assert message.startswith(f"exchange: http://HOST: /api/v3/{endpoint}: HTTP {status}") and "; " in message
    assert ("set source.stream: aggTrade" in message) == (
        endpoint == "historicalTrades" and status in (401, 403)
    )


def test_aggregates_do_not_need_what_is_refused_for_single_trades(exchange: Background) -> None:
    exchange.control("faults", rest_status=401, rest_endpoint="historicalTrades")
    refuse_unready(VENUE, exchange.rest_url, SYMBOLS, AGG_TRADE)


def test_unknown_symbols_are_all_named(exchange: Background) -> None:
    assert refusal(exchange.rest_url, ["AUSDT", *SYMBOLS, "BUSDT"]) == (
        "exchange: http://HOST does not trade AUSDT, BUSDT; correct pairs, alerts or source.symbols"
    )


def test_symbols_of_any_script_are_asked_for_and_streamed() -> None:
    symbols = ("测试币USDT", "BTCUSD_PERP", "ΩUSDT")
    with background(symbols=symbols) as exchange:
        refuse_unready(VENUE, exchange.rest_url, symbols, TRADE)
        refuse_unstreamed(VENUE, exchange.ws_url, [f"{symbol.lower()}@trade" for symbol in symbols], 5.0)
        assert exchange.stats()["streams"] in (0, 3)
        assert "%E6%B5%8B" in exchange.stats()["requests"][0][1]


def test_a_symbol_whose_trading_is_halted_is_not_traded() -> None:
    body = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"},{"symbol":"ETHUSDT","status":"BREAK"}]}'
    with server(http("200 OK", body)) as url:
        assert "does not trade ETHUSDT;" in refusal(url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            http("200 OK", b"<html>\r\nWelcome"),
            "a web page instead of the list of symbols (<html> Welcome); is it a login page",
        ),
        (http("200 OK", b'{"symbols":null}'), 'no list of symbols: {"symbols":null}; check the network'),
        (
            http("429 Too Many", b"{}", "Retry-After: 7"),
            "HTTP 429, too many requests from this address; try again in 7 s",
        ),
        (
            http("301 Moved", b"", "Location: https://b.example/"),
            "it redirects to https://b.example; give source.rest_url that address",
        ),
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
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        pytest.raises(UserError, match="no answer in time; check"),
    ):
        refuse_unready(
            VENUE, f"http://127.0.0.1:{silent.getsockname()[1]}", SYMBOLS, TRADE, limits=Limits(read_s=0.2)
        )


# the websocket

MANY = [f"s{k:03}usdt@trade" for k in range(206)]


def test_a_socket_that_streams_is_ready(exchange: Background) -> None:
    assert refuse_unstreamed(VENUE, exchange.ws_url, [f"btcusdt@{stream}" for stream in STREAMS], 5.0) is None
    assert exchange.stats()["counts"].get("SUBSCRIBE", 0) == 0, "few streams stand in the address"


@pytest.mark.parametrize(
    ("fault", "why"),
    [({"subscribe_failures": -1}, "(Invalid request: injected)"), ({"ws_status": 403}, "HTTP 403")],
)
def test_a_socket_whose_subscriptions_are_refused_is_not_ready(
    exchange: Background, fault: dict[str, int], why: str
) -> None:
    exchange.control("faults", **fault)
    with pytest.raises(UserError) as refused:
        refuse_unstreamed(VENUE, exchange.ws_url, MANY, 5.0)
    message = str(refused.value)
    assert (
        message.startswith(f"source.ws_url: {exchange.ws_url}: ") and why in message and message.isprintable()
    )
    if "subscribe_failures" in fault:
        assert "refuses the streams of S200USDT, S201USDT, S202USDT, S203USDT, S204USDT, S205USDT" in message
