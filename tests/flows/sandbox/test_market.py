import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.stattools import coint

from flows.feed.frames import COLUMNS, Frames, join
from flows.sandbox.market import DEFAULT_SYMBOLS, Market, record
from flows.venues.binance.messages import decode
from operators.columns import SECOND_US

START_US = 1_763_800_000_000_000
HOUR = 3600


def same(a: Frames, b: Frames) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


@pytest.fixture(scope="module")
def hour() -> Frames:
    return Market(11, ("BTCUSDT", "ETHUSDT"), START_US).generate(START_US + HOUR * SECOND_US)


def closes(trades: Frames, code: int, seconds: int) -> np.ndarray:
    mine = trades.rows(trades.symbol == code)
    at = np.searchsorted(mine.ts, START_US + np.arange(1, seconds + 1) * SECOND_US) - 1
    return np.log(mine.price[np.maximum(at, 0)])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 7 * SECOND_US), min_size=1, max_size=6), st.integers(0, 2**64))
def test_the_chunks_that_are_asked_for_do_not_matter(steps_us: list[int], seed: int) -> None:
    whole = Market(seed, start_us=START_US).generate(START_US + sum(steps_us))
    market, parts, to_us = Market(seed, start_us=START_US), [], START_US
    for step_us in steps_us:
        to_us += step_us
        parts.append(market.generate(to_us))
        assert not len(parts[-1]) or parts[-1].ts[-1] < to_us
    assert same(whole, join(parts, len(DEFAULT_SYMBOLS)))


def test_the_same_seed_gives_the_same_trades_and_another_one_others() -> None:
    a, b, c = (Market(seed, start_us=START_US).generate(START_US + 5 * SECOND_US) for seed in (3, 3, 4))
    assert same(a, b) and not same(a, c)


def test_ids_are_contiguous_and_time_never_goes_back(hour: Frames) -> None:
    assert (np.diff(hour.ts) >= 0).all()
    assert (hour.event_ts >= hour.ts).all()
    for code in (0, 1):
        mine = hour.rows(hour.symbol == code)
        assert (np.diff(mine.id) == 1).all()
        assert mine.ts[0] >= START_US and mine.ts[-1] < START_US + HOUR * SECOND_US


def test_a_market_that_begins_later_has_greater_ids(hour: Frames) -> None:
    later = Market(11, ("BTCUSDT",), START_US + HOUR * SECOND_US).generate(START_US + (HOUR + 60) * SECOND_US)
    assert later.id[0] > hour.id[hour.symbol == 0][-1]


def test_prices_and_quantities_are_multiples_of_tick_and_step_and_above_zero(hour: Frames) -> None:
    assert (hour.price > 0).all() and (hour.qty > 0).all()
    assert np.allclose(np.round(hour.price / 0.01), hour.price / 0.01, atol=1e-6)
    btc = hour.qty[hour.symbol == 0] / 1e-5
    assert np.allclose(np.round(btc), btc, atol=1e-5)


def test_trades_come_in_bursts_with_ties_in_the_millisecond_and_lasting_sides(hour: Frames) -> None:
    for code in (0, 1):
        mine = hour.rows(hour.symbol == code)
        a_second = np.bincount((mine.ts - START_US) // SECOND_US, minlength=HOUR)
        assert 20 < a_second.mean() < 120
        assert 200 < a_second.max() < 3000
        assert a_second.var() > 5 * a_second.mean()  # a Poisson process has 1
        assert 0.4 < (np.diff(mine.ts // 1000) == 0).mean() < 0.8
        assert np.corrcoef(mine.is_buyer_maker[1:], mine.is_buyer_maker[:-1])[0, 1] > 0.3


def test_two_symbols_move_together_and_their_spread_reverts_and_now_and_then_leaves_its_band(
    hour: Frames,
) -> None:
    y, x = closes(hour, 1, HOUR), closes(hour, 0, HOUR)
    assert np.corrcoef(np.diff(y[::60]), np.diff(x[::60]))[0, 1] > 0.6
    passed = [
        coint(y[end - 1800 : end], x[end - 1800 : end], maxlag=4, autolag=None)[1] < 0.05
        for end in range(1800, HOUR + 1, 300)
    ]
    assert np.mean(passed) >= 0.5
    beyond = []
    for end in range(300, HOUR, 5):
        a, b = y[end - 300 : end], x[end - 300 : end]
        spread = a - np.cov(a, b)[0, 1] / b.var(ddof=1) * b
        beyond.append(abs(spread[-1] - spread.mean()) > 3 * spread.std(ddof=1))
    assert 0.002 < np.mean(beyond) < 0.1


def test_an_unknown_symbol_has_a_plausible_price() -> None:
    trades = Market(1, ("FOOUSDT", "BARUSDT"), START_US).generate(START_US + 60 * SECOND_US)
    for code in (0, 1):
        price = trades.price[trades.symbol == code]
        assert (
            len(price) > 100
            and (price > 0.1).all()
            and (price < 1000).all()
            and price.std() < 0.05 * price.mean()
        )


@pytest.mark.parametrize("rate", [5.0, 200.0])
def test_the_rate_is_about_what_was_asked_for(rate: float) -> None:
    trades = Market(2, ("ETHUSDT",), START_US, rate).generate(START_US + 300 * SECOND_US)
    assert 0.3 * rate < len(trades) / 300 < 4 * rate
    with pytest.raises(ValueError, match="rate"):
        Market(2, rate=0)


def test_a_recording_holds_the_market_s_trades_in_milliseconds_and_is_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    a, b = tmp_path / "a.ndjson.gz", tmp_path / "b.ndjson.gz"
    n = record(a, 5, DEFAULT_SYMBOLS, START_US, 20)
    record(b, 5, DEFAULT_SYMBOLS, START_US, 20)
    assert a.read_bytes() == b.read_bytes()
    codes = {symbol: code for code, symbol in enumerate(DEFAULT_SYMBOLS)}
    read = decode(gzip.decompress(a.read_bytes()).splitlines(), codes, "trade")
    market = Market(5, DEFAULT_SYMBOLS, START_US).generate(START_US + 20 * SECOND_US)
    assert len(read) == n == len(market)
    for name in ("symbol", "id", "price", "qty", "is_buyer_maker"):
        assert np.array_equal(getattr(read, name), getattr(market, name))
    assert np.array_equal(read.ts, market.ts // 1000 * 1000)
