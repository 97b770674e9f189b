"""The same trades give the same tables in any order, divided into any files, and in any format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.database.columns import Rows
from flows.database.sink import PARTITION
from flows.feed.frames import Frames, join
from flows.pipeline import pipeline
from flows.replay import sort
from flows.replay.recordings import Recording, symbols_in
from flows.replay.source import RecordingSource
from flows.runtime.stop import Stop
from flows.settings.decoding import load
from flows.settings.model import Settings
from tests.flows.replay.recorded import START_US, SYMBOLS, by_time, of, same, write
from tests.simulation.database import Database, as_tuples
from tests.simulation.loop import Loop

CONFIGURATION = """
bars: {timeframes: [1s, 5s]}
defaults:
  timeframes: [1s, 5s]
  hedge: {window: 20}
  zscore: {window: 10}
  correlation: {window: 5}
  adf: {window: 30, every: 5}
pairs: [[AAAUSDT, BBBUSDT]]
alerts: [{name: z, metric: zscore, outside: 1.5, exit: 0.5, timeframes: [1s]}]
"""


class Store(StatefulSinkPartition[Rows, None]):
    def __init__(self, database: Database) -> None:
        self._database = database

    def write_batch(self, values: list[Rows]) -> None:
        for rows in values:
            # the database holds rows by key, and refuses a row that changes
            self._database.apply(rows.table, as_tuples(rows))

    def snapshot(self) -> None:
        return None


class Stores(FixedPartitionedSink[Rows, None]):
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_parts(self) -> list[str]:
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> Store:
        return Store(self._database)


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("configured") / "pipeline.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {})


def tables(configured: Settings, batches: Any) -> dict[str, list[tuple[Any, ...]]]:
    """What is in the database after a replay, by table, sorted."""
    database = Database()
    loop = Loop(
        pipeline(configured, RecordingSource(configured, batches, Stop()), Stores(database)),
        None,
        lambda step_id, items: None,
    )
    with pytest.raises(StopIteration):
        while True:
            loop.turn()
    return {
        name: sorted(map(repr, rows.values())) for name, rows in database.tables.items() if name != "health"
    }  # type: ignore[misc]


@st.composite
def markets(draw: st.DrawFn) -> Frames:
    """Trades of two symbols by time, with equal milliseconds, times that go back, lost ids and pauses."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for code in range(2):
        n = draw(st.integers(2, 100))
        steps = rng.choice([0, 0, 1_000, 200_000, 900_000], n)
        if draw(st.booleans()):
            steps[rng.integers(1, n)] += draw(st.sampled_from([20_000_000, 90_000_000]))
        ts = START_US + int(rng.integers(0, 5_000_000)) // 1_000 * 1_000 + np.cumsum(steps)
        ts -= np.where(rng.random(n) < draw(st.sampled_from([0.0, 0.05])), 2_000, 0)
        ids = int(rng.integers(0, 1_000)) + np.cumsum(
            np.where(rng.random(n) < draw(st.sampled_from([0.0, 0.1])), 3, 1)
        )
        parts.append(of([code] * n, ids.tolist(), ts.tolist(), int(rng.integers(100))))
    return join(parts, 2)


def canonical(trades: Frames) -> Frames:
    """The order of Pairflow in plain Python: each symbol by id, the symbols by the newest time so far."""
    keyed, newest = [], {}
    for k in sorted(range(len(trades)), key=lambda k: (trades.symbol[k], trades.id[k])):
        symbol = int(trades.symbol[k])
        newest[symbol] = max(newest.get(symbol, 0), int(trades.ts[k]))
        keyed.append((newest[symbol], symbol, int(trades.id[k]), k))
    return trades.rows([k for *_, k in sorted(keyed)])


def reordered(trades: Frames, how: str, rng: np.random.Generator) -> Frames:
    n, whole = len(trades), canonical(trades)
    blocks = np.array_split(np.arange(n), max(n // 20, 1))
    orders: dict[str, np.ndarray] = {
        "by time": np.arange(n),
        "newest first": np.arange(n)[::-1],
        "later half first": np.roll(np.arange(n), n // 2),
        "blocks, newest first": np.concatenate(blocks[::-1]),
        "by symbol": np.argsort(whole.symbol, kind="stable"),
        "shuffled": rng.permutation(n),
        "some twice": np.sort(np.concatenate((np.arange(n), rng.integers(0, n, 5)))),
    }
    return whole.rows(orders[how])


ORDERS = (
    "by time",
    "newest first",
    "later half first",
    "blocks, newest first",
    "by symbol",
    "shuffled",
    "some twice",
)


def files_of(
    trades: Frames, directory: Path, cuts: Sequence[int], formats: Sequence[str], scattered: bool
) -> list[Path]:
    """The rows in files: cut into pieces, or each row in a random file."""
    of_file = np.searchsorted(sorted(cuts), np.arange(len(trades)), side="right")
    if scattered:
        of_file = np.random.default_rng(len(trades)).permutation(of_file)
    parts = [trades.rows(of_file == k) for k in range(len(cuts) + 1)]
    return [
        write(directory / f"{k}{formats[k % len(formats)]}", part)
        for k, part in enumerate(parts)
        if len(part)
    ]


@settings(deadline=None, max_examples=20)
@given(
    trades=markets(),
    how=st.sampled_from(ORDERS),
    cuts=st.lists(st.integers(1, 300), max_size=4),
    formats=st.lists(st.sampled_from([".csv", ".parquet", ".ndjson", ".ndjson.gz"]), min_size=1, max_size=3),
    scattered=st.booleans(),
    backwards=st.booleans(),
    run=st.sampled_from([16, 1 << 19]),
)
def test_the_same_trades_give_the_same_tables(
    configured: Settings,
    tmp_path_factory: pytest.TempPathFactory,
    trades: Frames,
    how: str,
    cuts: list[int],
    formats: list[str],
    scattered: bool,
    backwards: bool,
    run: int,
) -> None:
    expected = canonical(trades)
    rows = reordered(trades, how, np.random.default_rng(len(trades)))
    paths = files_of(rows, tmp_path_factory.mktemp("files"), cuts, formats, scattered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sort, "RUN", run)
        patch.setattr(sort, "IN_MEMORY", 500 if run == 16 else sort.IN_MEMORY)
        look = symbols_in(paths[::-1] if backwards else paths)
        batches = list(Recording(look, configured.symbols))
        assert same(canonical(join(batches, 2)), expected)
        found = tables(configured, batches)
    reference = tables(configured, [expected])
    for name, rows_of_table in reference.items():
        assert found[name] == rows_of_table, name
    assert len(reference["trades"]) == len(trades)


def test_a_recording_in_order_is_not_sorted(configured: Settings, tmp_path: Path) -> None:
    trades = by_time(
        of([0] * 90, range(90), [START_US + k * 500_000 for k in range(90)]),
        of([1] * 50, range(50), [START_US + k * 900_000 for k in range(50)]),
    )
    symbol_files = [write(tmp_path / f"{code}.csv", trades.rows(trades.symbol == code)) for code in (0, 1)]
    day_files = [write(tmp_path / f"day{k}.parquet", trades.rows(slice(k * 70, k * 70 + 70))) for k in (0, 1)]
    for paths in (symbol_files, day_files[::-1]):
        told: list[str] = []
        found = join(list(Recording(symbols_in(paths), SYMBOLS, say=told.append)), 2)
        assert same(canonical(found), trades) and told == []


@given(trades=markets(), seed=st.integers(0, 1_000), cuts=st.lists(st.integers(1, 300), max_size=3))
@settings(deadline=None, max_examples=25)
def test_trades_without_ids_are_numbered_alike_however_they_are_cut(
    configured: Settings, tmp_path_factory: pytest.TempPathFactory, trades: Frames, seed: int, cuts: list[int]
) -> None:
    rows = trades.rows(np.random.default_rng(seed).permutation(len(trades)))
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    whole = write(one / "all.csv", trades, ids=False)
    of_file = np.searchsorted(sorted(cuts), np.arange(len(rows)), side="right")
    parts = [
        write(many / f"{k}.csv", rows.rows(of_file == k), ids=False)
        for k in range(len(cuts) + 1)
        if (of_file == k).any()
    ]
    found = [join(list(Recording(symbols_in(paths), SYMBOLS)), 2) for paths in ([whole], parts)]
    assert same(*map(canonical, found))
    for code in range(2):
        assert found[0].id[found[0].symbol == code].tolist() == list(
            range(1, int((trades.symbol == code).sum()) + 1)
        )
