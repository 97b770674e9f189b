"""Bars by hand, against a plain loop over trades, and however the trades are cut into batches."""

import itertools
import pickle
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.bars import BarBuilder
from operators.columns import NEVER, Bars, Trades

SECOND = 1_000_000
TIMEFRAMES = (SECOND, 5 * SECOND, 60 * SECOND)
SYMBOLS = 3
COLUMNS = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "buy_volume", "complete")


@dataclass(frozen=True)
class Trade:
    symbol: int
    ts: int
    price: float
    qty: float = 1.0
    sold: bool = False
    after_hole: bool = False


def batch(trades: list[Trade], watermark: list[int], first_id: int = 1) -> Trades:
    return Trades(
        symbol=np.array([t.symbol for t in trades], np.int32),
        id=np.arange(first_id, first_id + len(trades)),
        ts=np.array([t.ts for t in trades], np.int64),
        price=np.array([t.price for t in trades], np.float64),
        qty=np.array([t.qty for t in trades], np.float64),
        is_buyer_maker=np.array([t.sold for t in trades], np.bool_),
        count=np.ones(len(trades), np.int64),
        after_hole=np.array([t.after_hole for t in trades], np.bool_),
        watermark=np.array(watermark, np.int64),
    )


Key = tuple[int, int, int]  # symbol, timeframe, ts


def rows(bars: Bars) -> dict[Key, tuple[float, ...]]:
    keys = zip(bars.symbol.tolist(), bars.timeframe.tolist(), bars.ts.tolist(), strict=True)
    values = zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True)
    found = dict(zip(keys, values, strict=True))
    assert len(found) == len(bars), "a bar was emitted twice"
    return found


def plainly(trades: list[Trade], watermark: list[int]) -> dict[Key, tuple[float, ...]]:
    """The same bars by their definition: every trade goes into the bar of its time, or of the latest before
    it.
    """
    found: dict[Key, tuple[float, ...]] = {}
    for symbol in range(SYMBOLS):
        mine = [t for t in trades if t.symbol == symbol]
        if not mine:
            continue
        times = np.maximum.accumulate([t.ts for t in mine]).tolist()
        start = times[0] // SECOND * SECOND
        reach = max(times[-1] // SECOND * SECOND, watermark[symbol])
        holes = [(start, start)] + [
            (times[i - 1] // SECOND * SECOND if i else start, times[i] // SECOND * SECOND)
            for i, t in enumerate(mine)
            if t.after_hole
        ]
        for timeframe in TIMEFRAMES:
            close = mine[0].price
            for ts in range(start // timeframe * timeframe, reach - timeframe + 1, timeframe):
                of = [t for t, time in zip(mine, times, strict=True) if ts <= time < ts + timeframe]
                prices = [t.price for t in of] or [close]
                close = prices[-1]
                whole = ts >= start and not any(
                    first < ts + timeframe and last >= ts for first, last in holes
                )
                sums = (
                    sum(t.qty for t in of),
                    sum(t.price * t.qty for t in of),
                    len(of),
                    sum(t.qty for t in of if not t.sold),
                )
                found[symbol, timeframe, ts] = (prices[0], max(prices), min(prices), close, *sums, whole)
    return found


def test_a_bar_closes_with_its_watermark_and_a_quiet_second_repeats_the_close() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    never = [NEVER] * SYMBOLS
    assert not rows(
        builder.update(
            batch([Trade(1, 10_200_000, 5.0, 2.0), Trade(1, 10_300_000, 7.0, 1.0, sold=True)], never)
        )
    )
    found = rows(builder.update(batch([], [NEVER, 12 * SECOND, NEVER])))
    assert found == {
        (1, SECOND, 10 * SECOND): (5.0, 7.0, 5.0, 7.0, 3.0, 17.0, 2, 2.0, False),
        (1, SECOND, 11 * SECOND): (7.0, 7.0, 7.0, 7.0, 0.0, 0.0, 0, 0.0, True),
    }


def test_a_longer_bar_opens_with_its_first_trade_not_with_a_quiet_second() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    found = rows(
        builder.update(
            batch(
                [Trade(0, 4_000_000, 100.0), Trade(0, 7_000_000, 50.0), Trade(0, 10_000_000, 60.0)],
                [NEVER] * SYMBOLS,
            )
        )
    )
    assert found[0, 5 * SECOND, 5 * SECOND][:4] == (50.0, 50.0, 50.0, 50.0)


def test_a_hole_makes_every_bar_it_touches_incomplete() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    trades = [Trade(0, s * SECOND, 1.0, after_hole=s == 13) for s in (5, 10, 13, 14, 20)]
    found = rows(builder.update(batch(trades, [NEVER] * SYMBOLS)))
    incomplete = {
        ts // SECOND for (_, timeframe, ts), row in found.items() if timeframe == SECOND and not row[-1]
    }
    assert incomplete == {5, 10, 11, 12, 13}
    assert [found[0, 5 * SECOND, ts * SECOND][-1] for ts in (5, 10, 15)] == [False, False, True]


def test_a_trade_older_than_the_bar_in_progress_counts_in_it() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    found = rows(
        builder.update(
            batch([Trade(0, 9_100_000, 1.0), Trade(0, 8_900_000, 2.0)], [10 * SECOND, NEVER, NEVER])
        )
    )
    assert found[0, SECOND, 9 * SECOND][:5] == (1.0, 2.0, 1.0, 2.0, 2.0)


def test_a_watermark_far_ahead_has_all_its_quiet_bars() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    found = rows(builder.update(batch([Trade(2, 0, 1.0)], [NEVER, NEVER, 86_400 * SECOND])))
    assert len(found) == 86_400 + 86_400 // 5 + 86_400 // 60


def test_only_wanted_timeframes_are_emitted() -> None:
    builder = BarBuilder.of(SYMBOLS, (5 * SECOND,))
    found = rows(builder.update(batch([Trade(0, 0, 1.0)], [10 * SECOND, NEVER, NEVER])))
    assert {timeframe for _, timeframe, _ in found} == {5 * SECOND}


def test_a_late_trade_takes_back_the_bars_that_the_watermark_had_closed() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    early = rows(builder.update(batch([Trade(0, 3_100_000, 10.0)], [7 * SECOND, NEVER, NEVER])))
    assert {(ts // SECOND, timeframe // SECOND) for _, timeframe, ts in early} == {
        (3, 1),
        (4, 1),
        (5, 1),
        (6, 1),
        (0, 5),
    }
    again = rows(builder.update(batch([Trade(0, 4_900_000, 12.0)], [7 * SECOND, NEVER, NEVER], 2)))
    quiet = (0.0, 0.0, 0, 0.0, True)
    assert again == {
        (0, SECOND, 4 * SECOND): (12.0, 12.0, 12.0, 12.0, 1.0, 12.0, 1, 1.0, True),
        (0, SECOND, 5 * SECOND): (12.0, 12.0, 12.0, 12.0, *quiet),
        (0, SECOND, 6 * SECOND): (12.0, 12.0, 12.0, 12.0, *quiet),
        (0, 5 * SECOND, 0): (10.0, 12.0, 10.0, 12.0, 2.0, 22.0, 2, 2.0, False),
    }
    once_more = rows(builder.update(batch([Trade(0, 6_000_000, 9.0)], [7 * SECOND, NEVER, NEVER], 3)))
    assert [ts // SECOND for _, _, ts in once_more] == [6]


def test_a_hole_found_behind_closed_bars_makes_them_incomplete() -> None:
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    early = rows(
        builder.update(
            batch([Trade(0, 3_000_000, 1.0), Trade(0, 5_000_000, 1.0)], [8 * SECOND, NEVER, NEVER])
        )
    )
    assert [early[0, SECOND, ts * SECOND][-1] for ts in (5, 6, 7)] == [True, True, True]
    again = rows(
        builder.update(batch([Trade(0, 9_000_000, 1.0, after_hole=True)], [10 * SECOND, NEVER, NEVER], 9))
    )
    assert {
        ts // SECOND: row[-1] for (_, timeframe, ts), row in again.items() if timeframe == SECOND
    } == dict.fromkeys(range(5, 10), False)


def seconds_of(trades: list[Trade], until: int) -> Bars:
    """The 1 s bars of these trades that end by `until`."""
    builder = BarBuilder.of(SYMBOLS, (SECOND,))
    return builder.update(batch(trades, [until] * SYMBOLS))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(10, 150))
def test_a_seeded_builder_goes_on_as_if_it_had_seen_the_trades(seed: int, until: int) -> None:
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, 200 * SECOND, 120))
    trades = [Trade(s, s, float(s)) for s in range(SYMBOLS)]
    trades += [
        Trade(
            int(rng.integers(SYMBOLS)),
            int(t) + 1_000,
            float(rng.integers(1, 9)),
            after_hole=rng.random() < 0.1,
        )
        for t in ts
    ]
    before = [t for t in trades if t.ts < until * SECOND]
    after = batch(trades[len(before) :], [200 * SECOND] * SYMBOLS, len(before) + 1)
    watched, seeded = BarBuilder.of(SYMBOLS, TIMEFRAMES), BarBuilder.of(SYMBOLS, TIMEFRAMES)
    watched.update(batch(before, [until * SECOND] * SYMBOLS))
    seeded.seed(seconds_of(before, until * SECOND))
    found = rows(seeded.update(after))
    expected = rows(watched.update(after))
    # the seeded one does not know which bar the last trade was in, and so takes nothing back that ended
    # before it began
    assert found == {key: row for key, row in expected.items() if key[2] + key[1] > until * SECOND}


steps = st.tuples(
    st.integers(0, SYMBOLS - 1),
    st.sampled_from([0, 1_000, 400_000, 1_700_000, 12_000_000, -300_000]),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(steps, min_size=1, max_size=60),
    st.lists(
        st.tuples(
            st.integers(0, 60),
            st.lists(st.sampled_from([0, 500_000, 3_000_000, 20_000_000]), min_size=3, max_size=3),
        ),
        max_size=6,
    ),
    st.integers(0, 70_000_000),
)
def test_any_batches_and_any_trades_behind_the_watermark_give_the_bars_of_the_plain_loop(
    moves: list[tuple[int, int, int, bool, int]], cuts: list[tuple[int, list[int]]], beyond: int
) -> None:
    now = [1_000_000_000] * SYMBOLS
    trades = []
    for symbol, move, price, sold, hole in moves:
        now[symbol] += move
        trades.append(Trade(symbol, now[symbol], float(price), price / 4, sold, after_hole=hole == 0))
    newest = [max([t.ts for t in trades if t.symbol == s], default=NEVER) for s in range(SYMBOLS)]
    last = [ts if ts == NEVER else ts + 20 * SECOND + beyond for ts in newest]
    builder = BarBuilder.of(SYMBOLS, TIMEFRAMES)
    found: dict[Key, tuple[float, ...]] = {}
    edges = [
        (0, [0] * SYMBOLS),
        *sorted((min(cut, len(trades)), ahead) for cut, ahead in cuts),
        (len(trades), [0] * SYMBOLS),
    ]
    for (start, _), (end, ahead) in itertools.pairwise(edges):
        done = trades[:end]
        times = [[t.ts for t in done if t.symbol == s] for s in range(SYMBOLS)]
        watermark = [max(of) + ahead[s] if of else NEVER for s, of in enumerate(times)]
        found |= rows(builder.update(batch(trades[start:end], watermark, start + 1)))
        builder = pickle.loads(pickle.dumps(builder))
    found |= rows(builder.update(batch([], last, len(trades) + 1)))
    assert found == plainly(trades, last)


def test_a_pickled_builder_goes_on_bit_equal() -> None:
    rng = np.random.default_rng(1)
    ts = np.sort(rng.integers(0, 100 * SECOND, 500))
    trades = [Trade(int(rng.integers(SYMBOLS)), int(t), float(rng.random())) for t in ts]
    builder, other = BarBuilder.of(SYMBOLS, TIMEFRAMES), BarBuilder.of(SYMBOLS, TIMEFRAMES)
    first, second = batch(trades[:250], [NEVER] * SYMBOLS), batch(trades[250:], [NEVER] * SYMBOLS, 251)
    builder.update(first)
    other.update(first)
    other = pickle.loads(pickle.dumps(other))
    assert rows(builder.update(replace(second))) == rows(other.update(second))
