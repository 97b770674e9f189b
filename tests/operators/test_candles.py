"""Candles of the exchange become the bars that its trades make."""

import numpy as np
import pytest

from flows.feed.frames import join
from flows.replay.recordings import read
from flows.sandbox.market import record
from operators.bars import BarBuilder
from operators.candles import FIELDS, Candles, merged, resampled, unbroken, without_holes
from operators.columns import SECOND_US, Trades


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Candles]:
    """Bars of one quiet symbol by their length, from its trades."""
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 11, ("SOLUSDT",), 1_723_161_600_000_000, 700, rate=0.4)
    trades = join(list(read([path], ("SOLUSDT",))), 1)
    lengths = [n * SECOND_US for n in (1, 7, 30, 60)]
    hole = np.arange(len(trades)) == 0
    columns = {
        name: getattr(trades, name)
        for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker", "count")
    }
    built = BarBuilder.of(1, lengths).update(Trades(**columns, after_hole=hole, watermark=trades.ts[-1:]))
    assert (built.volume[built.timeframe == SECOND_US] == 0).mean() > 0.3
    chosen = {us: built.rows(built.timeframe == us) for us in lengths}
    return {
        us: {name: getattr(of, name) for name in ("ts", *FIELDS, "complete")} for us, of in chosen.items()
    }


@pytest.mark.parametrize("seconds", [7, 30, 60])
def test_candles_become_the_bars_of_their_trades(bars: dict[int, Candles], seconds: int) -> None:
    us = seconds * SECOND_US
    candles = {name: column for name, column in bars[SECOND_US].items() if name != "complete"}
    start = bars[us]["ts"][1]  # the first one is not whole
    found = resampled(candles, SECOND_US, us, start, bars[us]["ts"][-1] + us)
    for name in ("ts", *FIELDS):
        np.testing.assert_allclose(found[name], bars[us][name][1:], rtol=1e-12, err_msg=name)
    assert found["complete"].all()


def test_seconds_without_a_trade_that_the_exchange_leaves_out_are_put_in(bars: dict[int, Candles]) -> None:
    whole = bars[SECOND_US]
    traded = whole["volume"] > 0
    assert traded[0]
    thin = {name: column[traded] for name, column in whole.items()}
    found = without_holes(thin, SECOND_US, int(whole["ts"][-1]) + SECOND_US)
    for name in ("ts", *FIELDS, "complete"):
        np.testing.assert_array_equal(found[name], whole[name], err_msg=name)


def test_nothing_without_holes_is_nothing() -> None:
    nothing = {name: np.zeros(0) for name in ("ts", *FIELDS, "complete")}
    assert len(without_holes(nothing, SECOND_US, 10 * SECOND_US)["ts"]) == 0


def test_what_the_database_has_stands_in_the_place_of_candles(bars: dict[int, Candles]) -> None:
    whole = bars[SECOND_US]
    told = {name: column.copy() for name, column in whole.items()}
    told["close"] = told["close"] + 1
    stored = {name: column[100:200] for name, column in whole.items()}
    found = merged(told, stored)
    np.testing.assert_array_equal(found["ts"], whole["ts"])
    np.testing.assert_array_equal(
        found["close"] != whole["close"],
        (np.arange(len(whole["ts"])) < 100) | (np.arange(len(whole["ts"])) >= 200),
    )


def test_bars_before_the_last_hole_do_not_count_and_none_do_that_end_too_early(
    bars: dict[int, Candles],
) -> None:
    whole = bars[SECOND_US]
    end = int(whole["ts"][-1]) + SECOND_US
    assert unbroken(whole, SECOND_US, end)["ts"].tolist() == whole["ts"].tolist()
    torn = {name: np.delete(column, [50, 120]) for name, column in whole.items()}
    kept = unbroken(torn, SECOND_US, end)
    for name in ("ts", *FIELDS, "complete"):
        np.testing.assert_array_equal(kept[name], whole[name][121:], err_msg=name)
    assert len(unbroken(whole, SECOND_US, end + SECOND_US)["ts"]) == 0
    assert len(unbroken({name: column[:0] for name, column in whole.items()}, SECOND_US, end)["ts"]) == 0
