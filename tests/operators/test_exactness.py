"""What every operator must bear: 10⁶ updates, stretches that stand still, ticks of a billion, and the
invariances that hold across operators.

What one operator's file already holds of it alone is not repeated here.
"""

import itertools
import pickle
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import references
from operators.activity import Moves, activity
from operators.adf import adf
from operators.cointegration import engle_granger
from operators.columns import SECOND_US, Bars, Floats, Longs
from operators.correlation import rolling_correlation
from operators.half_life import half_life
from operators.hedge_ratio import rolling_ols
from operators.huber import rolling_huber
from operators.johansen import johansen
from operators.kalman import HedgeKalman
from operators.measures import Measurer, PairSpec
from operators.methods import METHODS, Method
from operators.results import Measures
from operators.shin import shin
from operators.spread import spread_series
from operators.theil_sen import rolling_theil_sen
from operators.total_least_squares import rolling_tls
from operators.variance_ratio import variance_ratio
from operators.zscore import spread_zscore
from tests.answers import kept

HUGE = 1e9
WINDOW = 60
SEEDS = st.integers(0, 2**32 - 1)
at_ease = settings(deadline=None)  # the first call of each kernel compiles it


def legs(seed: int, rows: int, sd: float = 1e-4) -> Floats:
    """Log prices of a pair far from 0."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, sd, rows))
    return np.stack([8.0 + 0.7 * x + rng.normal(0, sd, rows), 11.0 + x])


def pairwise(values: Floats, ends: Longs, window: int) -> tuple[Floats, Longs, Longs, Longs, Longs]:
    zeros = np.zeros(len(ends), np.int64)
    return values, zeros, zeros + 1, ends, zeros + window


def per_window(
    function: Callable[[Floats, Floats], tuple[float, ...] | float],
) -> Callable[[Floats, Longs, int], Floats]:
    """A test of one window as if it were a rolling operator."""

    def rolling(values: Floats, ends: Longs, window: int) -> Floats:
        return np.stack([np.atleast_1d(function(*values[:, end - window : end])) for end in ends], axis=1)

    return rolling


def of_spread(y: Floats, x: Floats) -> tuple[float, ...]:
    rows = np.array([len(y)])
    slope = rolling_ols(np.stack((y, x)), rows * 0, rows * 0 + 1, rows, rows)[0][0]
    spread = spread_series(y, x, slope)
    return *adf(spread), half_life(spread), variance_ratio(spread)


def of_symbol(values: Floats, ends: Longs, window: int) -> Floats:
    prices = np.abs(values) + 1.0
    return np.stack(activity(prices, prices, 0.4 * prices, 1e-3 * prices, ends * 0, ends))


def of_method(method: Method) -> Callable[[Floats, Longs, int], Floats]:
    def rolling(values: Floats, ends: Longs, window: int) -> Floats:
        options = {option.name: np.full(len(ends), option.default, option.kind) for option in method.options}
        return np.stack(method.fit(*pairwise(values, ends, window), **options))

    return rolling


# (values, ends, window) -> (columns, ends): what each makes of the rows of its windows alone
OPERATORS: dict[str, Callable[[Floats, Longs, int], Floats]] = {
    **{
        method.function.split(".")[1]: of_method(method)
        for method in METHODS.values()
        if not method.remembers
    },
    "spread_zscore": lambda *of: np.stack(spread_zscore(*pairwise(*of), np.full(len(of[1]), 0.7))),
    "correlation of returns": lambda *of: rolling_correlation(*pairwise(*of), True)[None],
    "correlation of prices": lambda *of: rolling_correlation(*pairwise(*of), False)[None],
    "adf, half_life, variance_ratio": per_window(of_spread),
    "engle_granger": per_window(engle_granger),
    "johansen": per_window(johansen),
    "shin": per_window(shin),
    "activity": of_symbol,
}
MOVES = [k for k, name in enumerate(Moves._fields) if name != "volatility_ratio"]  # which divides by 0
REACH = 121  # rows that the longest window of any of them looks back
EACH = pytest.mark.parametrize("name", OPERATORS)


# huge ticks and stretches that stand still


@EACH
@pytest.mark.parametrize("leg", [0, 1])
def test_a_tick_of_a_billion_that_left_the_window_leaves_no_bit_behind(name: str, leg: int) -> None:
    clean = legs(1, 400)
    spoilt = clean.copy()
    spoilt[leg, 150] = HUGE
    spoilt[leg, 153] = -HUGE
    ends = np.arange(REACH, 401)
    ours, theirs = (OPERATORS[name](values, ends, WINDOW) for values in (spoilt, clean))
    before, after = ends <= 150, ends > 153 + REACH
    for untouched in (before, after):
        assert untouched.any() and np.array_equal(ours[:, untouched], theirs[:, untouched], equal_nan=True)
    if leg == 0:
        assert not np.array_equal(ours, theirs, equal_nan=True)


@EACH
def test_a_tick_that_is_no_number_is_forgotten_too(name: str) -> None:
    clean = legs(2, 400)
    spoilt = clean.copy()
    spoilt[0, 150] = np.nan
    ends = np.arange(150 + REACH + 1, 401)
    assert np.array_equal(
        OPERATORS[name](spoilt, ends, WINDOW), OPERATORS[name](clean, ends, WINDOW), equal_nan=True
    )


@EACH
def test_legs_that_stand_still_have_no_infinity_and_are_as_before_when_they_move_again(name: str) -> None:
    clean = legs(3, 500)
    still = clean.copy()
    still[:, 150:300] = still[:, 150:151]
    ends = np.arange(REACH, 501)
    columns = OPERATORS[name](still, ends, WINDOW)
    assert not np.isinf(columns).any()
    after = ends > 300 + REACH
    assert np.array_equal(columns[:, after], OPERATORS[name](clean, ends, WINDOW)[:, after], equal_nan=True)
    within = (ends > 150 + REACH) & (ends <= 300)  # every row of the window is the same
    # lags of −1
    number = {"spread_zscore": [0, 1, 3], "activity": MOVES, "adf, half_life, variance_ratio": [2]}.get(
        name, []
    )
    for k, column in enumerate(columns):
        assert np.isfinite(column[within]).all() if k in number else np.isnan(column[within]).all()


@pytest.mark.parametrize("rows", [30, 300, 1_440, 1_800])
@pytest.mark.parametrize("level", [np.log(61_800.1), np.log(0.9998), 0.1, 2_600.37])
def test_a_leg_that_stands_still_at_any_level_is_undefined_however_long(level: float, rows: int) -> None:
    """The plain sum of n equal numbers rounds n times: its mean was not theirs, and Theil and Sen had
    variance but no slope to choose from.
    """
    flat, moving = np.full(rows, level), legs(8, rows)[1]
    ends = np.array([rows])
    for values in (np.stack((flat, moving)), np.stack((moving, flat))):
        for name in (
            "rolling_ols",
            "rolling_huber",
            "rolling_theil_sen",
            "rolling_tls",
            "engle_granger",
            "johansen",
            "shin",
        ):
            assert np.isnan(OPERATORS[name](values, ends, rows)).all(), name
        assert np.isnan(
            HedgeKalman(1, 1).update(values, ends * 0, *pairwise(values, ends, rows)[1:], ends)
        ).all()


def test_the_share_that_a_kalman_line_explains_is_undefined_where_y_stands_still() -> None:
    values = legs(9, 1_000)
    values[0, 400:] = values[0, 400]
    ends = np.arange(300, 1_001)
    slope, _, r2, *_ = HedgeKalman(1, 1).update(values, ends * 0, *pairwise(values, ends, 300)[1:], ends)
    assert np.isfinite(slope).all() and np.isfinite(r2[ends < 700]).all() and np.isnan(r2[ends >= 700]).all()


def test_a_kalman_filter_takes_a_row_that_is_no_number_for_none() -> None:
    # unlike the others it looks back beyond its window, so a tick of a billion fades with its memory: (1 −
    # 2/window) a row
    values = legs(4, 400)
    values[0, 200] = np.nan
    ends = np.arange(WINDOW, 401)
    columns = HedgeKalman(1, 1).update(values, ends * 0, *pairwise(values, ends, WINDOW)[1:], ends)
    assert (
        np.isnan(columns[4][200 - WINDOW + 1])
        and np.isfinite(columns[0]).all()
        and np.isfinite(columns[3]).all()
    )


# drift


def drifts_less_than(name: str, rows: int, bound: float) -> bool:
    """Of all windows the newest and some on the way equal those of a panel that begins with them, and their
    reference.
    """
    values = legs(5, rows, 1e-5)
    every = np.arange(WINDOW, rows + 1)
    whole = OPERATORS[name](values, every, WINDOW)
    reference = {
        "rolling_ols": references.ols,
        "rolling_tls": references.tls,
        "rolling_theil_sen": references.theil_sen,
    }.get(name)
    for k in np.unique(
        np.concatenate(
            [np.arange(len(every) - 20, len(every)), np.linspace(0, len(every) - 1, 20).astype(np.int64)]
        )
    ):
        y, x = values[:, every[k] - WINDOW : every[k]]
        alone = OPERATORS[name](np.stack((y, x)), np.array([WINDOW]), WINDOW)
        if not np.array_equal(alone[:, 0], whole[:, k], equal_nan=True):
            return False
        expected = np.array(reference(y, x) if reference else references.huber(y, x))
        if (np.abs(whole[:, k] - expected) > bound * np.maximum(np.abs(expected), 1.0)).any():
            return False
    return True


METHODS_OF_A_WINDOW = pytest.mark.parametrize(
    "name", ["rolling_ols", "rolling_huber", "rolling_theil_sen", "rolling_tls"]
)


@METHODS_OF_A_WINDOW
def test_a_hundred_thousand_windows_do_not_drift(name: str) -> None:
    assert drifts_less_than(name, 100_000, 1e-9)


@pytest.mark.long
@METHODS_OF_A_WINDOW
def test_a_million_windows_do_not_drift(name: str) -> None:
    assert drifts_less_than(name, 1_000_000, 1e-9)


def kalman_drifts_less_than(rows: int, bound: float) -> bool:
    """One long update, cut into batches, against the textbook's recursion in extended precision over all of
    it.
    """
    values = legs(6, rows)
    kalman, ends = HedgeKalman(1, 1), np.arange(WINDOW, rows + 1)
    parts = [
        kalman.update(values, of * 0, *pairwise(values, of, WINDOW)[1:], of)
        for of in np.array_split(ends, 50)
    ]
    slope, _, _, error, innovation = (np.concatenate(column) for column in zip(*parts, strict=True))
    for t, expected in references.kalman(*values, WINDOW):
        k = t + 1 - WINDOW
        found, known = (
            np.array([slope[k], error[k], innovation[k]]),
            np.array([expected[0], expected[3], expected[4]]),
        )
        if (np.abs(found - known) > bound * np.maximum(np.abs(known), 1.0)).any():
            return False
    return True


def test_twenty_thousand_steps_of_a_kalman_filter_do_not_drift() -> None:
    assert kalman_drifts_less_than(20_000, 1e-9)  # the reference takes its time; 10⁶ are in test-long


@pytest.mark.long
def test_a_million_steps_of_a_kalman_filter_do_not_drift() -> None:
    assert kalman_drifts_less_than(1_000_000, 1e-9)


# the lag that is chosen


adf_reference = kept(references.adf)


def lags_agree(walks: int, criterion: str) -> bool:
    """On unrelated random walks of the lengths that windows have; test_adf.py compares statistics, here are
    the residuals of a pair.
    """
    for seed in range(walks):
        rng = np.random.default_rng(seed)
        series = np.cumsum(rng.normal(size=(40, 120, 300)[seed % 3]))
        stat, pvalue, lags = adf_reference(series, criterion)
        if adf(series, criterion) != (
            pytest.approx(stat, rel=1e-9, abs=1e-9),
            pytest.approx(pvalue, rel=1e-8, abs=1e-8),
            lags,
        ):
            return False
    return True


@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_the_lags_of_two_hundred_walks_are_those_of_statsmodels(criterion: str) -> None:
    assert lags_agree(200, criterion)


@pytest.mark.long
@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_the_lags_of_two_thousand_walks_are_those_of_statsmodels(criterion: str) -> None:
    assert lags_agree(2_000, criterion)


# properties across operators


def hedged(values: Floats, fit: Callable[..., tuple[Floats, ...]]) -> float:
    """z of the newest row with the hedge ratio of the same window."""
    of = pairwise(values, np.array([values.shape[1]]), values.shape[1])
    return float(spread_zscore(*of, fit(*of)[0])[4][0])


@pytest.mark.parametrize("fit", [rolling_ols, rolling_huber, rolling_theil_sen])
@at_ease
@given(
    seed=SEEDS, scale_y=st.floats(0.01, 100.0), scale_x=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0)
)
def test_units_and_levels_of_each_leg_leave_the_hedged_z_alone(
    fit: Callable[..., tuple[Floats, ...]], seed: int, scale_y: float, scale_x: float, shift: float
) -> None:
    values = legs(seed, 50, 0.01)
    moved = np.stack((scale_y * values[0] + shift, scale_x * values[1] - shift))
    assert hedged(moved, fit) == pytest.approx(hedged(values, fit), rel=1e-6, abs=1e-6)


@at_ease
@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0))
def test_a_common_unit_leaves_the_z_of_total_least_squares_alone(
    seed: int, scale: float, shift: float
) -> None:
    values = legs(seed, 50, 0.01)
    assert hedged(scale * values + shift, rolling_tls) == pytest.approx(
        hedged(values, rolling_tls), rel=1e-6, abs=1e-6
    )


@at_ease
@given(seed=SEEDS, window=st.integers(3, 60))
def test_hedge_ratios_of_both_orders_multiply_to_the_squared_correlation(seed: int, window: int) -> None:
    values = legs(seed, 60)
    ends = np.arange(window, 61)
    of = pairwise(values, ends, window)
    swapped = pairwise(np.ascontiguousarray(values[::-1]), ends, window)
    (one, _, r2, _), (other, _, r2_swapped, _) = rolling_ols(*of), rolling_ols(*swapped)
    correlation = rolling_correlation(*of, False)
    assert one * other == pytest.approx(r2, rel=1e-12, abs=1e-15)
    assert r2_swapped == pytest.approx(r2, rel=1e-12, abs=1e-15)
    assert correlation**2 == pytest.approx(r2, rel=1e-12, abs=1e-15)
    assert (np.sign(correlation) == np.sign(one)).all()
    tls, tls_swapped = rolling_tls(*of)[0], rolling_tls(*swapped)[0]
    assert tls * tls_swapped == pytest.approx(np.ones(len(ends)), rel=1e-9)


# the measurer of all methods

SYMBOLS, ROWS, STEP, FIRST = 3, 130, 5 * SECOND_US, 2_000
PAIR = PairSpec(
    y=0, x=1, log_prices=True, methods=tuple(METHODS), hedge=25, zscore=15, correlation=10, correlation_of_returns=True, adf=50, adf_every=5,
    adf_lags="aic", fee_bps=10.0, slippage_bps=1.0,
)  # fmt: skip
OF_RAW = tuple(name for name, method in METHODS.items() if not method.log_prices_only)
PAIRS = [PAIR, replace(PAIR, y=2, log_prices=False, methods=OF_RAW[::-1], correlation_of_returns=False)]


def bars(seed: int, symbol: Longs, row: Longs) -> Bars:
    rng = np.random.default_rng(seed)
    closes = np.exp(0.01 * rng.normal(size=(SYMBOLS, ROWS)).cumsum(axis=1) + 3.0)
    closes[0] = closes[1] ** 0.8 * np.exp(0.01 * rng.normal(size=ROWS))
    volume, bought = rng.exponential(2.0, (SYMBOLS, ROWS)), rng.random((SYMBOLS, ROWS))
    whole = rng.random((SYMBOLS, ROWS)) > 0.05
    close, size = closes[symbol, row], volume[symbol, row]
    return Bars(
        symbol.astype(np.int32), np.full(len(row), STEP), (FIRST + row) * STEP, close * 0.999, close * 1.002, close * 0.998, close, size,
        size * close, np.ones(len(row), np.int64), size * bought[symbol, row], whole[symbol, row], np.zeros(SYMBOLS, np.int64),
    )  # fmt: skip


def rows_of(measures: Measures) -> dict[tuple[object, ...], tuple[str, ...]]:
    """Rows by table, subject, method and time, every bit of them as text."""
    found: dict[tuple[object, ...], tuple[str, ...]] = {}
    for table, keys in (("signals", 3), ("tests", 3), ("activity", 2)):
        columns = getattr(measures, table)
        for row in zip(*(getattr(columns, column.name).tolist() for column in fields(columns)), strict=True):
            assert (table, *row[:keys]) not in found, "a row twice"
            found[table, *row[:keys]] = tuple(map(repr, row))
    return found


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=8),
    random=st.randoms(use_true_random=False),
)
def test_all_methods_in_any_batches_with_pickles_between_give_the_rows_of_one(
    seed: int, cuts: list[int], random: object
) -> None:
    symbol, row = np.tile(np.arange(SYMBOLS), ROWS), np.repeat(np.arange(ROWS), SYMBOLS)
    whole = rows_of(Measurer(SYMBOLS, STEP, PAIRS).update(bars(seed, symbol, row)))
    assert len({key[2] for key in whole if key[0] == "signals" and key[1] == 0}) == len(METHODS)
    measurer, parts = Measurer(SYMBOLS, STEP, PAIRS), {}
    reach = np.zeros(SYMBOLS, np.int64)
    for cut in [*sorted(cuts), ROWS]:
        to = np.array([cut if cut == ROWS else max(done, cut - random.randint(0, 10)) for done in reach])  # type: ignore[attr-defined]
        cells = [
            (s, r) for s, (done, end) in enumerate(zip(reach, to, strict=True)) for r in range(done, end)
        ]
        of = np.array(cells, np.int64).reshape(-1, 2).T
        new = rows_of(measurer.update(bars(seed, *of)))
        assert not parts.keys() & new.keys()
        parts |= new
        reach, measurer = to, pickle.loads(pickle.dumps(measurer))
    assert parts == whole


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), scale=st.floats(0.1, 10.0))
def test_the_unit_of_money_leaves_every_z_of_log_prices_alone(seed: int, scale: float) -> None:
    symbol, row = np.tile(np.arange(SYMBOLS), ROWS), np.repeat(np.arange(ROWS), SYMBOLS)
    one = bars(seed, symbol, row)
    prices = {
        name: getattr(one, name) * np.where(symbol == 0, scale, 1.0)
        for name in ("open", "high", "low", "close")
    }
    found, moved = (
        Measurer(SYMBOLS, STEP, PAIRS[:1]).update(each).signals for each in (one, replace(one, **prices))
    )
    for name in ("zscore", "hedge_ratio", "correlation", "deviation"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name), rel=1e-6, abs=1e-6, nan_ok=True)


def test_every_operator_is_the_same_on_any_tasks_in_any_order() -> None:
    values, ends = legs(7, 400), np.arange(REACH, 401)
    order = np.random.default_rng(7).permutation(len(ends))
    for operator, (first, second) in itertools.product(OPERATORS.values(), [(ends, order)]):
        assert np.array_equal(
            operator(values, first, WINDOW)[:, second],
            operator(values, first[second], WINDOW),
            equal_nan=True,
        )
