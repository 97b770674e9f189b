"""The fingerprint changes with what the operators' state depends on, and with nothing else."""

import json

import pytest

from flows.settings.fingerprint import differences, settings_fingerprint
from flows.settings.model import stale_after
from tests.flows.settings.examples import EXAMPLE, SHORTEST, of


def test_when_a_leg_is_stale_is_in_the_fingerprint_and_never_before_three_bars() -> None:
    short, long = of(SHORTEST), of(SHORTEST + "source: {stale: 5m}")
    assert [stale_after(short, word) for word in ("1s", "30s", "1m", "5m")] == [60, 3, 3, 3]
    assert [stale_after(long, word) for word in ("1s", "1m", "5m")] == [300, 5, 3]
    assert differences(settings_fingerprint(short), settings_fingerprint(long)) == [
        "source.stale: was 60s, is 300s"
    ]


def test_a_fingerprint_survives_json() -> None:
    fingerprint = settings_fingerprint(of(EXAMPLE))
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert differences(json.loads(json.dumps(fingerprint)), fingerprint) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("hedge: {method: ols, window: {1s: 1800, 1m: 1440}}", "hedge: {window: {1s: 1800, 1m: 720}}",
         ["pairs[BTCUSDT-ETHUSDT].hedge.window.1m: was 1440, is 720", "pairs[BNBUSDT-SOLUSDT].hedge.window.1m: was 1440, is 720"]),
        ("stream: trade ", "stream: aggTrade ", ["source.stream: was trade, is aggTrade"]),
        ("stream: trade ", "ids: sparse ", ["source.ids: was contiguous, is sparse"]),
        ("wss://data-stream.binance.vision", "ws://127.0.0.1:9", ["source.ws_url: was wss://data-stream.binance.vision, is ws://127.0.0.1:9"]),
        ("symbols: [BNBUSDT, SOLUSDT]", "symbols: [BNBUSDT, XRPUSDT]",
         ["symbols: now with XRPUSDT", "alerts[volume · XRPUSDT · 1m]: was added"]),
        ("  - [BTCUSDT, ETHUSDT]\n", "  - [ETHUSDT, BTCUSDT]\n",
         ["pairs[BTCUSDT-ETHUSDT]: was removed", "pairs[ETHUSDT-BTCUSDT]: was added"]
         + [f"alerts[{rule} · BTCUSDT-ETHUSDT · 1m]: was removed" for rule in ("z high", "z extreme low", "breakdown")]
         + [f"alerts[{rule} · ETHUSDT-BTCUSDT · 1m]: was added" for rule in ("z high", "z extreme low", "breakdown")]),
        ("10s, 30s", "15s, 30s", ["bars.timeframes: now without 10s and with 15s"]),
        ("above: 5,", "above: 6,", [f"alerts[volume · {symbol} · 1m].{level}: was 5.0, is 6.0"
                                    for symbol in ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT") for level in ("above", "exit")]),
        ("  - [BTCUSDT, ETHUSDT]\n  - {legs: [BNBUSDT, SOLUSDT], hedge: {method: [ols]}}", "  - [BNBUSDT, SOLUSDT]\n  - [BTCUSDT, ETHUSDT]",
         ["pairs in order: the order is another", "alerts in order: the order is another"]),
        ("fee_bps: 10", "fee_bps: 7", []),
        ("quiet: 3s", "quiet: 5s", []),
        ("http_port: 9000", "http_port: 9001", []),
        ("priority: low", "priority: high", []),
    ],
)  # fmt: skip
def test_a_change_that_the_state_depends_on_is_named_and_no_other(
    old: str, new: str, found: list[str]
) -> None:
    assert old in EXAMPLE
    before, after = settings_fingerprint(of(EXAMPLE)), settings_fingerprint(of(EXAMPLE.replace(old, new)))
    assert differences(before, after) == found
    assert (before == after) == (not found)
