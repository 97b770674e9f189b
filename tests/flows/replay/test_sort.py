import re
import resource
import signal
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.feed.frames import Frames, join
from flows.replay import sort
from flows.replay.packed import pack, unpack
from flows.replay.sort import Sorter, refuse_without_room, room
from tests.flows.replay.recorded import SECOND_US, START_US, SYMBOLS, by_time, of, same, walk


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sort runs of 64 trades, with little memory and few trades read at once, as it is with millions."""
    monkeypatch.setattr(sort, "RUN", 64)
    monkeypatch.setattr(sort, "IN_MEMORY", 1_000)
    monkeypatch.setattr(sort, "BUFFERED", 2_000)
    monkeypatch.setattr(sort, "LEAST_READ", 3)


def in_order(trades: Frames, directory: Path, numbered: bool = False, size: int = 17) -> Frames:
    sorter = Sorter(SYMBOLS, directory, numbered)
    for k in range(0, len(trades), size):
        sorter.add(pack(trades.rows(slice(k, k + size))))
    sorter.order()
    return join([unpack(part, len(SYMBOLS)) for part in sorter.in_turn()], len(SYMBOLS))


@settings(deadline=None)
@given(st.data())
def test_trades_in_any_order_come_out_by_id_and_time(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    n, m = data.draw(st.integers(1, 400)), data.draw(st.integers(0, 200))
    trades = by_time(walk(n, step_us=700_000), walk(m, 1, step_us=1_300_000))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    order = rng.permutation(len(trades))
    doubled = rng.integers(0, len(trades), data.draw(st.integers(0, 30)))
    shuffled = trades.rows(np.concatenate((order, doubled)))
    assert same(in_order(shuffled, tmp_path_factory.getbasetemp()), trades)


def test_within_one_time_symbols_come_by_code_and_trades_by_id(tmp_path: Path) -> None:
    trades = of([0, 0, 0, 1, 1, 0], [1, 2, 3, 7, 8, 4], [START_US] * 5 + [START_US + 1])
    assert same(in_order(trades.rows([5, 4, 2, 3, 1, 0]), tmp_path), trades)


def test_a_trade_whose_time_goes_back_stays_behind_that_of_the_id_before(tmp_path: Path) -> None:
    trades = of([0, 0, 1, 0], [1, 2, 5, 3], [START_US, START_US + 900, START_US + 950, START_US + 100])
    assert in_order(trades, tmp_path).id.tolist() == [1, 2, 3, 5]


def test_trades_without_ids_are_numbered_by_time_price_quantity_and_side(tmp_path: Path) -> None:
    trades = walk(300, step_us=500_000)
    trades.ts[100:200] = trades.ts[100]  # with the same time
    found = in_order(trades.rows(np.random.default_rng(2).permutation(300)), tmp_path, numbered=True)
    rows = sorted(
        zip(
            trades.ts.tolist(),
            trades.price.tolist(),
            trades.qty.tolist(),
            trades.is_buyer_maker.tolist(),
            strict=True,
        )
    )
    assert found.id.tolist() == list(range(1, 301))
    assert (
        list(
            zip(
                found.ts.tolist(),
                found.price.tolist(),
                found.qty.tolist(),
                found.is_buyer_maker.tolist(),
                strict=True,
            )
        )
        == rows
    )


def test_trades_without_ids_that_are_equal_are_as_many_as_they_are(tmp_path: Path) -> None:
    trades = of([0] * 200, [5] * 200, [START_US] * 200)
    assert len(in_order(trades, tmp_path, numbered=True)) == 200


def test_it_says_what_it_left_out_and_from_when_to_when_the_others_are(tmp_path: Path) -> None:
    trades = walk(300)
    trades.ts[150] += 86_400 * SECOND_US
    sorter = Sorter(SYMBOLS, tmp_path)
    sorter.add(pack(join([trades, trades.rows([3, 4])], 2)))
    seen: list[tuple[int, int]] = []
    sorter.order(lambda done, total: seen.append((done, total)))
    assert (
        +sorter.left_out == {"time": 1, "duplicate": 2}
        and sorter.rejected.tolist() == [1, 0]
        and len(sorter) == 299
    )
    assert (sorter.first_us, sorter.last_us) == (START_US, START_US + 299 * SECOND_US)
    assert seen == sorted(seen) and all(done <= total == 302 for done, total in seen)


def test_the_temporary_files_have_no_name_so_that_none_is_left_however_the_process_ends(
    tmp_path: Path,
) -> None:
    sorter = Sorter(SYMBOLS, tmp_path)
    sorter.add(pack(walk(2_000)))
    assert list(tmp_path.iterdir()) == []
    sorter.order()
    parts = sorter.in_turn()
    next(parts)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 20 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(
        UserError, match=rf"sorting the trades in {re.escape(str(tmp_path))}: .*: set TMPDIR"
    ) as told:
        in_order(walk(2_000), tmp_path)
    assert "\n" not in str(told.value)


def test_a_disk_without_room_is_told_before_anything_is_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("flows.replay.sort.shutil.disk_usage", lambda path: usage(10**12, 0, 10**9))
    refuse_without_room(tmp_path, 9_000_000)
    with pytest.raises(UserError, match=r"takes 1\.1 GB in .*, 1\.0 GB are free: set TMPDIR"):
        refuse_without_room(tmp_path, 10_000_000)


def test_temporary_files_are_where_tmpdir_says_or_beside_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert room(tmp_path / "not" / "there" / "yet") == tmp_path
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert room(Path("/")) == tmp_path
