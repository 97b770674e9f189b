"""Bytewax's recovery store: what a crash leaves in it, and damage. Only this file knows its SQLite schema."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from flows.errors import UserError

FIRST_IDS: Final = "first_ids.json"  # the end of a file name: where each symbol of a partition began
PARTS: Final = "part-*.sqlite3"
TABLES: Final = ("parts", "exs", "fronts", "commits", "snaps")


def forget_uncommitted(directory: Path) -> None:
    """Delete the states of epochs that were never committed.

    Bytewax resumes at the first epoch that is not committed, E, and reads the states of epochs before E. It
    does not delete states of E itself, which a crash may have left. A key without input during the repeated E
    would keep that later state, and once E is committed, a second crash would resume from it, while the
    source resumes further back. Bars would then count trades twice, and rows would be missing.
    """
    for path in sorted(directory.glob(PARTS)):
        try:
            with closing(sqlite3.connect(path)) as store:
                damage = store.execute("PRAGMA quick_check(1)").fetchone()[0]
                if damage != "ok":
                    raise sqlite3.DatabaseError(damage)
                first = _first_uncommitted(store)
                if first is not None:
                    store.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (first,))
                    store.commit()
        except sqlite3.OperationalError as error:
            raise UserError(
                f"recovery: {path}: {error}; see to the cause, then start again: nothing is lost"
            ) from None
        except sqlite3.Error as error:
            raise damaged(path, " ".join(str(error).split())) from None


def _first_uncommitted(store: sqlite3.Connection) -> int | None:
    """The epoch at which the next execution resumes.

    None before the first epoch, and if only some of several workers have reached it.
    """
    last = store.execute(
        "SELECT ex_num, worker_count, resume_epoch FROM exs ORDER BY ex_num DESC LIMIT 1"
    ).fetchone()
    if last is None:
        return None
    number, workers, resumed = last
    known, frontier = store.execute(
        "SELECT count(*), min(worker_frontier) FROM fronts WHERE ex_num = ?", (number,)
    ).fetchone()
    if 0 < known < workers:
        return None
    return int(frontier if known else resumed)


def epochs(part: Path) -> int:
    """How many workers have reached an epoch; 0 before the first one. Only reads.

    Raises UserError if the store is damaged.
    """
    if part.stat().st_size == 0:
        raise damaged(part, "it is empty")
    # Without a write-ahead log next to it the store was closed; `immutable` then creates none.
    mode = "mode=ro" if part.with_name(f"{part.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?{mode}", uri=True)) as store:
            for (found,) in store.execute("PRAGMA quick_check(1)"):
                if found != "ok":
                    raise damaged(part, " ".join(found.split()))
            has = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if lacking := [table for table in TABLES if table not in has]:
                raise damaged(part, f"it has no table {lacking[0]}")
            if not store.execute("SELECT count(*) FROM parts").fetchone()[0]:
                raise damaged(part, "its table parts is empty")
            return int(store.execute("SELECT count(*) FROM fronts").fetchone()[0])
    except sqlite3.Error as error:
        raise damaged(part, str(error)) from None


def damaged(path: Path, why: str) -> UserError:
    return UserError(f"recovery: {path} is damaged ({why}): start anew with `pairflow run --fresh`")


def write_durably(path: Path, text: str) -> None:
    """Replace the file's content; after a crash it is either the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
