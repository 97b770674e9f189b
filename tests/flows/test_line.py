"""The whole line: a recording through the dataflow into a real QuestDB, replayed and live, beside fresh
statsmodels fits.
"""

import gzip
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.tsa.stattools import adfuller, coint

from flows.database.connection import Endpoint
from flows.sandbox.background import background
from flows.sandbox.faults import Faults
from tests.line import LAST_S, Ports, configure, finish, follow, has, pairflow, rows, running, tables

SPEED = 100.0  # of the market that is played


def test_a_second_replay_changes_no_row(
    replayed: tuple[Path, dict[str, str]], database: Endpoint, recording: Path
) -> None:
    home, first = replayed
    for _ in range(2):
        pairflow(home, "replay", str(recording))
    assert tables(home) == first


def test_shuffled_and_doubled_lines_give_the_same_tables(
    replayed: tuple[Path, dict[str, str]], recording: Path, tmp_path: Path, database: Endpoint
) -> None:
    rng = random.Random(5)
    lines = gzip.decompress(recording.read_bytes()).splitlines(keepends=True)
    lines = [
        line for number, line in enumerate(lines) for line in ([line, line] if number % 10 == 0 else [line])
    ]
    lines = [lines[i] for i in sorted(range(len(lines)), key=lambda i: i + rng.uniform(0, 50))]
    (tmp_path / "spoiled.ndjson.gz").write_bytes(gzip.compress(b"".join(lines)))
    home = configure(tmp_path / "spoiled", database)
    pairflow(home, "replay", str(tmp_path / "spoiled.ndjson.gz"))
    assert tables(home) == replayed[1]


def test_bars_of_every_timeframe_are_those_of_their_trades(replayed: tuple[Path, dict[str, str]]) -> None:
    _, found = replayed
    trades = rows(found["trades"])
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for timeframe in ("1s", "5s", "10s", "30s", "1m", "5m"):
            bars = rows(found["bars"], symbol=symbol, timeframe=timeframe)
            length = {"1s": 1, "5s": 5, "10s": 10, "30s": 30, "1m": 60, "5m": 300}[timeframe]
            end = np.datetime64(bars[-1]["ts"][:-1]) + np.timedelta64(length, "s")
            of = [
                float(trade["qty"])
                for trade in trades
                if trade["symbol"] == symbol and np.datetime64(trade["ts"][:-1]) < end
            ]
            assert sum(float(bar["volume"]) for bar in bars) == pytest.approx(sum(of), rel=1e-12)
            assert sum(int(bar["trades"]) for bar in bars) == len(of)
            by_bar: dict[int, list[float]] = {}
            for trade in (trade for trade in trades if trade["symbol"] == symbol):
                by_bar.setdefault(int(np.datetime64(trade["ts"][:-1], "s").astype(int)) // length, []).append(
                    float(trade["price"])
                )
            for bar in bars:
                prices = by_bar.get(
                    int(np.datetime64(bar["ts"][:-1], "s").astype(int)) // length, [float(bar["open"])]
                )
                assert [float(bar[name]) for name in ("open", "high", "low")] == [
                    prices[0],
                    max(prices),
                    min(prices),
                ]
                assert not float(bar["volume"]) or float(bar["close"]) == prices[-1]


def test_every_signal_and_test_equals_a_fresh_fit_on_its_window(
    replayed: tuple[Path, dict[str, str]],
) -> None:
    _, found = replayed
    closes = {
        symbol: {
            bar["ts"]: np.log(float(bar["close"]))
            for bar in rows(found["bars"], symbol=symbol, timeframe="1s")
        }
        for symbol in ("ETHUSDT", "BTCUSDT")
    }
    common = sorted(set(closes["ETHUSDT"]) & set(closes["BTCUSDT"]))
    y, x = (np.array([closes[symbol][ts] for ts in common]) for symbol in ("ETHUSDT", "BTCUSDT"))
    signals = {row["ts"]: row for row in rows(found["signals"], timeframe="1s")}
    assert sorted(signals) == common
    for k, ts in enumerate(common):
        row = signals[ts]
        if k < 119:
            assert row["hedge_ratio"] == row["zscore"] == ""
            continue
        fit = sm.OLS(y[k - 119 : k + 1], sm.add_constant(x[k - 119 : k + 1])).fit()
        spread = y[k - 59 : k + 1] - fit.params[1] * x[k - 59 : k + 1]
        correlation = np.corrcoef(np.diff(y[k - 60 : k + 1]), np.diff(x[k - 60 : k + 1]))[0, 1]
        expected = [
            fit.params[1],
            fit.params[0],
            fit.rsquared,
            (spread[-1] - spread.mean()) / spread.std(ddof=1),
            correlation,
        ]
        got = [float(row[name]) for name in ("hedge_ratio", "intercept", "r2", "zscore", "correlation")]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    tested = [row for row in rows(found["cointegration"], timeframe="1s") if row["adf_stat"]]
    assert len(tested) >= 10
    for row in tested:
        k = common.index(row["ts"])
        ys, xs = (leg[k - 119 : k + 1] - leg[k - 119 : k + 1].mean() for leg in (y, x))
        stat, pvalue, lags, *_ = adfuller(
            ys - float(signals[row["ts"]]["hedge_ratio"]) * xs, autolag="AIC", result_object=False
        )
        np.testing.assert_allclose(
            [float(row["adf_stat"]), float(row["adf_pvalue"])], [stat, pvalue], atol=1e-8
        )
        assert int(row["adf_lags"]) == lags
        np.testing.assert_allclose(
            [float(row["coint_stat"]), float(row["coint_pvalue"])], coint(ys, xs)[:2], atol=1e-8
        )


def test_a_live_run_gives_the_rows_of_the_replay(
    replayed: tuple[Path, dict[str, str]], recording: Path, tmp_path: Path, database: Endpoint
) -> None:
    with background(paths=[recording], speed=SPEED) as exchange:
        home = configure(tmp_path / "live", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            has(home, len(rows(replayed[1]["trades"])), run)
            finish(run)
    assert tables(home) == replayed[1]


def test_an_exchange_restarted_and_a_pipeline_killed_in_between_change_no_row(
    replayed: tuple[Path, dict[str, str]],
    recording: Path,
    tmp_path: Path,
    database: Endpoint,
    free_ports: Ports,
) -> None:
    (port,) = free_ports(1)
    everything = len(rows(replayed[1]["trades"]))
    with background(paths=[recording], speed=SPEED, port=port) as exchange:
        home = configure(tmp_path / "live", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            has(home, everything // 3, run)
            exchange.stop()
            follow(run, "connecting again")
            with background(
                paths=[recording], speed=SPEED, port=port, faults=Faults(paused=True)
            ) as restarted:
                follow(run, "connected again")
                run.kill()
                restarted.control("faults", paused=False)
                with running(home) as again:
                    follow(again, "connected to")
                    has(home, everything, again)
                    finish(again)
    assert tables(home) == replayed[1]


def test_a_full_disk_under_the_recovery_store_is_one_line_and_a_run_with_space_again_changes_no_row(
    replayed: tuple[Path, dict[str, str]], recording: Path, tmp_path: Path, database: Endpoint
) -> None:
    everything = len(rows(replayed[1]["trades"]))
    with background(paths=[recording], speed=SPEED) as exchange:
        home = configure(tmp_path / "full", database, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            assert run.stderr is not None
            has(home, everything // 3, run)
            store = sum(path.stat().st_size for path in (home / "recovery").glob("part-*"))
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (store // 2, resource.RLIM_INFINITY))
            *_, last = run.stderr.read().splitlines()
            assert run.wait(timeout=LAST_S) == 1
            assert last.startswith(f"pairflow: recovery: {home}/recovery: the store cannot be written (")
        with running(home) as again:
            follow(again, "connected to")
            has(home, everything, again)
            finish(again)
    assert tables(home) == replayed[1]
