"""Activity: by hand, against numpy on every window, and by its invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.activity import SHORT_WINDOW, VOLATILITY_WINDOW, activity, range_variance
from operators.columns import Floats, Longs

BAD_TICK = 1e9


def columns_of(closes: Floats, volumes: Floats, ends: Longs | None = None) -> Floats:
    """(4, ends) of the one symbol, at every column or at `ends`."""
    ends = np.arange(1, len(closes) + 1) if ends is None else ends
    nothing = np.full((1, len(closes)), np.nan)
    return np.stack(
        activity(closes[None], volumes[None], nothing, nothing, np.zeros(len(ends), np.int64), ends)[:4]
    )


def market(seed: int, rows: int, sd: float = 1e-3) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return 61_800 * np.exp(np.cumsum(rng.normal(0, sd, rows))), rng.exponential(5.0, rows)


def by_definition(closes: Floats, volumes: Floats) -> list[float]:
    returns = np.diff(np.log(closes.astype(np.longdouble)))
    return [
        float(returns[-1]),
        float(returns[-60:].std(ddof=1)),
        float(returns[-20:].std(ddof=1) / returns[-120:].std(ddof=1)),
        float(volumes[-1] / volumes[-121:-1].astype(np.longdouble).mean()),
    ]


Prices = tuple[Floats, Floats, Floats, Floats]  # open, high, low, close


def ranges_and_flow(
    prices: Prices, volumes: Floats, buy_volumes: Floats, ends: Longs | None = None
) -> Floats:
    """(2, ends): `volatility_gk` and `imbalance`, at every column or at `ends`."""
    ends = np.arange(1, len(volumes) + 1) if ends is None else ends
    columns = (column[None] for column in (prices[3], volumes, buy_volumes, range_variance(*prices)))
    return np.stack(activity(*columns, np.zeros(len(ends), np.int64), ends)[4:6])


def candles(seed: int, rows: int) -> tuple[Prices, Floats, Floats]:
    rng = np.random.default_rng(seed)
    paths = 61_800 * np.exp(np.cumsum(rng.normal(0, 1e-4, (rows, 30)).ravel())).reshape(rows, 30)
    volumes = rng.exponential(5.0, rows)
    return (
        (paths[:, 0], paths.max(axis=1), paths.min(axis=1), paths[:, -1]),
        volumes,
        rng.random(rows) * volumes,
    )


# by hand


def test_bars_that_all_range_alike_by_hand() -> None:
    one, open_, high, low, close = np.ones(60), 100.0, 110.0, 90.0, 105.0
    prices = (open_ * one, high * one, low * one, close * one)
    volumes, bought = np.full(60, 4.0), np.full(60, 1.0)
    volumes[-20:], bought[-20:] = 8.0, 6.0
    columns = ranges_and_flow(prices, volumes, bought)
    variance = 0.5 * np.log(11 / 9) ** 2 - (2 * np.log(2) - 1) * np.log(1.05) ** 2
    assert columns[:, -1] == pytest.approx([np.sqrt(variance), 0.5], rel=1e-12)  # 120 bought, 40 sold
    assert columns[1, 19] == pytest.approx(-0.5, rel=1e-12)  # 20 bought, 60 sold
    assert columns[1, 49] == pytest.approx((70 - 50) / 120, rel=1e-12)  # ten bars of each kind


def test_ranges_wait_for_sixty_bars_and_flow_for_twenty() -> None:
    columns = ranges_and_flow(*candles(8, 100))
    assert [int(np.isnan(column).sum()) for column in columns] == [VOLATILITY_WINDOW - 1, SHORT_WINDOW - 1]
    assert np.isfinite(columns[0, 59:]).all() and np.isfinite(columns[1, 19:]).all()


def test_bars_without_a_trade_have_no_range_and_no_flow() -> None:
    prices, volumes, bought = candles(9, 200)
    volumes[50:120], bought[50:120] = 0.0, 0.0
    flat = tuple(
        np.where((np.arange(200) >= 50) & (np.arange(200) < 120), prices[3][49], column) for column in prices
    )
    columns = ranges_and_flow(flat, volumes, bought)  # type: ignore[arg-type]
    assert columns[0, 109:120].tolist() == [0.0] * 11  # a fact, not a gap
    assert (
        np.isnan(columns[1, 69:120]).all()
        and np.isfinite(columns[1, 19:69]).all()
        and np.isfinite(columns[1, 120:]).all()
    )


def test_takers_that_all_buy_are_one_and_that_all_sell_are_minus_one() -> None:
    prices, volumes, _ = candles(10, 60)
    assert ranges_and_flow(prices, volumes, volumes)[1, 19:] == pytest.approx(1.0, abs=1e-12)
    assert ranges_and_flow(prices, volumes, 0 * volumes)[1, 19:] == pytest.approx(-1.0, abs=1e-12)


def taker_ratio(volumes: Floats, bought: Floats) -> list[float]:
    """Of every bar, the first included: it needs no window."""
    one, ends = np.ones((1, len(volumes))), np.arange(1, len(volumes) + 1)
    return activity(one, volumes[None], bought[None], one, 0 * ends, ends).taker_ratio.tolist()


def test_the_taker_ratio_is_the_share_that_takers_bought_of_the_bar() -> None:
    assert taker_ratio(np.array([4.0, 8.0, 0.3, 2.0]), np.array([1.0, 0.0, 0.3, 1.5])) == [
        0.25,
        0.0,
        1.0,
        0.75,
    ]


def test_the_taker_ratio_is_undefined_without_volume_and_where_nothing_says_who_took() -> None:
    volumes, bought = (
        np.array([0.0, np.nan, 3.0, np.inf, 3.0, 1.0]),
        np.array([0.0, 1.0, np.nan, 1.0, np.inf, 0.5]),
    )
    found = taker_ratio(volumes, bought)
    assert np.isnan(found[:5]).all() and found[5] == 0.5


def test_closes_far_outside_of_their_ranges_are_undefined_and_not_imaginary() -> None:
    one = np.ones(60)
    assert np.isnan(ranges_and_flow((one, one, one, 2 * one), one, one)[0, -1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_range_or_flow_leaves_its_windows_undefined_and_no_others(bad: float) -> None:
    prices, volumes, bought = candles(11, 300)
    high = prices[1].copy()
    high[150], bought[150] = bad, bad
    columns = ranges_and_flow((prices[0], high, *prices[2:]), volumes, bought)
    for column, window in zip(columns, (VOLATILITY_WINDOW, SHORT_WINDOW), strict=True):
        assert (
            not np.isfinite(column[150 : 150 + window]).any() and np.isnan(column[150 : 150 + window]).all()
        )
        assert np.isfinite(column[window - 1 : 150]).all() and np.isfinite(column[150 + window :]).all()


def test_closes_that_double_and_halve_by_hand() -> None:
    closes = np.where(np.arange(200) % 2, 2.0, 1.0)
    volumes = np.full(200, 4.0)
    volumes[-1] = 10.0
    # n returns of ±ln 2 in equal numbers have the standard deviation ln 2 · √(n / (n − 1))
    expected = [np.log(2), np.log(2) * np.sqrt(60 / 59), np.sqrt(20 / 19) / np.sqrt(120 / 119), 2.5]
    assert columns_of(closes, volumes)[:, -1] == pytest.approx(expected, rel=1e-14)


def test_each_column_waits_for_its_own_window() -> None:
    columns = columns_of(*market(1, 200))
    assert [int(np.isnan(column).sum()) for column in columns] == [1, 60, 120, 120]
    assert all(np.isfinite(column[np.isnan(column).sum() :]).all() for column in columns)


@pytest.mark.parametrize("close", [100.0, 61_800.1])
def test_closes_that_do_not_move_have_no_volatility_and_no_ratio(close: float) -> None:
    columns = columns_of(np.full(150, close), np.full(150, 2.0))[:, -1]
    assert list(columns[:2]) == [0.0, 0.0] and np.isnan(columns[2]) and columns[3] == 1.0


def test_closes_that_grow_by_one_factor_have_no_volatility() -> None:
    columns = columns_of(100 * 1.001 ** np.arange(150.0), np.ones(150))[:, -1]
    assert columns[0] == pytest.approx(np.log(1.001)) and columns[1] == 0.0 and np.isnan(columns[2])


def test_a_symbol_that_does_not_trade_has_no_volume_ratio() -> None:
    closes, volumes = market(2, 300)
    volumes[50:250] = 0.0
    ratio = columns_of(closes, volumes)[3]
    # from 120 empty bars on, up to the first trade: x/0 is no more defined than 0/0
    assert np.isnan(ratio[170:251]).all()
    assert (ratio[130:170] == 0).all() and np.isfinite(ratio[251:]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_bad_close_leaves_its_windows_undefined_and_no_others(bad: float) -> None:
    closes, volumes = market(3, 400)
    closes[200] = bad
    columns = columns_of(closes, volumes)
    for column, returns in zip(columns, (1, 60, 120), strict=False):
        assert (
            np.isnan(column[200 : 201 + returns]).all()
            and np.isfinite(column[120:200]).all()
            and np.isfinite(column[201 + returns :]).all()
        )
    assert np.isfinite(columns[3, 120:]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_volume_leaves_its_windows_undefined_and_no_others(bad: float) -> None:
    closes, volumes = market(3, 400)
    volumes[200] = bad
    columns = columns_of(closes, volumes)
    assert (
        np.isnan(columns[3, 200:321]).all()
        and np.isfinite(columns[3, 120:200]).all()
        and np.isfinite(columns[3, 321:]).all()
    )
    assert np.isfinite(columns[:3, 120:]).all()


def test_a_bar_outside_the_columns_is_undefined() -> None:
    assert np.isnan(columns_of(*market(4, 150), np.array([-1, 0, 1, 151]))).all()


# against a reference


@pytest.mark.parametrize("sd", [1e-5, 1e-3, 0.1])
def test_every_window_equals_its_definition(sd: float) -> None:
    closes, volumes = market(5, 400, sd)
    columns = columns_of(closes, volumes)
    for end in range(121, 401):
        assert columns[:, end - 1] == pytest.approx(by_definition(closes[:end], volumes[:end]), rel=1e-9)


def test_every_window_of_ranges_and_flow_equals_its_definition() -> None:
    prices, volumes, bought = candles(12, 300)
    columns = ranges_and_flow(prices, volumes, bought)
    o, h, low, c = (np.log(column.astype(np.longdouble)) for column in prices)
    for end in range(60, 301):
        of = slice(end - 60, end)
        garman_klass = np.mean(0.5 * (h[of] - low[of]) ** 2 - (2 * np.log(2) - 1) * (c[of] - o[of]) ** 2)
        sold = volumes[end - 20 : end] - bought[end - 20 : end]
        flow = (bought[end - 20 : end] - sold).sum() / volumes[end - 20 : end].sum()
        assert columns[:, end - 1] == pytest.approx([float(np.sqrt(garman_klass)), flow], rel=1e-9, abs=1e-12)


def test_ranges_estimate_the_volatility_that_closes_do() -> None:
    # a random walk of 500 steps a bar: its range is a little less than that of a Brownian path
    rng = np.random.default_rng(13)
    paths = np.exp(np.cumsum(rng.normal(0, 1e-4, (600 * 500)))).reshape(600, 500)
    opens = np.concatenate(([1.0], paths[:-1, -1]))
    prices = (opens, np.maximum(paths.max(axis=1), opens), np.minimum(paths.min(axis=1), opens), paths[:, -1])
    found = ranges_and_flow(prices, np.ones(600), np.ones(600))[0, 59::60]
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1e-4 * np.sqrt(500), rel=0.08)


def test_a_bad_tick_counts_while_it_is_in_the_window_and_is_forgotten_after() -> None:
    closes, volumes = market(6, 500)
    spoilt_closes, spoilt_volumes = closes.copy(), volumes.copy()
    spoilt_closes[200], spoilt_volumes[200] = BAD_TICK, BAD_TICK
    clean, columns = columns_of(closes, volumes), columns_of(spoilt_closes, spoilt_volumes)
    assert np.array_equal(columns[:, 321:], clean[:, 321:])
    for end in range(201, 322):
        assert columns[:, end - 1] == pytest.approx(
            by_definition(spoilt_closes[:end], spoilt_volumes[:end]), rel=1e-9
        )


# properties


@given(seed=st.integers(0, 2**32 - 1), price=st.floats(1e-6, 1e3), size=st.floats(1e-6, 1e6))
def test_the_units_of_price_and_volume_do_not_matter(seed: int, price: float, size: float) -> None:
    closes, volumes = market(seed, 130)
    moved = columns_of(price * closes, size * volumes)
    assert moved == pytest.approx(columns_of(closes, volumes), rel=1e-6, abs=1e-14, nan_ok=True)


@given(
    seed=st.integers(0, 2**32 - 1),
    price=st.floats(1e-6, 1e3),
    size=st.floats(1e-6, 1e6),
    cut=st.integers(0, 130),
)
def test_units_and_batches_do_not_matter_to_ranges_and_flow(
    seed: int, price: float, size: float, cut: int
) -> None:
    prices, volumes, bought = candles(seed, 130)
    whole = ranges_and_flow(prices, volumes, bought)
    ends = np.arange(1, 131)
    halves = np.concatenate(
        [ranges_and_flow(prices, volumes, bought, part) for part in (ends[:cut], ends[cut:])], axis=1
    )
    assert np.array_equal(whole, halves, equal_nan=True)
    scaled = tuple(price * column for column in prices)
    assert ranges_and_flow(scaled, size * volumes, size * bought) == pytest.approx(
        whole, rel=1e-6, abs=1e-9, nan_ok=True
    )  # type: ignore[arg-type]
    assert ranges_and_flow(prices, volumes, volumes - bought)[1] == pytest.approx(
        -whole[1], abs=1e-12, nan_ok=True
    )


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 200), begin=st.integers(0, 70))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int) -> None:
    closes, volumes = market(seed, 200)
    whole = columns_of(closes, volumes)
    ends = np.arange(1, 201)
    halves = np.concatenate(
        [columns_of(closes, volumes, ends[:cut]), columns_of(closes, volumes, ends[cut:])], axis=1
    )
    assert np.array_equal(whole, halves, equal_nan=True)
    assert np.array_equal(whole[:, begin + 120 :], columns_of(closes[begin:], volumes[begin:])[:, 120:])
