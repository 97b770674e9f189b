"""Trades that come behind the watermark: after them, every row is what it would have been had they come in
time.
"""

import pickle
from dataclasses import dataclass, field, fields
from math import isnan

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.bars import BarBuilder
from operators.columns import NEVER, SECOND_US, Bars, Floats, Longs, Trades
from operators.measures import REWIND, Measurer, PairSpec
from operators.methods import OLS
from operators.watch import AlertSpec, Watch

SYMBOLS = 3
TIMEFRAMES = (SECOND_US, 7 * SECOND_US)
END_S = 90


def pair(y: int, x: int, every: int) -> PairSpec:
    return PairSpec(
        y, x, True, (OLS,), hedge=9, zscore=6, correlation=4, correlation_of_returns=True, adf=10, adf_every=every, adf_lags=1, fee_bps=1.0, slippage_bps=0.0
    )  # fmt: skip


PAIRS = [pair(0, 1, 1), pair(2, 0, 3)]


def rule(
    alert: int, metric: str, subject: int, side: int, level: float, only_stationary: bool = False
) -> AlertSpec:
    return AlertSpec(
        alert, metric, subject, side, level, level / 2 if metric == "zscore" else level, only_stationary
    )


RULES = [
    rule(0, "zscore", 0, 1, 1.0),
    rule(1, "zscore", 1, 0, 1.0),
    rule(2, "zscore", 0, -1, -0.5, only_stationary=True),
    rule(3, "correlation", 1, -1, 0.0),
    rule(4, "coint_pvalue", 0, -1, 0.3),
    rule(5, "adf_pvalue", 1, -1, 0.3),
    rule(6, "price", 1, 1, 20.0),
    rule(7, "staleness", 2, 1, 3.0),
]

Key = tuple[str, int, int, int, int]  # table, timeframe, ts, subject, method or 0
Row = tuple[object, ...]


@dataclass
class Line:
    """Trades to alert rows, without the dataflow; a row written again replaces the one before."""

    builder: BarBuilder = field(default_factory=lambda: BarBuilder.of(SYMBOLS, TIMEFRAMES))
    steps: dict[int, tuple[Measurer, Watch]] = field(
        default_factory=lambda: {
            length: (
                Measurer(SYMBOLS, length, PAIRS, stale_after=3),
                Watch(length, RULES, len(PAIRS), SYMBOLS, 0.2),
            )
            for length in TIMEFRAMES
        }
    )
    rows: dict[Key, Row] = field(default_factory=dict)

    def update(self, trades: Trades) -> None:
        bars = self.builder.update(trades)
        for length, (measurer, watch) in self.steps.items():
            of = bars.rows(bars.timeframe == length)
            self.write("bars", length, of, of.symbol)
            measures = measurer.update(of)
            self.write("signals", length, measures.signals, measures.signals.pair, measures.signals.method)
            self.write("cointegration", length, measures.tests, measures.tests.pair, measures.tests.method)
            self.write("activity", length, measures.activity, measures.activity.symbol)
            watched = watch.update(measures)
            self.write("alerts", length, watched, watched.alert)

    def write(
        self, table: str, length: int, columns: object, subject: np.ndarray, method: np.ndarray | None = None
    ) -> None:
        names = [column.name for column in fields(columns) if column.name not in ("watermark", "stage")]  # type: ignore[arg-type]
        method = np.zeros(len(subject), np.int32) if method is None else method
        keys = [
            (table, length, *key)
            for key in zip(columns.ts.tolist(), subject.tolist(), method.tolist(), strict=True)
        ]  # type: ignore[attr-defined]
        assert len(set(keys)) == len(keys), "a row twice in one batch"
        whole = zip(*(getattr(columns, name).tolist() for name in names), strict=True)
        self.rows |= dict(
            zip(
                keys,
                [
                    tuple(None if isinstance(cell, float) and isnan(cell) else cell for cell in row)
                    for row in whole
                ],
                strict=True,
            )
        )

    def pickled(self) -> "Line":
        return Line(
            pickle.loads(pickle.dumps(self.builder)), pickle.loads(pickle.dumps(self.steps)), self.rows
        )

    def table(self, name: str) -> dict[Key, Row]:
        return {key: row for key, row in self.rows.items() if key[0] == name}


def some(
    symbol: Longs, ts: Longs, price: Floats, after_hole: Longs, chosen: Longs, watermark: Longs
) -> Trades:
    n = len(chosen)
    return Trades(
        symbol=symbol[chosen].astype(np.int32),
        id=chosen,
        ts=ts[chosen],
        price=price[chosen],
        qty=price[chosen] / 8,
        is_buyer_maker=price[chosen] % 2 == 0,
        count=np.ones(n, np.int64),
        after_hole=after_hole[chosen].astype(np.bool_),
        watermark=watermark,
    )


def same_alerts(ours: dict[Key, Row], theirs: dict[Key, Row]) -> None:
    """All of their rows; what else there is corrects a row that was taken back, and tells the state that they
    have.
    """
    ACTIVE, VALUE = 3, 2
    for key, row in theirs.items():
        mine = ours[key]
        assert (mine[:VALUE], mine[ACTIVE:]) == (row[:VALUE], row[ACTIVE:])
        # a minute between two closes after one without a value no longer knows the value before
        assert mine[VALUE] in (row[VALUE], None)
    for key in ours.keys() - theirs.keys():
        before = [
            other for other in theirs if (other[1], other[3]) == (key[1], key[3]) and other[2] <= key[2]
        ]
        assert ours[key][ACTIVE] == (
            theirs[max(before, key=lambda other: other[2])][ACTIVE] if before else False
        )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 25),
    st.sampled_from([0.5, 3.0, 30.0]),
    st.sampled_from([0.0, 0.05]),
)
def test_whatever_comes_late_every_row_is_as_if_it_had_come_in_time(
    seed: int, batches: int, ahead_s: float, holes: float
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 250))
    symbol = np.concatenate((np.arange(SYMBOLS), rng.integers(0, SYMBOLS, n)))
    ts = np.concatenate(
        (np.arange(SYMBOLS) * 100_000, np.sort(rng.integers(SECOND_US, END_S * SECOND_US, n)))
    )
    # ids and times disagree
    ts += (rng.random(len(ts)) < 0.05) * rng.integers(-2 * SECOND_US, 1, len(ts)) * (ts > 4 * SECOND_US)
    price = rng.integers(8, 30, len(ts)).astype(np.float64)
    columns = symbol, ts, price, rng.random(len(ts)) < holes
    end = np.full(SYMBOLS, END_S * SECOND_US)
    in_time = Line()
    in_time.update(some(*columns, np.arange(len(ts)), end))

    late = Line()
    of = [np.flatnonzero(symbol == s) for s in range(SYMBOLS)]
    cuts = [np.sort(rng.integers(0, len(mine) + 1, batches)) for mine in of]
    watermark = np.full(SYMBOLS, NEVER)
    for b in range(batches):
        parts = [mine[(cuts[s][b - 1] if b else 0) : cuts[s][b]] for s, mine in enumerate(of)]
        for s, mine in enumerate(of):
            if cuts[s][b]:
                newest = int(ts[mine[: cuts[s][b]]].max())
                reach = newest + (int(rng.exponential(ahead_s * SECOND_US)) if rng.random() < 0.7 else 0)
                watermark[s] = max(watermark[s], min(reach, END_S * SECOND_US))
        late.update(some(*columns, np.concatenate(parts), watermark.copy()))
        if rng.random() < 0.3:
            late = late.pickled()
    rest = np.concatenate([mine[cuts[s][-1] :] for s, mine in enumerate(of)])
    late.update(some(*columns, rest, end))

    for table in ("bars", "signals", "cointegration", "activity"):
        assert late.table(table) == in_time.table(table)
    same_alerts(late.table("alerts"), in_time.table("alerts"))


def walk(symbols: int, seconds: int) -> tuple[Longs, Longs, Floats, Longs]:
    """A trade of every symbol in every second."""
    symbol, ts = np.tile(np.arange(symbols), seconds), np.repeat(np.arange(seconds) * SECOND_US, symbols)
    price = np.exp(np.random.default_rng(1).normal(size=(seconds, symbols)).cumsum(axis=0) / 100 + 3).ravel()
    return symbol, ts, price, np.zeros(len(ts), np.int64)


def quietly(rows: int, late: int) -> tuple[Line, Longs]:
    """Symbol 1 quiet from second `late` on, the others to `rows`; its trade of that second is still to come."""
    symbol, ts, price, hole = walk(SYMBOLS, rows)
    line = Line()
    chosen = np.flatnonzero((symbol != 1) | (ts < late * SECOND_US))
    line.update(some(symbol, ts, price, hole, chosen, np.full(SYMBOLS, rows * SECOND_US)))
    return line, np.flatnonzero((symbol == 1) & (ts == late * SECOND_US))


def test_rows_that_a_late_trade_does_not_reach_are_not_written_again() -> None:
    line, late = quietly(200, 150)
    line.rows.clear()
    line.update(some(*walk(SYMBOLS, 200), late, np.full(SYMBOLS, 200 * SECOND_US)))
    assert {key[2] // SECOND_US for key in line.table("bars") if key[1] == SECOND_US} == set(range(150, 200))
    assert {key[3] for key in line.table("bars")} == {1}
    assert {(key[2] // SECOND_US, key[3]) for key in line.table("signals") if key[1] == SECOND_US} == {
        (t, 0) for t in range(150, 200)
    }


def test_a_trade_too_late_to_measure_all_again_leaves_the_oldest_rows_as_they_were() -> None:
    rows, late_s = REWIND + 200, 100
    line, late = quietly(rows, late_s)
    before = dict(line.rows)
    line.update(some(*walk(SYMBOLS, rows), late, np.full(SYMBOLS, rows * SECOND_US)))
    in_time = Line()
    symbol, ts, price, hole = walk(SYMBOLS, rows)
    chosen = np.flatnonzero((symbol != 1) | (ts <= late_s * SECOND_US))
    in_time.update(some(symbol, ts, price, hole, chosen, np.full(SYMBOLS, rows * SECOND_US)))
    oldest = (rows - REWIND) * SECOND_US
    for table in ("signals", "activity"):
        for key, row in line.table(table).items():
            if key[1] == SECOND_US:
                assert row == (in_time.rows if key[2] >= oldest else before)[key]
    assert line.table("bars") == in_time.table("bars")


def test_an_episode_that_rested_on_a_missing_trade_is_taken_back() -> None:
    watch = Watch(SECOND_US, [AlertSpec(0, "price", 0, 1, 9.0, 9.0, False)], 0, 1, 0.0)
    measurer = Measurer(1, SECOND_US, [])

    def bars(start: int, closes: list[float]) -> Bars:
        n, close = len(closes), np.array(closes)
        ts = np.arange(start, start + n) * SECOND_US
        ones, one = np.ones(n), np.ones(n, np.int64)
        return Bars(
            np.zeros(n, np.int32),
            one * SECOND_US,
            ts,
            close,
            close,
            close,
            close,
            ones,
            ones,
            one,
            ones,
            ones > 0,
            ts[-1:],
        )

    first = watch.update(measurer.update(bars(0, [5.0, 10.0, 10.0])))
    assert (first.ts.tolist(), first.active.tolist()) == ([2 * SECOND_US], [True])
    second = watch.update(measurer.update(bars(1, [5.0, 10.0])))
    assert (second.ts.tolist(), second.active.tolist(), second.value.tolist()) == (
        [2 * SECOND_US, 3 * SECOND_US],
        [False, True],
        [5.0, 10.0],
    )
    assert second.episode.tolist() == [NEVER, 3 * SECOND_US]
