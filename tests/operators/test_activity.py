"""Activity: by hand, against numpy on every window, and by its invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.activity import activity
from operators.columns import Floats, Longs

BAD_TICK = 1e9


def columns_of(closes: Floats, volumes: Floats, ends: Longs | None = None) -> Floats:
    """(4, ends) of the one symbol, at every column or at `ends`."""
    ends = np.arange(1, len(closes) + 1) if ends is None else ends
    nothing = np.full((1, len(closes)), np.nan)
    return np.stack(activity(closes[None], volumes[None], nothing, nothing, np.zeros(len(ends), np.int64), ends)[:4])


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


# by hand


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
    assert np.isnan(ratio[170:251]).all()  # from 120 empty bars on, up to the first trade: x/0 is no more defined than 0/0
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
    assert np.isnan(columns[3, 200:321]).all() and np.isfinite(columns[3, 120:200]).all() and np.isfinite(columns[3, 321:]).all()
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


def test_a_bad_tick_counts_while_it_is_in_the_window_and_is_forgotten_after() -> None:
    closes, volumes = market(6, 500)
    spoilt_closes, spoilt_volumes = closes.copy(), volumes.copy()
    spoilt_closes[200], spoilt_volumes[200] = BAD_TICK, BAD_TICK
    clean, columns = columns_of(closes, volumes), columns_of(spoilt_closes, spoilt_volumes)
    assert np.array_equal(columns[:, 321:], clean[:, 321:])
    for end in range(201, 322):
        assert columns[:, end - 1] == pytest.approx(by_definition(spoilt_closes[:end], spoilt_volumes[:end]), rel=1e-9)


# properties


@given(seed=st.integers(0, 2**32 - 1), price=st.floats(1e-6, 1e3), size=st.floats(1e-6, 1e6))
def test_the_units_of_price_and_volume_do_not_matter(seed: int, price: float, size: float) -> None:
    closes, volumes = market(seed, 130)
    moved = columns_of(price * closes, size * volumes)
    assert moved == pytest.approx(columns_of(closes, volumes), rel=1e-6, abs=1e-14, nan_ok=True)


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 200), begin=st.integers(0, 70))
def test_batches_and_starts_agree_bit_for_bit(seed: int, cut: int, begin: int) -> None:
    closes, volumes = market(seed, 200)
    whole = columns_of(closes, volumes)
    ends = np.arange(1, 201)
    halves = np.concatenate([columns_of(closes, volumes, ends[:cut]), columns_of(closes, volumes, ends[cut:])], axis=1)
    assert np.array_equal(whole, halves, equal_nan=True)
    assert np.array_equal(whole[:, begin + 120 :], columns_of(closes[begin:], volumes[begin:])[:, 120:])
