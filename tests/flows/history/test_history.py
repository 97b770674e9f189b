"""A pipeline that begins in the middle of things has the rows of one that had been running: from the
exchange's past, and from the database.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.feed.gaps import Gap
from flows.feed.ledger import gap_rows
from flows.history.history import left_open, rows_needed
from flows.sandbox.background import background
from flows.settings.decoding import decode
from operators.activity import LONG_WINDOW
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
    # it goes on when somebody listens
    with background(paths=[recording], speed=50.0, since_us=400 * SECOND_US) as exchange:
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
    assert found["trades"].splitlines()[1:] == [
        line for line in expected["trades"].splitlines()[1:] if line >= begun
    ]
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


def test_holes_that_stand_as_open_are_those_of_the_ledger(database: Endpoint, tmp_path: Path) -> None:
    settings = decode("pairs: [[BTCUSDT, ETHUSDT]]", "pipeline.yaml", tmp_path)
    of = [
        Gap(1_763_800_000_000_000, 1, 5, 9, "lost", "open", 5),
        Gap(1_763_800_001_000_000, 0, 7, 7, "disconnect", "filled", 1),
    ]
    writer = Writer(database)
    writer.write([gap_rows(of, settings.symbols, 1_763_800_002_000_000)])
    writer.flush()
    writer.close()
    settle(database)
    assert left_open(settings, database) == (of[0],)
