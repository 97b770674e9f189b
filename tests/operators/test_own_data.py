"""Data as users have it: 1 m closes of three symbols, one a stablecoin that loses its peg, with stretches
without any volume, through the measurer with every method; each window against statsmodels and scipy,
undefined where those have nothing to say, and not a word on stderr.
"""

from dataclasses import fields

import numpy as np
import pytest

from benchmarks import references
from operators.activity import Moves
from operators.columns import MINUTE_US, NEVER, Bars, Floats, Longs
from operators.measures import Measurer, PairSpec
from operators.methods import METHODS
from operators.results import Measures

BTC, ETH, USDC = range(3)
ROWS, FIRST = 700, 1_000
HEDGE, ZSCORE, CORRELATION, ADF, EVERY = 60, 30, 20, 120, 5
LOST = 450  # the row at which the peg is lost
QUIET = slice(200, 340)  # rows in which the stablecoin does not trade at all
SPECS = [
    PairSpec(y, x, True, tuple(METHODS), HEDGE, ZSCORE, CORRELATION, True, ADF, EVERY, lags, 10.0, 1.0)
    for y, x, lags in ((ETH, BTC, "aic"), (USDC, BTC, "bic"), (USDC, ETH, 1))
]


def market() -> dict[str, Floats]:
    """Columns of bars (3, ROWS), on the ticks of each symbol."""
    rng = np.random.default_rng(11)
    btc = np.log(60_000.0) + np.cumsum(rng.normal(0, 6e-4, ROWS))
    eth = np.log(2_600.0) + 0.8 * (btc - btc[0]) + np.cumsum(rng.normal(0, 3e-4, ROWS))
    usdc = np.round(rng.normal(0, 0.7, ROWS)) * 1e-4
    usdc[LOST:] = -0.12 * (1 - np.exp(-np.arange(ROWS - LOST) / 15.0)) + np.cumsum(
        rng.normal(0, 1e-3, ROWS - LOST)
    )
    usdc[QUIET] = usdc[QUIET.start - 1]
    close = np.stack((np.round(np.exp(btc), 2), np.round(np.exp(eth), 2), np.round(np.exp(usdc), 4)))
    open_ = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    volume = rng.exponential(5.0, close.shape)
    volume[USDC, QUIET] = 0.0
    volume[ETH, 500:630] = 0.0  # nothing is reported though prices move, as a broken feed does
    traded = volume > 0
    high = np.maximum(open_, close) * np.where(traded, 1.0 + rng.exponential(2e-4, close.shape), 1.0)
    low = np.minimum(open_, close) / np.where(traded, 1.0 + rng.exponential(2e-4, close.shape), 1.0)
    return {
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "buy_volume": volume * rng.random(close.shape),
    }


@pytest.fixture(scope="module")
def columns() -> dict[str, Floats]:
    return market()


@pytest.fixture(scope="module")
def measures(columns: dict[str, Floats]) -> Measures:
    symbol, row = np.tile(np.arange(3), ROWS), np.repeat(np.arange(ROWS), 3)
    of = {name: column[symbol, row] for name, column in columns.items()}
    bars = Bars(
        symbol=symbol.astype(np.int32), timeframe=np.full(len(row), MINUTE_US), ts=(FIRST + row) * MINUTE_US, **of,
        quote_volume=of["volume"] * of["close"], trades=(of["volume"] > 0).astype(np.int64), complete=row >= 0,
        watermark=np.zeros(3, np.int64),
    )  # fmt: skip
    return Measurer(3, MINUTE_US, SPECS).update(bars)


def rows_of(found: object, pair: int, method: str) -> Longs:
    """Where a pair's rows of a method are, in time order."""
    return np.flatnonzero((found.pair == pair) & (found.method == tuple(METHODS).index(method)))  # type: ignore[attr-defined]


def logs(columns: dict[str, Floats], pair: int, row: int, window: int) -> Floats:
    """(2, window) the legs' log closes up to a row; the same elements that the panel holds."""
    legs = np.log(columns["close"])[[SPECS[pair].y, SPECS[pair].x]]
    return np.ascontiguousarray(legs[:, row - window + 1 : row + 1])


def agree(found: float, expected: float, scale: float = 1.0, bound: float = 1e-9) -> bool:
    if np.isnan(found) or np.isnan(expected):
        return bool(np.isnan(found) and np.isnan(expected))
    return abs(found - expected) <= bound * max(abs(expected), scale)


SCALES = {"volatility_ratio": 0.0, "volume_ratio": 0.0, "imbalance": 1.0}  # of the columns of activity
PAIRS = pytest.mark.parametrize("pair", range(len(SPECS)))


@PAIRS
@pytest.mark.parametrize("method", METHODS)
def test_every_bar_has_a_row_of_every_method_equal_to_its_reference(
    pair: int, method: str, columns: dict[str, Floats], measures: Measures
) -> None:
    signals, compared = measures.signals, 0
    of = rows_of(signals, pair, method)
    assert (signals.ts[of] // MINUTE_US - FIRST).tolist() == list(range(ROWS))
    kalman = (
        dict(references.kalman(*logs(columns, pair, ROWS - 1, ROWS), HEDGE)) if method == "kalman" else {}
    )
    for row, k in enumerate(of.tolist()):
        found = signals.hedge_ratio[k], signals.intercept[k], signals.r2[k], signals.hedge_ratio_se[k]
        if row < HEDGE - 1:
            assert np.isnan([*found, signals.zscore[k], signals.edge_bps[k]]).all()
            continue
        y, x = logs(columns, pair, row, HEDGE)
        expected: tuple[float, ...] | None
        if method == "kalman":
            expected = kalman.get(row, (np.nan,) * 5)
            assert agree(signals.innovation_z[k], expected[4])
        else:
            expected = getattr(references, method)(y, x)
            assert np.isnan(signals.innovation_z[k])
        # more than half of the rows on one line: Huber's scale is 0, and statsmodels' answer noise
        if expected is not None:
            of_slope, level = (
                float(np.std(y) / np.std(x)),
                float(np.abs(y).max() + np.abs(expected[0] * x).max()),
            )
            # a standard error that is on its way to 0 with Huber's scale is made of the last digits of
            # residuals
            scales = of_slope, level, max(1.0, 1.0 - expected[2]), 1e-4 * of_slope
            expected = (*expected, np.nan)[:4]  # some methods have no standard error
            for number, reference, scale in zip(found, expected, scales, strict=True):
                assert agree(number, reference, scale), (row, number, reference)
            compared += 1
        z = signals.zscore[k]
        if np.isnan(found[0]):
            assert np.isnan([z, signals.spread[k], signals.deviation[k], signals.edge_bps[k]]).all()
        else:
            ys, xs = y[-ZSCORE:], x[-ZSCORE:]
            spread, mean, std, deviation, expected_z = references.zscore(ys, xs, found[0])
            level = float(np.abs(ys).max() + np.abs(found[0] * xs).max())
            if not (np.isnan(std) or std < 1e-13 * level):
                assert agree(z, expected_z) and agree(signals.spread_std[k], std, level, 1e-13)
            assert agree(signals.spread[k], spread, level) and agree(signals.spread_mean[k], mean, level)
            assert agree(signals.deviation[k], deviation, level, 1e-13)
            assert agree(
                signals.edge_bps[k], abs(deviation) * 1e4 - 22.0 * (1.0 + abs(found[0])), 1e4 * level, 1e-12
            )
        legs = logs(columns, pair, row, CORRELATION + 1)
        assert agree(signals.correlation[k], references.correlation(legs[0], legs[1], True))
    assert compared > 400


@PAIRS
def test_every_test_equals_statsmodels_and_is_undefined_where_a_leg_stands_still(
    pair: int, columns: dict[str, Floats], measures: Measures
) -> None:
    tests, signals, spec = measures.tests, measures.signals, SPECS[pair]
    pvalues: list[float] = []
    for k in rows_of(tests, pair, "ols").tolist():
        row = int(tests.ts[k] // MINUTE_US - FIRST)
        assert (FIRST + row) % EVERY == 0
        found = {column.name: getattr(tests, column.name)[k] for column in fields(tests)}
        if row < ADF - 1:
            assert (
                np.isnan([found["adf_stat"], found["coint_pvalue"], found["johansen_trace"]]).all()
                and found["adf_lags"] == NEVER
            )
            continue
        y, x = logs(columns, pair, row, ADF)
        (slope,) = signals.hedge_ratio[
            (signals.pair == pair) & (signals.method == 0) & (signals.ts == tests.ts[k])
        ]
        if np.isnan(slope):
            assert np.isnan(
                [found["adf_stat"], found["adf_pvalue"], found["half_life"], found["variance_ratio"]]
            ).all()
            assert found["adf_lags"] == NEVER
        else:
            spread = references.spread(y, x, slope)
            stat, pvalue, lags = references.adf(spread, spec.adf_lags)
            assert (
                agree(found["adf_stat"], stat, bound=1e-8)
                and agree(found["adf_pvalue"], pvalue, bound=1e-8)
                and found["adf_lags"] == lags
            )
            assert agree(found["half_life"], references.half_life(spread), bound=1e-8)
            assert agree(found["variance_ratio"], references.variance_ratio(spread))
        coint_stat, coint_pvalue = references.engle_granger(y, x)
        assert agree(found["coint_stat"], coint_stat, bound=1e-8) and agree(
            found["coint_pvalue"], coint_pvalue, bound=1e-8
        )
        assert agree(found["coint_pvalue_reversed"], references.engle_granger(x, y)[1], bound=1e-8)
        trace, max_eig = references.johansen(y, x)
        assert agree(found["johansen_trace"], trace, bound=1e-8) and agree(
            found["johansen_max_eig"], max_eig, bound=1e-8
        )
        assert agree(found["shin_stat"], references.shin(y, x), bound=1e-8)
        pvalues.append(coint_pvalue)
        share, stationary, broken = list(references.coint_share(pvalues))[-1]
        assert (
            agree(found["coint_share"], share)
            and found["stationary"] == stationary
            and agree(found["broken"], broken)
        )


def test_every_bar_has_its_activity_and_none_of_what_it_cannot_have(
    columns: dict[str, Floats], measures: Measures
) -> None:
    found = measures.activity
    names = ("open", "high", "low", "close", "volume", "buy_volume")
    without = 0
    for symbol in range(3):
        of = np.flatnonzero(found.symbol == symbol)
        assert (found.ts[of] // MINUTE_US - FIRST).tolist() == list(range(ROWS))
        for row in range(120, ROWS):
            expected = references.activity(*(columns[name][symbol, row - 120 : row + 1] for name in names))
            k = of[row]
            for name in Moves._fields:
                assert agree(getattr(found, name)[k], expected[name], SCALES.get(name, 1e-6)), name
            without += int(np.isnan(found.imbalance[k]))
    assert without > 200  # twenty bars without any volume have no imbalance


def test_nothing_is_infinite_anywhere(measures: Measures) -> None:
    for table in (measures.signals, measures.tests, measures.activity):
        for column in fields(table):
            assert not np.isinf(getattr(table, column.name)).any(), column.name


def test_the_stretch_without_trades_and_the_lost_peg_are_in_what_was_compared(
    columns: dict[str, Floats], measures: Measures
) -> None:
    signals = measures.signals
    of = rows_of(signals, 1, "ols")
    still = slice(QUIET.start + HEDGE, QUIET.stop)
    assert (
        np.isnan(signals.hedge_ratio[of][still]).all()
        and np.isfinite(signals.hedge_ratio[of][QUIET.stop + 1 :]).all()
    )
    assert columns["close"][USDC, LOST + 60] < 0.95
    assert np.abs(signals.zscore[of][LOST : LOST + 5]).max() > 3.0  # the break is seen at once
