"""A pipeline that begins in the middle of things has the rows of one that had been running: from the exchange's past, and from the database."""

import time
from pathlib import Path

import numpy as np
import pytest

from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.feed.backlog import Gap
from flows.feed.frames import join
from flows.feed.ledger import gap_rows
from flows.history.history import left_open, merged, resampled, rows_needed, without_holes
from flows.replay.recordings import read
from flows.sandbox.background import background
from flows.sandbox.market import record
from flows.settings.decoding import decode
from flows.venues.binance.klines import FIELDS, Klines
from operators.activity import LONG_WINDOW
from operators.bars import BarBuilder
from operators.columns import Trades
from tests.line import configure, finish, follow, has, rows, running, tables

SECOND_US = 1_000_000
NUMBERS = ("signals", "cointegration", "activity", "alerts")


def test_a_start_reads_back_as_far_as_a_leg_may_be_silent_before_it_is_stale() -> None:
    short = "pairs: [{legs: [A1, B1], timeframes: [1s], hedge: {window: 20}, zscore: {window: 10}, correlation: {window: 5}, adf: {window: 30, every: 1}}]\n"
    assert rows_needed(decode(short, "pipeline.yaml"), "1s") == LONG_WINDOW + 1
    assert rows_needed(decode(short + "source: {stale: 1h}\n", "pipeline.yaml"), "1s") == 3_601


def from_on(table: str, ts: str) -> list[dict[str, str]]:
    return [row for row in rows(table) if row["ts"] >= ts]


def same(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> None:
    """Equal but for the last bits of sums: the exchange's candles are decimal, ours are floats."""
    assert len(ours) == len(theirs) > 0
    for our, their in zip(ours, theirs, strict=True):
        for name, text in their.items():
            if our[name] != text and not (
                name == "complete" and our[name] == "true"
            ):  # the recording's first second is not whole, theirs is
                assert float(our[name]) == pytest.approx(float(text), rel=1e-12), (name, our, their)


def newest(database: Endpoint) -> dict[str, int]:
    """The last id of each symbol's trades."""
    with connect(database) as connection:
        return dict(connection.execute("SELECT symbol, max(id) FROM trades").fetchall())


def test_a_warm_start_has_the_rows_of_a_pipeline_that_had_been_running(
    replayed: tuple[Path, dict[str, str]],
    recording: Path,
    tmp_path: Path,
    database: Endpoint,
) -> None:
    _, expected = replayed
    everything = expected["trades"].count("\n")
    with background(paths=[recording], speed=50.0, since_us=400 * SECOND_US) as exchange:  # it goes on when somebody listens
        home = configure(tmp_path / "warm", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            follow(run, "history: from the exchange")
            while newest(database) != {row["symbol"]: int(row["id"]) for row in rows(expected["trades"])}:
                assert run.poll() is None
                time.sleep(0.05)
            finish(run)
    found = tables(home)
    begun = rows(found["trades"])[0]["ts"]
    assert 100 < found["trades"].count("\n") < everything
    assert found["trades"].splitlines()[1:] == [line for line in expected["trades"].splitlines()[1:] if line >= begun]
    minute = str(np.datetime64(begun[:-1], "m") + 1)
    for table in NUMBERS:
        same(from_on(found[table], minute), from_on(expected[table], minute))
    assert from_on(found["bars"], minute)
    same(from_on(found["bars"], minute), from_on(expected["bars"], minute))
    assert all(row["complete"] == "true" for row in rows(found["bars"], timeframe="1s"))


def test_a_fresh_start_goes_on_where_the_database_ends_and_counts_nothing_twice(
    replayed: tuple[Path, dict[str, str]],
    recording: Path,
    tmp_path: Path,
    database: Endpoint,
) -> None:
    _, expected = replayed
    everything = expected["trades"].count("\n") - 1
    with background(paths=[recording], speed=100.0) as exchange:
        home = configure(tmp_path / "fresh", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            has(home, everything // 3, run)
            finish(run)
        with running(home, "--fresh") as again:
            follow(again, "history: going on where the database ends")
            has(home, everything, again)
            finish(again)
    found = tables(home)
    for table, text in expected.items():
        assert found[table] == text, table


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Klines]:
    """Bars of one quiet symbol by their length, from its trades."""
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 11, ("SOLUSDT",), 1_723_161_600_000_000, 700, rate=0.4)
    trades = join(list(read([path], ("SOLUSDT",))), 1)
    lengths = [n * SECOND_US for n in (1, 7, 30, 60)]
    hole = np.arange(len(trades)) == 0
    columns = {name: getattr(trades, name) for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker", "count")}
    built = BarBuilder.of(1, lengths).update(Trades(**columns, after_hole=hole, watermark=trades.ts[-1:]))
    assert (built.volume[built.timeframe == SECOND_US] == 0).mean() > 0.3
    chosen = {us: built.rows(built.timeframe == us) for us in lengths}
    return {us: {name: getattr(of, name) for name in ("ts", *FIELDS, "complete")} for us, of in chosen.items()}


@pytest.mark.parametrize("seconds", [7, 30, 60])
def test_candles_become_the_bars_of_their_trades(bars: dict[int, Klines], seconds: int) -> None:
    us = seconds * SECOND_US
    candles = {name: column for name, column in bars[SECOND_US].items() if name != "complete"}
    start = bars[us]["ts"][1]  # the first one is not whole
    found = resampled(candles, SECOND_US, us, start, bars[us]["ts"][-1] + us)
    for name in ("ts", *FIELDS):
        np.testing.assert_allclose(found[name], bars[us][name][1:], rtol=1e-12, err_msg=name)
    assert found["complete"].all()


def test_seconds_without_a_trade_that_the_exchange_leaves_out_are_put_in(bars: dict[int, Klines]) -> None:
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


def test_what_the_database_has_stands_in_the_place_of_candles(bars: dict[int, Klines]) -> None:
    whole = bars[SECOND_US]
    told = {name: column.copy() for name, column in whole.items()}
    told["close"] = told["close"] + 1
    stored = {name: column[100:200] for name, column in whole.items()}
    found = merged(told, stored)
    np.testing.assert_array_equal(found["ts"], whole["ts"])
    np.testing.assert_array_equal(
        found["close"] != whole["close"], (np.arange(len(whole["ts"])) < 100) | (np.arange(len(whole["ts"])) >= 200)
    )


def test_holes_that_stand_as_open_are_those_of_the_ledger(database: Endpoint, tmp_path: Path) -> None:
    settings = decode("pairs: [[BTCUSDT, ETHUSDT]]", "pipeline.yaml", tmp_path)
    of = [Gap(1_763_800_000_000_000, 1, 5, 9, "lost", "open", 5), Gap(1_763_800_001_000_000, 0, 7, 7, "disconnect", "filled", 1)]
    writer = Writer(database)
    writer.write([gap_rows(of, settings.symbols, 1_763_800_002_000_000)])
    writer.flush()
    writer.close()
    settle(database)
    assert left_open(settings, database) == (of[0],)
