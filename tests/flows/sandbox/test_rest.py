"""What REST answers."""

import json
from pathlib import Path

import pytest

from flows.feed.frames import Frames, join
from flows.markets import TRADE
from flows.sandbox.background import Background, background
from flows.venues.binance.messages import decode_rest
from tests.flows.sandbox.asking import SECONDS, START_US, ask, get, pages, same


def test_ping_time_and_exchange_info(played: Background, trades: Frames) -> None:
    assert ask(played, "/api/v3/ping") == {}
    assert ask(played, "/api/v3/time")["serverTime"] == trades.ts[-1] // 1000
    assert ask(played, "/api/v3/time", **{"X-MBX-TIME-UNIT": "MICROSECOND"})["serverTime"] == trades.ts[-1]
    info = ask(played, "/api/v3/exchangeInfo")
    assert [(s["symbol"], s["baseAsset"], s["quoteAsset"], s["status"]) for s in info["symbols"]] == [
        ("BTCUSDT", "BTC", "USDT", "TRADING"),
        ("ETHUSDT", "ETH", "USDT", "TRADING"),
    ]
    assert [
        s["symbol"] for s in ask(played, "/api/v3/exchangeInfo?symbols=%5B%22ETHUSDT%22%5D")["symbols"]
    ] == ["ETHUSDT"]


def test_historical_trades_are_paged_by_inclusive_ids(played: Background, trades: Frames) -> None:
    mine = trades.rows(trades.symbol == 0)
    bodies = [
        get(played, f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={page}")[1]
        for page in pages(mine.id)
    ]
    found = join([decode_rest(body, 0, TRADE) for body in bodies], 1)
    assert same(found, mine, ("id", "ts", "price", "qty", "is_buyer_maker"))
    assert [t["id"] for t in ask(played, "/api/v3/historicalTrades?symbol=BTCUSDT&limit=3")] == mine.id[
        -3:
    ].tolist()
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
            assert [float(x) for x in k[1:5]] == [
                inside.price[0],
                inside.price.max(),
                inside.price.min(),
                inside.price[-1],
            ]
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
