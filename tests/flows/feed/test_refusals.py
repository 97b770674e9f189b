"""What answers over HTTP mean; no sockets."""

import pytest

from flows.feed.refusals import (
    Failed,
    Refused,
    Unknown,
    handshake_refusal,
    of_another_kind,
    reason,
    refusal,
)
from flows.venues.binance.api import BinanceApi

HISTORICAL, KLINES = "/api/v3/historicalTrades", "/api/v3/klines"
KEY = b'{"code":-2014,"msg":"API-key format invalid."}'


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "what", "advice"),
    [
        (
            401,
            KEY,
            {},
            Refused,
            "(API-key format invalid.), it asks for an API key there",
            "give source.rest_url another host",
        ),
        (
            403,
            b"<html>",
            {},
            Refused,
            "(a web page), it refuses this address, or asks for an API key there",
            "another host",
        ),
        (404, b"", {}, Refused, ", it does not serve that", "give source.rest_url another host"),
        (
            451,
            b"<html>",
            {},
            Refused,
            ", it does not serve this country",
            "give source.ws_url and source.rest_url other hosts",
        ),
        (
            301,
            b"",
            {"Location": "https://u:p@b.example:8443/x?k=v"},
            Refused,
            ", it redirects to https://b.example:8443",
            "that address",
        ),
        (
            302,
            b"",
            {"Location": "/login"},
            Refused,
            ", it redirects to another path",
            "give source.rest_url that address",
        ),
        (
            307,
            b"",
            {"Location": "http://[::1"},
            Refused,
            ", it redirects to another path",
            "give source.rest_url that address",
        ),
        (407, b"", {}, Refused, ", the proxy asks for a login", "put USER:PASSWORD@ before the host"),
        (
            400,
            b'{"code":-1121,"msg":"Invalid symbol."}',
            {},
            Unknown,
            "(Invalid symbol.)",
            "correct pairs, alerts or source.symbols",
        ),
        (
            400,
            b'{"code":-1100,"msg":"Illegal\\ncharacters"}',
            {},
            Refused,
            "(Illegal characters)",
            "another host",
        ),
        (410, b"gone", {}, Refused, "(gone)", "another host"),
        (429, b"", {"Retry-After": "7"}, Failed, ", too many requests from this address", "try again in 7 s"),
        (
            418,
            b"",
            {"Retry-After": "Wed, 21 Oct"},
            Failed,
            ", too many requests from this address",
            "try again in some minutes",
        ),
        (500, b"{}", {}, Failed, "HTTP 500", "try again later"),
        (503, b"be\n back", {}, Failed, "(be back)", "try again later"),
        (503, b"\x1b[31m\x00", {}, Failed, "(\N{REPLACEMENT CHARACTER}[31m", "try again later"),
    ],
)
def test_an_answer_says_in_a_line_what_it_is_and_what_to_do(
    status: int, body: bytes, headers: dict[str, str], kind: type[Failed], what: str, advice: str
) -> None:
    error = refusal(KLINES, status, headers, body, unknown=b"-1121" in body)
    assert type(error) is kind and error.status == status
    assert str(error).startswith(f"{KLINES}: HTTP {status}") and what in str(error) and advice in error.advice
    assert f"{error}{error.advice}".isprintable()


def test_past_trades_that_ask_for_a_key_can_be_had_as_aggregates() -> None:
    assert (
        refusal(HISTORICAL, 401, {}, KEY, instead=BinanceApi.instead(HISTORICAL)).advice
        == "set source.stream: aggTrade, or give source.rest_url another host"
    )


def test_a_web_page_is_a_refusal_and_half_an_answer_is_not() -> None:
    assert type(of_another_kind(KLINES, b"\r\n<!DOCTYPE html>", "list of candles")) is Refused
    error = of_another_kind(KLINES, b"[[1,", "list of candles")
    assert type(error) is Failed and str(error) == f"{KLINES}: no list of candles: [[1,"


@pytest.mark.parametrize(
    ("status", "what"),
    [(401, "login"), (403, "refuses this"), (404, "correct"), (429, "too many"), (451, "country")],
)
def test_a_refused_websocket_says_what_to_do(status: int, what: str) -> None:
    assert handshake_refusal(status).startswith(f"HTTP {status}, ") and what in handshake_refusal(status)
    assert handshake_refusal(503) == "HTTP 503"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(111, "Connect call failed ('127.0.0.1', 9)"), "Connection refused"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9), [Errno 111] Connect call failed"
            ),
            "Connection refused",
        ),
        (TimeoutError(), "no answer in time"),
        (ImportError("a SOCKS proxy requires\npython-socks"), "a SOCKS proxy requires python-socks"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_cause_is_told_in_a_few_words(error: Exception, words: str) -> None:
    assert reason(error) == words
