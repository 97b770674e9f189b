"""The simulated market as a source of the exchange."""

import numpy as np

from flows.markets import TRADE
from flows.sandbox.background import Background, background
from flows.sandbox.options import Options
from flows.sandbox.sources import Simulation
from flows.venues.binance.messages import decode
from tests.flows.sandbox.asking import CODES, START_US, SYMBOLS, ask, hear, listen, until


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
