"""An average price lies within its bar, whatever rounding does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.bars import BarBuilder
from operators.columns import Trades
from operators.vwap import vwap

PRICES = st.floats(1e-12, 1e9)
QUANTITIES = st.floats(1e-9, 1e15)


def test_it_is_the_average_weighted_by_volume() -> None:
    low, high = np.array([1.0, 1.0]), np.array([3.0, 3.0])
    np.testing.assert_array_equal(vwap(np.array([5.0, 9.0]), np.array([2.0, 4.0]), low, high), [2.5, 2.25])


def test_prices_of_a_small_coin_stay_within_their_bar() -> None:
    price = np.arange(1_193, 1_293) * 1e-8
    qty = np.full(len(price), 123_456_789_012.0)
    assert (price * qty / qty != price).any()  # or this shows nothing
    np.testing.assert_array_equal(vwap(price * qty, qty, price, price), price)


@settings(deadline=None)  # the first example compiles a kernel
@given(st.lists(st.tuples(PRICES, QUANTITIES), min_size=1, max_size=30))
def test_of_any_trades_it_lies_within_the_bar_that_they_make(trades: list[tuple[float, float]]) -> None:
    price, qty = (np.array(column) for column in zip(*trades, strict=True))
    n, one = len(price), np.ones(len(price), np.int64)
    ts, end = np.sort(np.arange(n) * 150_000), np.array([n * 150_000 + 1_000_000])
    no = np.zeros(n, np.bool_)
    bars = BarBuilder.of(1, (1_000_000, 5_000_000)).update(
        Trades(np.zeros(n, np.int32), ts, ts, price, qty, no, one, no, end)
    )
    average = vwap(bars.quote_volume, bars.volume, bars.low, bars.high)
    traded = bars.volume > 0
    assert traded.any()
    assert ((bars.low <= average) & (average <= bars.high))[traded].all()
    assert np.isnan(average[~traded]).all()


@given(PRICES, st.floats(1.0, 1.5), QUANTITIES, st.floats(-1e-3, 1e-3))
def test_a_quote_volume_that_the_exchange_rounded_does_not_take_it_out_of_its_candle(
    low: float, ratio: float, volume: float, off: float
) -> None:
    high = low * ratio
    (average,) = vwap(*(np.array([number]) for number in (high * volume * (1.0 + off), volume, low, high)))
    assert low <= average <= high


@pytest.mark.parametrize(
    ("quote_volume", "volume"), [(0.0, 0.0), (np.inf, 1.0), (np.inf, np.inf), (1.0, np.inf), (np.nan, 1.0)]
)
def test_without_volume_or_beyond_a_double_it_is_undefined(quote_volume: float, volume: float) -> None:
    assert np.isnan(vwap(np.array([quote_volume]), np.array([volume]), np.ones(1), np.ones(1))).all()
