"""Measures of a timeframe: by hand, each row against a fresh fit on its windows and statsmodels, and however
the bars are cut.
"""

import itertools
import pickle
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.stattools import adfuller, coint
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from operators.adf import adf
from operators.coint_share import PASSED_PVALUE, STATIONARY_SHARE, TESTS
from operators.cointegration import engle_granger
from operators.columns import LIVE, SECOND_US, WARM, WARMING, Bars, Flags, Floats
from operators.half_life import half_life
from operators.johansen import johansen
from operators.kalman import HedgeKalman
from operators.measures import REWIND, Measurer, PairSpec
from operators.methods import METHODS, OLS
from operators.results import Measures
from operators.shin import shin
from operators.spread import spread_series
from operators.variance_ratio import variance_ratio
from operators.zscore import spread_zscore

SYMBOLS, ROWS = 3, 160
STEP = 5 * SECOND_US
FIRST = 1_000  # bar index of the first bar
PAIR = PairSpec(
    y=0, x=1, log_prices=True, methods=(OLS,), hedge=20, zscore=12, correlation=8, correlation_of_returns=True, adf=40, adf_every=4,
    adf_lags="aic", fee_bps=10.0, slippage_bps=1.0,
)  # fmt: skip
RAW = replace(PAIR, y=2, log_prices=False, correlation_of_returns=False, adf_lags=1, adf_every=7)
PAIRS = [PAIR, RAW]
SIDE_BY_SIDE = replace(
    PAIR,
    methods=("kalman", "tls", OLS, *(name for name in METHODS if name not in ("kalman", "tls", OLS))),
    adf_lags="bic",
)
SEVERAL = [replace(RAW, methods=("huber", "kalman")), SIDE_BY_SIDE, PAIR]


def market(seed: int = 1) -> tuple[Floats, Flags]:
    """Closes (symbols, rows) of walks of which the first two go together, and which bars are incomplete."""
    rng = np.random.default_rng(seed)
    closes = np.exp(0.01 * rng.normal(size=(SYMBOLS, ROWS)).cumsum(axis=1) + 3)
    closes[0] = closes[1] ** 0.8 * np.exp(0.01 * rng.normal(size=ROWS))
    return closes, rng.random((SYMBOLS, ROWS)) < 0.05


def bars(
    closes: Floats,
    incomplete: Flags,
    cells: list[tuple[int, int]],
    stage: int = LIVE,
    untraded: Flags | None = None,
) -> Bars:
    """Bars of these (symbol, row), with a trade in each that is not `untraded` (symbols, rows)."""
    symbol, row = np.array(cells, np.int64).reshape(-1, 2).T
    close, n = closes[symbol, row], len(row)
    ones = np.ones(n, np.int64)
    trades = ones if untraded is None else (~untraded[symbol, row]).astype(np.int64)
    return Bars(
        symbol.astype(np.int32), ones * STEP, (FIRST + row) * STEP, close, close, close, close, 1.0 + row % 7, close, trades, close,
        ~incomplete[symbol, row], np.zeros(SYMBOLS, np.int64), stage,
    )  # fmt: skip


def everything(rows: int = ROWS, symbols: int = SYMBOLS) -> list[tuple[int, int]]:
    return [(symbol, row) for row in range(rows) for symbol in range(symbols)]


def whole(seed: int = 1, pairs: list[PairSpec] = PAIRS) -> Measures:
    return Measurer(SYMBOLS, STEP, pairs).update(bars(*market(seed), everything()))


Rows = dict[tuple[str, ...], tuple[object, ...]]


def rows(measures: Measures) -> Rows:
    """Rows by table, subject and time, NaN as text: it is not equal to itself."""
    found: Rows = {}
    for table in ("signals", "tests", "activity"):
        columns = getattr(measures, table)
        for row in zip(*(getattr(columns, column.name).tolist() for column in fields(columns)), strict=True):
            key = (table, *map(str, row[: 2 if table == "activity" else 3]))
            assert key not in found, "a row twice"
            found[key] = tuple(map(repr, row))
    return found


# by hand


def test_a_pair_has_a_row_when_both_legs_have_the_bar_and_no_other_symbol_is_waited_for() -> None:
    measurer = Measurer(SYMBOLS, STEP, [PAIR])
    closes, incomplete = market()
    assert len(measurer.update(bars(closes, incomplete, [(0, 0), (0, 1), (0, 2)])).signals.ts) == 0
    assert (
        measurer.update(bars(closes, incomplete, [(1, 1), (1, 2)])).signals.ts // STEP - FIRST
    ).tolist() == [1, 2]
    assert (
        measurer.update(bars(closes, incomplete, [(0, 3), (1, 3)])).signals.ts // STEP - FIRST
    ).tolist() == [3]


def test_every_bar_has_a_row_of_activity() -> None:
    activity = whole().activity
    assert sorted(
        zip(activity.symbol.tolist(), (activity.ts // STEP - FIRST).tolist(), strict=True)
    ) == sorted(everything())


def test_tests_come_where_the_bar_index_is_a_multiple_and_are_undefined_until_the_window_is_full() -> None:
    tests = whole().tests
    for number, pair in enumerate(PAIRS):
        of = tests.pair == number
        index = tests.ts[of] // STEP
        assert index.tolist() == [i for i in range(FIRST, FIRST + ROWS) if i % pair.adf_every == 0]
        full = index >= FIRST + pair.adf - 1
        for name in ("adf_stat", "adf_pvalue", "coint_stat", "coint_pvalue"):
            assert np.isfinite(getattr(tests, name)[of]).tolist() == full.tolist()
        assert (tests.adf_lags[of] >= 0).tolist() == full.tolist()


def test_stages_pass_through() -> None:
    for stage in (WARMING, WARM, LIVE):
        assert Measurer(SYMBOLS, STEP, PAIRS).update(bars(*market(), [(0, 0)], stage)).bars.stage == stage


def test_nothing_is_measured_on_bars_that_only_fill_windows() -> None:
    closes, incomplete = market()
    split = 100
    measurer = Measurer(SYMBOLS, STEP, PAIRS)
    before = measurer.update(bars(closes, incomplete, everything(split), WARMING))
    assert (len(before.bars), before.bars.stage) == (0, WARMING)
    assert [len(getattr(before, table).ts) for table in ("signals", "tests", "activity")] == [0, 0, 0]
    after = rows(measurer.update(bars(closes, incomplete, everything()[split * SYMBOLS :])))
    expected = {key: row for key, row in rows(whole()).items() if int(key[-1]) >= (FIRST + split) * STEP}
    assert after.keys() == expected.keys()
    for key, row in expected.items():
        if key[0] != "tests":  # `coint_share` counts tests, and those before were not made
            assert after[key] == row


def test_without_pairs_symbols_are_measured_all_the_same() -> None:
    measures = Measurer(SYMBOLS, STEP, []).update(bars(*market(), everything(3)))
    assert (len(measures.signals.ts), len(measures.tests.ts), len(measures.activity.ts)) == (0, 0, 9)


def test_a_resumed_measurer_takes_the_costs_of_today() -> None:
    closes, incomplete = market()
    before, after = everything(ROWS - 1), [(symbol, ROWS - 1) for symbol in range(SYMBOLS)]
    dear = Measurer(SYMBOLS, STEP, [replace(pair, fee_bps=50.0) for pair in PAIRS])
    cheap = Measurer(SYMBOLS, STEP, PAIRS)
    cheap.update(bars(closes, incomplete, before))
    dear.resume(pickle.loads(pickle.dumps(cheap)))
    ours, theirs = (measurer.update(bars(closes, incomplete, after)).signals for measurer in (dear, cheap))
    assert (ours.edge_bps < theirs.edge_bps).all() and ours.zscore.tolist() == theirs.zscore.tolist()


# against a reference


def share(incomplete: Flags, pair: PairSpec, row: int, window: int) -> float:
    return float((incomplete[pair.y] | incomplete[pair.x])[max(row - window + 1, 0) : row + 1].sum()) / window


@pytest.mark.parametrize("number", [0, 1])
def test_signals_equal_a_fresh_fit_on_every_window(number: int) -> None:
    pair, signals = PAIRS[number], whole().signals
    closes, incomplete = market()
    f = np.log(closes) if pair.log_prices else closes
    of = np.flatnonzero(signals.pair == number)
    assert (signals.ts[of] // STEP - FIRST).tolist() == list(range(ROWS))
    for row, k in enumerate(of.tolist()):
        windows = (pair.hedge, pair.zscore, pair.correlation + pair.correlation_of_returns)
        assert signals.incomplete[k] == max(share(incomplete, pair, row, window) for window in windows)
        assert signals.newest_incomplete[k] == (incomplete[pair.y, row] or incomplete[pair.x, row])
        if row >= pair.hedge - 1:
            ys, xs = (f[leg, row - pair.hedge + 1 : row + 1] for leg in (pair.y, pair.x))
            slope, constant = np.polyfit(xs, ys, 1)
            assert (signals.hedge_ratio[k], signals.intercept[k]) == (
                pytest.approx(slope, rel=1e-9),
                pytest.approx(constant, rel=1e-9),
            )
            assert signals.r2[k] == pytest.approx(np.corrcoef(ys, xs)[0, 1] ** 2, rel=1e-9)
            assert signals.hedge_ratio_se[k] == pytest.approx(
                sm.OLS(ys, sm.add_constant(xs)).fit().bse[1], rel=1e-7
            )
            assert np.isnan(signals.innovation_z[k])  # a filter's
            spread = (ys - slope * xs)[-pair.zscore :]
            deviation = spread[-1] - spread.mean()
            assert signals.deviation[k] == pytest.approx(deviation, rel=1e-7, abs=1e-12)
            assert signals.zscore[k] == pytest.approx(deviation / spread.std(ddof=1), rel=1e-7, abs=1e-9)
        else:
            assert np.isnan(
                [signals.hedge_ratio[k], signals.zscore[k], signals.edge_bps[k], signals.hedge_ratio_se[k]]
            ).all()
        if row >= pair.correlation:
            series = [
                f[leg, row - pair.correlation + 1 - pair.correlation_of_returns : row + 1]
                for leg in (pair.y, pair.x)
            ]
            a, b = (np.diff(s) if pair.correlation_of_returns else s for s in series)
            assert signals.correlation[k] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-7)


@pytest.mark.parametrize("number", [0, 1])
def test_tests_equal_statsmodels_and_the_share_is_counted_over_them(number: int) -> None:
    pair, measures = PAIRS[number], whole()
    tests, (closes, incomplete) = measures.tests, market()
    f = np.log(closes) if pair.log_prices else closes
    of, passed, shares = np.flatnonzero(tests.pair == number), [], []
    for k in of.tolist():
        row = int(tests.ts[k] // STEP - FIRST)
        assert tests.incomplete[k] == share(incomplete, pair, row, pair.adf)
        if row < pair.adf - 1:
            continue
        ys, xs = (f[leg, row - pair.adf + 1 : row + 1] for leg in (pair.y, pair.x))
        (slope,) = measures.signals.hedge_ratio[
            (measures.signals.pair == number) & (measures.signals.ts == tests.ts[k])
        ]
        spread = ys - slope * xs
        fixed = (
            {"maxlag": pair.adf_lags, "autolag": None}
            if isinstance(pair.adf_lags, int)
            else {"autolag": "aic"}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stat, pvalue, lags = adfuller(spread - spread.mean(), regression="c", **fixed)[:3]
            coint_stat, coint_pvalue, _ = coint(ys - ys.mean(), xs - xs.mean(), trend="c", autolag="aic")
            reversed_pvalue = coint(xs - xs.mean(), ys - ys.mean(), trend="c", autolag="aic")[1]
            both = coint_johansen(np.stack((ys - ys[0], xs - xs[0]), axis=1), 0, 1)
        assert (tests.adf_stat[k], tests.adf_pvalue[k]) == (
            pytest.approx(stat, rel=1e-7),
            pytest.approx(pvalue, rel=1e-6, abs=1e-12),
        )
        assert tests.adf_lags[k] == lags
        assert (tests.coint_stat[k], tests.coint_pvalue[k]) == (
            pytest.approx(coint_stat, rel=1e-7),
            pytest.approx(coint_pvalue, rel=1e-6),
        )
        assert tests.coint_pvalue_reversed[k] == pytest.approx(reversed_pvalue, rel=1e-6)
        assert tests.coint_pvalue_reversed[k] == engle_granger(xs, ys)[1]
        assert (tests.johansen_trace[k], tests.johansen_max_eig[k]) == (
            pytest.approx(both.lr1[0], rel=1e-6),
            pytest.approx(both.lr2[0], rel=1e-6),
        )
        assert (tests.johansen_trace[k], tests.johansen_max_eig[k]) == johansen(ys, xs)
        assert (tests.shin_stat[k], tests.variance_ratio[k]) == (
            shin(ys, xs),
            pytest.approx(variance_ratio(spread), rel=1e-6, nan_ok=True),
        )
        assert tests.half_life[k] == pytest.approx(half_life(spread), rel=1e-6, nan_ok=True)
        passed.append(coint_pvalue < PASSED_PVALUE)
        shares.append(np.mean(passed[-TESTS:]) if len(passed) >= TESTS else 0.0)
        failed = next((back for back, ok in enumerate(reversed(passed)) if ok), len(passed))
        assert tests.broken[k] == pytest.approx(
            failed if max(shares) >= STATIONARY_SHARE else np.nan, nan_ok=True
        )
        expected = np.mean(passed[-TESTS:]) if len(passed) >= TESTS else np.nan
        assert tests.coint_share[k] == pytest.approx(expected, nan_ok=True) and tests.stationary[k] == (
            expected >= 0.5
        )


def side_by_side(measurer: Measurer, cuts: list[int]) -> tuple[list[Measures], Floats]:
    closes, incomplete = market()
    found = []
    for start, end in itertools.pairwise([0, *cuts, ROWS]):
        found.append(measurer.update(bars(closes, incomplete, everything()[start * SYMBOLS : end * SYMBOLS])))
        measurer = pickle.loads(pickle.dumps(measurer))
    return found, np.log(closes)


@pytest.mark.parametrize("cuts", [[], [30, 31, 90]], ids=["whole", "in batches with pickles between"])
def test_each_method_of_a_pair_has_a_row_and_it_is_that_of_its_operator(cuts: list[int]) -> None:
    measures, f = side_by_side(Measurer(SYMBOLS, STEP, SEVERAL), cuts)
    signals = {
        name: np.concatenate([getattr(m.signals, name) for m in measures])
        for name in (c.name for c in fields(measures[0].signals))
    }
    full = np.arange(1, ROWS + 1)
    y, x, window = np.zeros(ROWS, np.int64), np.ones(ROWS, np.int64), np.full(ROWS, PAIR.hedge)
    defaults = {
        name: {option.name: np.full(ROWS, option.default) for option in method.options}
        for name, method in METHODS.items()
    }
    expected = {
        name: method.fit(f, y, x, full, window, **defaults[name])
        for name, method in METHODS.items()
        if not method.remembers
    }
    expected["kalman"] = HedgeKalman(1, STEP).update(f, y, y, x, full, window, (FIRST + full - 1) * STEP)
    assert set(SIDE_BY_SIDE.methods) == set(expected) == set(METHODS)
    for number, method in enumerate(SIDE_BY_SIDE.methods):
        of = (signals["pair"] == 1) & (signals["method"] == number)
        assert (signals["ts"][of] // STEP - FIRST).tolist() == list(range(ROWS))
        if method == OLS:
            alone = (signals["pair"] == 2) & (signals["method"] == 0)
            for name, column in signals.items():
                if name not in ("pair", "method"):
                    np.testing.assert_array_equal(column[of], column[alone], err_msg=name)
            continue
        for name in ("hedge_ratio", "intercept", "r2", "hedge_ratio_se", "innovation_z"):
            column = getattr(expected[method], name, np.full(ROWS, np.nan))
            np.testing.assert_array_equal(signals[name][of], column, err_msg=f"{method} {name}")
        assert np.isfinite(signals["hedge_ratio"][of][PAIR.hedge - 1 :]).all()
        z = spread_zscore(f, y, x, full, np.full(ROWS, PAIR.zscore), expected[method].hedge_ratio)
        for name, column in zip(
            ("spread", "spread_mean", "spread_std", "deviation", "zscore"), z, strict=True
        ):
            np.testing.assert_array_equal(signals[name][of], column, err_msg=f"{method} {name}")
    assert np.isfinite(
        signals["innovation_z"][(signals["pair"] == 1) & (signals["method"] == 0)][PAIR.hedge :]
    ).all()


def test_each_methods_spread_is_tested_and_cointegration_with_ols_alone() -> None:
    (measures,), f = side_by_side(Measurer(SYMBOLS, STEP, SEVERAL), [])
    tests, signals = measures.tests, measures.signals
    alone = tests.rows(tests.pair == 2)
    for number, method in enumerate(SIDE_BY_SIDE.methods):
        of = tests.rows((tests.pair == 1) & (tests.method == number))
        assert of.ts.tolist() == alone.ts.tolist()
        only_ols = (
            "coint_stat",
            "coint_pvalue",
            "coint_share",
            "coint_pvalue_reversed",
            "johansen_trace",
            "johansen_max_eig",
            "shin_stat",
        )
        for name in (*only_ols, "broken", "stationary"):
            column = getattr(of, name)
            if method == OLS:
                np.testing.assert_array_equal(column, getattr(alone, name), err_msg=name)
            else:
                assert not (column.any() if name == "stationary" else np.isfinite(column).any()), (
                    method,
                    name,
                )
        for k, ts in enumerate(of.ts.tolist()):
            end = ts // STEP - FIRST + 1
            if end < PAIR.adf:
                assert np.isnan([of.adf_stat[k], of.half_life[k], of.variance_ratio[k]]).all()
                continue
            (slope,) = signals.hedge_ratio[
                (signals.pair == 1) & (signals.method == number) & (signals.ts == ts)
            ]
            spread = spread_series(f[0, end - PAIR.adf : end], f[1, end - PAIR.adf : end], slope)
            assert (of.adf_stat[k], of.adf_pvalue[k], of.adf_lags[k]) == adf(spread, "bic")
            np.testing.assert_array_equal(
                [of.half_life[k], of.variance_ratio[k]], [half_life(spread), variance_ratio(spread)]
            )


@pytest.mark.parametrize("back", [1, 3, 60, 150])
def test_bars_that_come_again_leave_every_method_as_if_they_had_always_been_so(back: int) -> None:
    closes, incomplete = market()
    wrong = closes.copy()
    wrong[:2, ROWS - back :] *= 1.01
    measurer = Measurer(SYMBOLS, STEP, SEVERAL)
    found = rows(measurer.update(bars(wrong, incomplete, everything())))
    measurer = pickle.loads(pickle.dumps(measurer))
    found |= rows(measurer.update(bars(closes, incomplete, everything()[(ROWS - back) * SYMBOLS :])))
    assert found == rows(Measurer(SYMBOLS, STEP, SEVERAL).update(bars(closes, incomplete, everything())))


def test_a_leg_that_comes_long_after_the_other_has_no_row_that_is_undefined_and_complete() -> None:
    """A recording by symbol: the first leg's bars were forgotten when the second one's came, and rows on them
    said that they are complete.
    """
    n = 1_200
    closes = np.exp(0.01 * np.random.default_rng(3).normal(size=(SYMBOLS, n)).cumsum(axis=1))
    measurer, good = (
        Measurer(SYMBOLS, STEP, [replace(PAIR, adf_every=10_000)]),
        np.zeros((SYMBOLS, n), np.bool_),
    )
    for start in range(0, n, 100):
        measurer.update(bars(closes, good, [(0, row) for row in range(start, start + 100)]))
    signals = measurer.update(bars(closes, good, [(1, row) for row in range(n)])).signals
    undefined = np.isnan(signals.hedge_ratio)
    assert PAIR.hedge <= undefined.sum() < n and (signals.incomplete[undefined][PAIR.hedge :] > 0).all()
    assert (signals.incomplete[~undefined] == 0).all()


def test_activity_says_how_much_of_its_longest_window_is_incomplete() -> None:
    activity, (_, incomplete) = whole().activity, market()
    for symbol, ts, found in zip(
        activity.symbol.tolist(), activity.ts.tolist(), activity.incomplete.tolist(), strict=True
    ):
        row = ts // STEP - FIRST
        assert found == incomplete[symbol, max(row - 120, 0) : row + 1].sum() / 121


# properties


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([PAIRS, SEVERAL]))
def test_any_batches_with_pickles_between_give_the_rows_of_one(
    seed: int, batches: int, pairs: list[PairSpec]
) -> None:
    rng = np.random.default_rng(seed)
    closes, incomplete = market(seed % 100)
    reach = np.zeros(SYMBOLS, np.int64)
    measurer, found = Measurer(SYMBOLS, STEP, pairs), {}
    for cut in [*np.sort(rng.integers(0, ROWS, batches)).tolist(), ROWS]:
        to = np.maximum(reach, cut - rng.integers(0, 30, SYMBOLS)) if cut < ROWS else np.full(SYMBOLS, ROWS)
        cells = [(symbol, row) for symbol in range(SYMBOLS) for row in range(reach[symbol], to[symbol])]
        new = rows(measurer.update(bars(closes, incomplete, cells)))
        assert not found.keys() & new.keys(), "a row came again"
        found |= new
        reach, measurer = to, pickle.loads(pickle.dumps(measurer))
    assert found == rows(whole(seed % 100, pairs))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, ROWS - 1), max_size=4), st.integers(1, 6))
def test_a_row_is_stale_after_so_many_bars_of_a_leg_without_a_trade_whatever_the_batches(
    seed: int, cuts: list[int], after: int
) -> None:
    rng = np.random.default_rng(seed)
    untraded = np.repeat(rng.random((SYMBOLS, ROWS)) < 0.5, 4, axis=1)[:, :ROWS]  # runs of four and more
    untraded[:, 0] = False
    measurer = Measurer(SYMBOLS, STEP, [PAIR], after)
    for start, end in itertools.pairwise([0, *sorted(set(cuts)), ROWS]):
        found = measurer.update(
            bars(*market(), everything()[start * SYMBOLS : end * SYMBOLS], untraded=untraded)
        )
        measurer = pickle.loads(pickle.dumps(measurer))
        for symbol, ts, stale in zip(
            found.activity.symbol, found.activity.ts, found.activity.stale, strict=True
        ):
            row = int(ts) // STEP - FIRST
            assert stale == untraded[symbol, max(row - after, 0) : row + 1].all()
        for ts, stale in zip(found.signals.ts, found.signals.stale, strict=True):
            row = int(ts) // STEP - FIRST
            assert stale == untraded[[PAIR.y, PAIR.x], max(row - after, 0) : row + 1].all(axis=1).any()


def test_a_leg_that_stood_still_longer_than_the_windows_are_is_stale_after_a_restart_too() -> None:
    untraded = np.zeros((SYMBOLS, ROWS), np.bool_)
    untraded[0, 1:] = True
    measurer = Measurer(SYMBOLS, STEP, [PAIR], stale_after=ROWS // 2)
    for row in range(ROWS):
        signals = measurer.update(
            bars(*market(), [(symbol, row) for symbol in range(SYMBOLS)], untraded=untraded)
        ).signals
        assert signals.stale.tolist() == [row > ROWS // 2]
        measurer = pickle.loads(pickle.dumps(measurer))


def test_after_a_restart_the_oldest_bars_that_may_come_again_are_measured_as_without_one() -> None:
    """A window that is longer than what volumes are kept for."""
    length = 900
    closes = np.exp(0.01 * np.random.default_rng(5).normal(size=(SYMBOLS, length)).cumsum(axis=1) + 3)
    whole = np.zeros(closes.shape, np.bool_)
    measurer = Measurer(SYMBOLS, STEP, [replace(PAIR, hedge=800)])
    measurer.update(bars(closes, whole, everything(length)))
    resumed = pickle.loads(pickle.dumps(measurer))
    again = bars(closes * 1.01, whole, everything(length)[(length - REWIND) * SYMBOLS :])
    found = rows(resumed.update(again))
    assert found == rows(measurer.update(again))
    assert len(found) > 2 * REWIND
