import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.feed.frames import Frames
from flows.sandbox.tape import INTERVALS_US, Tape
from operators.columns import MINUTE_US, SECOND_US

START_US = 1_763_800_020_000_000  # a whole minute
FOREVER_US = 2**62


def trades(rows: list[tuple[int, float, float, bool]], first_id: int = 50) -> Frames:
    """Trades from (ms after the start, price, quantity, is_buyer_maker)."""
    ms, price, qty, maker = zip(*rows, strict=True)
    n = len(rows)
    ts = START_US + np.array(ms, np.int64) * 1000
    return Frames(
        np.zeros(n, np.int32),
        first_id + np.arange(n, dtype=np.int64),
        ts,
        np.array(price),
        np.array(qty),
        np.array(maker),
        np.ones(n, np.int64),
        ts,
        np.zeros(1, np.int64),
    )


def tape(*chunks: Frames) -> Tape:
    made = Tape(first_agg_id=7)
    for chunk in chunks:
        made.append(chunk)
    return made


ROWS = [
    (0, 10.0, 1.0, True),
    (0, 10.0, 2.0, True),
    (0, 10.5, 1.0, True),
    (0, 10.5, 1.0, False),
    (1, 10.5, 4.0, False),
    (2500, 9.0, 1.0, True),
]


def test_an_aggregate_is_a_run_of_one_price_side_and_millisecond() -> None:
    aggs = tape(trades(ROWS)).aggs
    assert aggs["id"].tolist() == [7, 8, 9, 10, 11]
    assert aggs["first"].tolist() == [50, 52, 53, 54, 55]
    assert aggs["last"].tolist() == [51, 52, 53, 54, 55]
    assert aggs["count"].tolist() == [2, 1, 1, 1, 1]
    assert aggs["qty"].tolist() == [3.0, 1.0, 1.0, 4.0, 1.0]
    assert aggs["price"].tolist() == [10.0, 10.5, 10.5, 10.5, 9.0]


def test_a_hole_in_the_ids_ends_an_aggregate() -> None:
    f = trades([(0, 1.0, 1.0, True)] * 3)
    f.id[2] += 1
    assert tape(f).aggs["count"].tolist() == [2, 1]


def test_what_has_happened_follows_the_time() -> None:
    t = tape(trades(ROWS))
    assert [t.happened("trade", START_US + us) for us in (-1, 0, 999, 1000, 2_499_999, 2_500_000)] == [
        0,
        4,
        4,
        5,
        5,
        6,
    ]
    assert t.happened("aggTrade", START_US) == 3


def test_a_trade_whose_time_goes_back_happens_with_the_one_before() -> None:
    t = tape(trades([(5, 1.0, 1.0, True), (3, 2.0, 1.0, True)]))
    assert t.happened("trade", START_US + 4000) == 0 and t.happened("trade", START_US + 5000) == 2


def test_candles_have_the_exchange_s_fields() -> None:
    t = tape(trades(ROWS))
    first, empty, last = t.klines("1s", None, None, 500, START_US + 2_600_000)
    assert first == [
        START_US,
        10.0,
        10.5,
        10.0,
        10.5,
        9.0,
        START_US + SECOND_US - 1,
        30.0 + 10.5 + 10.5 + 42.0,
        5,
        5.0,
        52.5,
    ]
    assert empty == [
        START_US + SECOND_US,
        10.5,
        10.5,
        10.5,
        10.5,
        0.0,
        START_US + 2 * SECOND_US - 1,
        0.0,
        0,
        0.0,
        0.0,
    ]
    assert last[1:6] == [9.0, 9.0, 9.0, 9.0, 1.0] and last[9] == 0.0


def test_the_candle_in_progress_holds_what_has_happened() -> None:
    (only,) = tape(trades(ROWS)).klines("1m", None, None, 500, START_US + 1000)
    assert only[5] == 9.0 and only[8] == 5
    assert tape(trades(ROWS)).klines("1m", None, None, 500, START_US - 1) == []


def test_a_start_gives_the_first_candles_and_none_the_latest() -> None:
    t = tape(trades([(k * 1000, 1.0 + k, 1.0, True) for k in range(10)]))
    now_us = START_US + 20 * SECOND_US
    opens = lambda *a: [(int(k[0]) - START_US) // SECOND_US for k in t.klines("1s", *a, now_us)]  # noqa: E731
    assert opens(None, None, 3) == [18, 19, 20]
    assert opens(START_US + 1, None, 3) == [1, 2, 3]
    assert opens(START_US + 1, START_US + 2 * SECOND_US, 3) == [1, 2]
    assert opens(None, START_US + 5 * SECOND_US, 2) == [4, 5]
    assert opens(START_US + 30 * SECOND_US, None, 3) == []


@pytest.mark.parametrize("interval", ["1w", "3d", "1d", "12h", "5m"])
def test_long_candles_open_where_the_exchange_s_do(interval: str) -> None:
    (kline,) = tape(trades(ROWS)).klines(interval, None, None, 500, START_US + MINUTE_US)
    open_s = int(kline[0]) // SECOND_US
    if interval == "1w":
        assert np.datetime64(open_s, "s").astype(object).isoweekday() == 1
    else:
        assert open_s * SECOND_US % INTERVALS_US[interval] == 0
    assert kline[0] <= START_US <= kline[6]


def test_aggregates_without_trades_number_their_own() -> None:
    f = trades(ROWS[:2])
    f.count[:] = [3, 2]
    t = Tape()
    t.append_aggregates(f)
    assert t.trades.size == 0
    assert (t.aggs["first"].tolist(), t.aggs["last"].tolist(), t.aggs["id"].tolist()) == (
        [1, 4],
        [3, 5],
        [50, 51],
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([1.0, 2.0]), st.sampled_from([0.5, 3.0]), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from(["1s", "3m"]),
)
def test_aggregates_and_candles_keep_every_trade(
    steps: list[tuple[int, float, float, bool]], interval: str
) -> None:
    ms = np.cumsum([step[0] * 137 for step in steps]).tolist()
    f = trades([(at, *rest) for at, (_, *rest) in zip(ms, steps, strict=True)])  # type: ignore[misc]
    t = tape(f)
    aggs = t.aggs
    assert aggs["first"][0] == f.id[0] and aggs["last"][-1] == f.id[-1]
    assert (aggs["first"][1:] == aggs["last"][:-1] + 1).all() and (np.diff(aggs["id"]) == 1).all()
    assert aggs["qty"].sum() == f.qty.sum()
    klines = t.klines(interval, START_US, None, 1000, int(f.ts[-1]))
    assert sum(k[8] for k in klines) == len(f)
    for k in klines:
        mine = f.rows((f.ts >= k[0]) & (f.ts <= k[6]))
        if len(mine):
            assert k[1:6] == [
                mine.price[0],
                mine.price.max(),
                mine.price.min(),
                mine.price[-1],
                mine.qty.sum(),
            ]
            assert k[9] == mine.qty[~mine.is_buyer_maker].sum()
