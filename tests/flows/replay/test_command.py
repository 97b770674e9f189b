"""`pairflow replay` on a real database: what it says, and what its tables hold."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.command.cli import main
from flows.database.connection import Endpoint
from flows.database.export import export
from tests.conftest import emptied
from tests.flows.replay.recorded import SECOND_US, START_US, by_time, walk, write
from tests.line import TABLES, pairflow

WHERE = 'questdb: {{dir: "{0.directory}", http_port: {0.http_port}, pg_port: {0.pg_port}}}\n'
ONE = "source: {symbols: [BTCUSDT]}\nbars: {timeframes: [1m]}\npairs: []\n"
PAIR = """
bars: {timeframes: [1s, 1m]}
defaults: {hedge: {window: 60}, zscore: {window: 60}, correlation: {window: 20}, adf: {window: 60, every: 30}}
pairs: [[AAAUSDT, BBBUSDT]]
alerts: [{name: z, metric: zscore, outside: 1.5, exit: 0.5, timeframes: [1s]}]
"""
HOUR_US = 3_600 * SECOND_US

Replay = Callable[..., str]


@pytest.fixture
def replay(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database: Endpoint,
    logins: None,
) -> Replay:
    """`replay(configuration, *files)`: what the command says."""
    monkeypatch.chdir(tmp_path)

    def run(configuration: str, *files: str, code: int = 0) -> str:
        Path("pipeline.yaml").write_text(configuration + WHERE.format(database))
        assert main(["replay", *files]) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def archive(name: str, ids: list[int], ts: list[int]) -> str:
    """A file as Binance publishes it, of trades with these ids and times (µs)."""
    rows = [f"{i},{100 + i % 7 / 100},1.0,100,{t // 1_000},True,True" for i, t in zip(ids, ts, strict=True)]
    Path(name).write_text("\n".join(rows) + "\n")
    return name


def test_a_rare_or_lone_trade_counts_however_the_files_are_cut(replay: Replay) -> None:
    """Once, a trade more than a day from its neighbour was dropped at the ends of a file."""
    every = [START_US + k * 30 * HOUR_US for k in range(24)]
    assert "replayed: 24 trades · 41,400 bars" in replay(
        ONE, archive("BTCUSDT-trades-2024.csv", [*range(1, 25)], every)
    )
    assert "replayed: 2 trades" in replay(
        ONE, archive("BTCUSDT-trades-two.csv", [1, 2], [START_US, START_US + 48 * HOUR_US])
    )
    ids, ts = [*range(1, 102)], [START_US + k * SECOND_US for k in range(100)] + [START_US + 48 * HOUR_US]
    parts = (
        archive("BTCUSDT-trades-part1.csv", ids[:100], ts[:100]),
        archive("BTCUSDT-trades-part2.csv", ids[100:], ts[100:]),
    )
    assert "replayed: 101 trades" in replay(ONE, *parts)
    assert "replayed: 101 trades" in replay(ONE, archive("BTCUSDT-trades-whole.csv", ids, ts))


@pytest.mark.parametrize(
    ("at", "wrong_us"),
    [(0, 1_000), (50, START_US - 2 * HOUR_US), (99, 4_102_444_800_000_000)],
    ids=["1970", "goes back", "2100"],
)
def test_a_wrong_time_opens_no_bars_and_is_told(replay: Replay, at: int, wrong_us: int) -> None:
    ts = [START_US + k * SECOND_US for k in range(100)]
    ts[at] = wrong_us
    told = replay(ONE, archive("BTCUSDT-trades-1.csv", [*range(1, 101)], ts))
    assert (
        "replayed: 99 trades · 1 bars" in told
        and "(left out: 1 rejected for an impossible value: 1 time)" in told
    )


def test_ids_that_only_grow_are_told_with_what_to_set(replay: Replay) -> None:
    """Once, a market whose ids jump filled the ledger, and no alert could open."""
    ids = np.cumsum(np.where(np.arange(1, 401) % 20 == 0, 4, 1)).tolist()
    name = archive("BTCUSDT-trades-1.csv", ids, [START_US + k * SECOND_US // 2 for k in range(400)])
    advice = "jumps in the ids of 5.0 % of the trades: if this market's ids only grow, set source.ids: sparse"
    assert advice in replay(ONE, name).splitlines()
    assert "jumps in the ids" not in replay(ONE.replace("symbols:", "ids: sparse, symbols:"), name)


def test_a_leg_that_the_recordings_lack_is_told_with_its_pairs(replay: Replay) -> None:
    name = archive("AAAUSDT-trades-1.csv", [*range(1, 61)], [START_US + k * SECOND_US for k in range(60)])
    assert "not in the recordings: BBBUSDT; no signals of AAAUSDT-BBBUSDT" in replay(PAIR, name).splitlines()


def test_the_summary_says_every_reason_apart_and_what_the_end_cuts_off(replay: Replay) -> None:
    rows = [f"{k + 1},100.0,1.0,100,{START_US // 1_000 + k * 1_000},True,True" for k in range(100)]
    rows[10], rows[20] = rows[10].replace("100.0", "0", 1), rows[20].replace(",1.0,", ",-1,")
    rows[30] = f"31,100.0,1.0,100,{START_US // 1_000 - 7_200_000},True,True"
    rows += [rows[5], rows[6].replace("100.0", "101.0")]
    Path("BTCUSDT-trades-1.csv").write_text("\n".join(rows))
    archive("DOGEUSDT-trades-1.csv", [1, 2], [START_US, START_US])
    told = replay(ONE, "BTCUSDT-trades-1.csv", "DOGEUSDT-trades-1.csv")
    assert (
        "(left out: 3 rejected for an impossible value: 1 price, 1 quantity, 1 time; 1 duplicates; 1 with "
        "the id of another trade; "
        "2 foreign (other symbols or events))"
    ) in told
    assert "left out, not in the configuration: DOGEUSDT" in told
    assert "left out, bars that are unfinished at the recordings' end: 1 (1 of 1m)" in told
    assert "not in order (BTCUSDT-trades-1.csv: the ids of BTCUSDT go back): sorting 100 trades first" in told


def test_trades_without_ids_are_numbered_and_not_mixed_with_others(replay: Replay, tmp_path: Path) -> None:
    trades = by_time(walk(60), walk(60, 1))
    write(tmp_path / "without.csv", trades.rows(slice(None, None, -1)), ids=False)
    told = replay(PAIR, "without.csv")
    assert "the trades have no ids: numbered 1, 2, 3 … in the order of time, price, quantity and side" in told
    assert "replayed: 120 trades" in told and "0 gaps" in told
    write(tmp_path / "with.csv", walk(60))
    refused = "without.csv: its trades have no ids, but those of with.csv do: replay them separately"
    assert refused in replay(PAIR, "with.csv", "without.csv", code=1)


def test_ids_that_start_anew_are_one_line_before_anything_is_written(
    replay: Replay, database: Endpoint, tmp_path: Path
) -> None:
    write(tmp_path / "a.csv", walk(100))
    write(tmp_path / "b.csv", walk(100, start_us=START_US + 24 * HOUR_US))
    assert "AAAUSDT: ids and times are in different orders" in replay(PAIR, "a.csv", "b.csv", code=1)
    assert exported(database, tmp_path)["trades"].count("\n") == 1


def exported(endpoint: Endpoint, directory: Path) -> dict[str, str]:
    for table in TABLES:
        export(endpoint, table, "csv", str(directory / f"{table}-out.csv"))
    return {table: (directory / f"{table}-out.csv").read_text() for table in TABLES}


@pytest.mark.usefixtures("logins")
def test_the_same_rows_in_any_order_give_the_same_tables_byte_for_byte(
    database: Endpoint, tmp_path: Path
) -> None:
    """Once, rows with the newest first were nearly all lost without a message.

    Rows sorted by symbol gave signals that were `complete` but had no hedge ratio.
    """
    (tmp_path / "pipeline.yaml").write_text(PAIR + WHERE.format(database))
    trades = by_time(walk(3_000, step_us=50_000), walk(1_500, 1, start_us=START_US + 5_000, step_us=100_000))
    n = len(trades)
    write(tmp_path / "by-time.csv", trades)
    write(tmp_path / "newest-first.csv", trades.rows(slice(None, None, -1)))
    write(tmp_path / "later.parquet", trades.rows(trades.symbol == 1))
    write(
        tmp_path / "first.ndjson.gz",
        trades.rows(np.flatnonzero(trades.symbol == 0)[np.random.default_rng(1).permutation(3_000)]),
    )
    found = []
    for files in (["by-time.csv"], ["newest-first.csv"], ["later.parquet", "first.ndjson.gz"]):
        assert f"replayed: {n:,} trades" in pairflow(tmp_path, "replay", *files)
        found.append(exported(database, tmp_path))
        emptied(database)
    assert found[0] == found[1] == found[2]
    assert all(text.count("\n") > 1 for text in found[0].values())
    unmeasured = re.findall(r"(?m)^[^,]*,AAAUSDT-BBBUSDT,1s,ols,,", found[0]["signals"])
    assert len(unmeasured) == 59, "only until the window is full"


HALTED = """
import sys, time
from flows.command.cli import main
from flows.replay import sort
sort.RUN, sort.IN_MEMORY = 64, 1_000
order = sort.Sorter.order

def halted(sorter, progress):
    order(sorter, progress)
    print("sorted", file=sys.stderr, flush=True)
    time.sleep(600)

sort.Sorter.order = halted
sys.exit(main(["replay", "--dir", "db", "r.csv"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sort_that_is_interrupted_or_killed_leaves_nothing(tmp_path: Path, number: int) -> None:
    (tmp_path / "pipeline.yaml").write_text(PAIR)
    write(tmp_path / "r.csv", walk(1_000).rows(slice(None, None, -1)))
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", HALTED]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line == "sorted\n":  # all trades are in the temporary files
                break
        run.send_signal(number)
        said = run.stderr.read()
    assert sorted(tmp_path.iterdir()) == before
    assert run.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert (
        number == signal.SIGKILL
        or said.splitlines()[-1] == "pairflow: interrupted; nothing is left half-written"
    )
