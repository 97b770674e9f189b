"""Measures of a timeframe: by hand, each row against a fresh fit on its windows and statsmodels, and however the bars are cut."""

import pickle
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.stattools import adfuller, coint

from operators.coint_share import PASSED_PVALUE, TESTS
from operators.columns import LIVE, SECOND_US, WARM, WARMING, Bars, Flags, Floats
from operators.measures import OLS, Measurer, Measures, PairSpec

SYMBOLS, ROWS = 3, 160
STEP = 5 * SECOND_US
FIRST = 1_000  # bar index of the first bar
PAIR = PairSpec(
    y=0, x=1, log_prices=True, methods=(OLS,), hedge=20, zscore=12, correlation=8, correlation_of_returns=True, adf=40, adf_every=4,
    adf_lags="aic", fee_bps=10.0, slippage_bps=1.0,
)  # fmt: skip
RAW = replace(PAIR, y=2, log_prices=False, correlation_of_returns=False, adf_lags=1, adf_every=7)
PAIRS = [PAIR, RAW]


def market(seed: int = 1) -> tuple[Floats, Flags]:
    """Closes (symbols, rows) of walks of which the first two go together, and which bars are incomplete."""
    rng = np.random.default_rng(seed)
    closes = np.exp(0.01 * rng.normal(size=(SYMBOLS, ROWS)).cumsum(axis=1) + 3)
    closes[0] = closes[1] ** 0.8 * np.exp(0.01 * rng.normal(size=ROWS))
    return closes, rng.random((SYMBOLS, ROWS)) < 0.05


def bars(closes: Floats, incomplete: Flags, cells: list[tuple[int, int]], stage: int = LIVE) -> Bars:
    """Bars of these (symbol, row)."""
    symbol, row = np.array(cells, np.int64).reshape(-1, 2).T
    close, n = closes[symbol, row], len(row)
    ones = np.ones(n, np.int64)
    return Bars(
        symbol.astype(np.int32), ones * STEP, (FIRST + row) * STEP, close, close, close, close, 1.0 + row % 7, close, ones, close,
        ~incomplete[symbol, row], np.zeros(SYMBOLS, np.int64), stage,
    )  # fmt: skip


def everything(rows: int = ROWS, symbols: int = SYMBOLS) -> list[tuple[int, int]]:
    return [(symbol, row) for row in range(rows) for symbol in range(symbols)]


def whole(seed: int = 1) -> Measures:
    return Measurer(SYMBOLS, STEP, PAIRS).update(bars(*market(seed), everything()))


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
    assert (measurer.update(bars(closes, incomplete, [(1, 1), (1, 2)])).signals.ts // STEP - FIRST).tolist() == [1, 2]
    assert (measurer.update(bars(closes, incomplete, [(0, 3), (1, 3)])).signals.ts // STEP - FIRST).tolist() == [3]


def test_every_bar_has_a_row_of_activity() -> None:
    activity = whole().activity
    assert sorted(zip(activity.symbol.tolist(), (activity.ts // STEP - FIRST).tolist(), strict=True)) == sorted(everything())


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
            assert (signals.hedge_ratio[k], signals.intercept[k]) == (pytest.approx(slope, rel=1e-9), pytest.approx(constant, rel=1e-9))
            assert signals.r2[k] == pytest.approx(np.corrcoef(ys, xs)[0, 1] ** 2, rel=1e-9)
            spread = (ys - slope * xs)[-pair.zscore :]
            deviation = spread[-1] - spread.mean()
            assert signals.deviation[k] == pytest.approx(deviation, rel=1e-7, abs=1e-12)
            assert signals.zscore[k] == pytest.approx(deviation / spread.std(ddof=1), rel=1e-7, abs=1e-9)
        else:
            assert np.isnan([signals.hedge_ratio[k], signals.zscore[k], signals.edge_bps[k]]).all()
        if row >= pair.correlation:
            series = [f[leg, row - pair.correlation + 1 - pair.correlation_of_returns : row + 1] for leg in (pair.y, pair.x)]
            a, b = (np.diff(s) if pair.correlation_of_returns else s for s in series)
            assert signals.correlation[k] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-7)


@pytest.mark.parametrize("number", [0, 1])
def test_tests_equal_statsmodels_and_the_share_is_counted_over_them(number: int) -> None:
    pair, measures = PAIRS[number], whole()
    tests, (closes, incomplete) = measures.tests, market()
    f = np.log(closes) if pair.log_prices else closes
    of, passed = np.flatnonzero(tests.pair == number), []
    for k in of.tolist():
        row = int(tests.ts[k] // STEP - FIRST)
        assert tests.incomplete[k] == share(incomplete, pair, row, pair.adf)
        if row < pair.adf - 1:
            continue
        ys, xs = (f[leg, row - pair.adf + 1 : row + 1] for leg in (pair.y, pair.x))
        (slope,) = measures.signals.hedge_ratio[(measures.signals.pair == number) & (measures.signals.ts == tests.ts[k])]
        spread = ys - slope * xs
        fixed = {"maxlag": pair.adf_lags, "autolag": None} if isinstance(pair.adf_lags, int) else {"autolag": "aic"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stat, pvalue, lags = adfuller(spread - spread.mean(), regression="c", **fixed)[:3]
            coint_stat, coint_pvalue, _ = coint(ys - ys.mean(), xs - xs.mean(), trend="c", autolag="aic")
        assert (tests.adf_stat[k], tests.adf_pvalue[k]) == (pytest.approx(stat, rel=1e-7), pytest.approx(pvalue, rel=1e-6, abs=1e-12))
        assert tests.adf_lags[k] == lags
        assert (tests.coint_stat[k], tests.coint_pvalue[k]) == (pytest.approx(coint_stat, rel=1e-7), pytest.approx(coint_pvalue, rel=1e-6))
        passed.append(coint_pvalue < PASSED_PVALUE)
        expected = np.mean(passed[-TESTS:]) if len(passed) >= TESTS else np.nan
        assert tests.coint_share[k] == pytest.approx(expected, nan_ok=True) and tests.stationary[k] == (expected >= 0.5)


def test_activity_says_how_much_of_its_longest_window_is_incomplete() -> None:
    activity, (_, incomplete) = whole().activity, market()
    for symbol, ts, found in zip(activity.symbol.tolist(), activity.ts.tolist(), activity.incomplete.tolist(), strict=True):
        row = ts // STEP - FIRST
        assert found == incomplete[symbol, max(row - 120, 0) : row + 1].sum() / 121


# properties


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_any_batches_with_pickles_between_give_the_rows_of_one(seed: int, batches: int) -> None:
    rng = np.random.default_rng(seed)
    closes, incomplete = market(seed % 100)
    reach = np.zeros(SYMBOLS, np.int64)
    measurer, found = Measurer(SYMBOLS, STEP, PAIRS), {}
    for cut in [*np.sort(rng.integers(0, ROWS, batches)).tolist(), ROWS]:
        to = np.maximum(reach, cut - rng.integers(0, 30, SYMBOLS)) if cut < ROWS else np.full(SYMBOLS, ROWS)
        cells = [(symbol, row) for symbol in range(SYMBOLS) for row in range(reach[symbol], to[symbol])]
        new = rows(measurer.update(bars(closes, incomplete, cells)))
        assert not found.keys() & new.keys(), "a row came again"
        found |= new
        reach, measurer = to, pickle.loads(pickle.dumps(measurer))
    assert found == rows(whole(seed % 100))
