"""States of uncommitted epochs are deleted, so that a second crash does not resume from them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from flows.errors import UserError
from flows.runtime.recovery import forget_uncommitted


@pytest.fixture
def store(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 1)
    with closing(sqlite3.connect(tmp_path / "part-0.sqlite3")) as db:
        db.executemany(
            "INSERT INTO snaps (step_id, state_key, snap_epoch) VALUES ('bars', 'k', ?)",
            [(4,), (5,), (6,), (7,)],
        )
        db.commit()
    return tmp_path


def epochs(store: Path) -> list[int]:
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as db:
        return [epoch for (epoch,) in db.execute("SELECT snap_epoch FROM snaps ORDER BY snap_epoch")]


def ran(store: Path, resumed: int, fronts: list[int], workers: int = 1, number: int = 0) -> None:
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as db:
        db.execute(
            "INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (?, ?, ?)",
            (number, workers, resumed),
        )
        for worker, frontier in enumerate(fronts):
            db.execute(
                "INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, ?, ?)",
                (number, worker, frontier),
            )
        db.commit()


@pytest.mark.parametrize(
    ("resumed", "fronts", "workers", "kept"),
    [(1, [6], 1, [4, 5]), (5, [], 1, [4]), (1, [7, 6], 2, [4, 5]), (5, [7], 2, [4, 5, 6, 7])],
    ids=[
        "at the frontier",
        "died before its first epoch",
        "the slowest worker",
        "one of two died before its first epoch",
    ],
)
def test_states_of_the_resumed_epoch_and_later_are_forgotten(
    store: Path, resumed: int, fronts: list[int], workers: int, kept: list[int]
) -> None:
    ran(store, resumed, fronts, workers)
    forget_uncommitted(store)
    assert epochs(store) == kept


def test_only_the_last_execution_counts(store: Path) -> None:
    ran(store, 1, [5])
    ran(store, 5, [7], number=1)
    forget_uncommitted(store)
    assert epochs(store) == [4, 5, 6]


def test_a_store_that_was_never_used_is_left_alone(store: Path) -> None:
    forget_uncommitted(store)
    assert epochs(store) == [4, 5, 6, 7]


def test_damage_is_named(store: Path) -> None:
    (store / "part-0.sqlite3").write_bytes(b"\xa5" * 8192)
    with pytest.raises(UserError, match=r"part-0\.sqlite3 is damaged \(file is not a database\): .*--fresh"):
        forget_uncommitted(store)
