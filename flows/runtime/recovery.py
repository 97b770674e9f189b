"""Bytewax's recovery store, where it needs a hand, and the files of the recovery directory.

What a crash left half done is forgotten before the next start, and damage is named.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from flows.errors import UserError

FIRST_IDS: Final = "first_ids.json"  # where each symbol of a partition began


def forget_uncommitted(directory: Path) -> None:
    """Delete the states of epochs that were never committed.

    Bytewax resumes at the first epoch that is not committed, E, and reads states of epochs before E. States
    of E itself, which a crash left behind, stay: a key that nothing wakes during the repeated E keeps that
    state from the future, and once E is committed a second crash resumes from it, with a source that is not
    as far. Bars then count trades twice, and rows are missing.
    """
    for path in sorted(directory.glob("part-*.sqlite3")):
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
    """The epoch at which the next execution resumes; None before the first one, and where only some of
    several workers got as far as one.
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


def damaged(path: Path, why: str) -> UserError:
    return UserError(f"recovery: {path} is damaged ({why}): start anew with `pairflow run --fresh`")


def write_durably(path: Path, text: str) -> None:
    """Replace the file's content so that after a crash it is the old or the new one, whole."""
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
