"""Runs a dataflow, and decides whether its recovery store is the one of these settings."""

import fcntl
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
    init_db_dir,
)
from bytewax.testing import cluster_main, run_main

from flows.errors import UserError
from flows.runtime.fatal import held_stderr
from flows.runtime.recovery import FIRST_IDS, PARTS, damaged, epochs, forget_uncommitted, write_durably
from flows.settings.fingerprint import differences, settings_fingerprint
from flows.settings.model import Settings

STEPS: Final = (
    "trades",
    "bars",
    "by_timeframe",
    "measures",
    "alerts",
    "feed_rows",
    "bar_rows",
    "measure_rows",
    "alert_rows",
    "rows",
    "questdb",
)
STATE_VERSION: Final = 4  # of the state that the operators pickle: raised with every change of it
FINGERPRINT: Final = "fingerprint.json"
# an error of SQLite, as the runtime prints it: its code and its message
SQLITE: Final = re.compile(r'SqliteFailure\(Error \{ code: (\w+)[^}]*\}, (?:Some\("([^"]*)"\)|None)')
NAMED: Final = 3  # differences between two configurations that a message names
SIMULATED_SUFFIX: Final = "-simulated"
LOCK: Final = "run.lock"
LOCK_S: Final = 1.0  # how long to wait for the lock: `pairflow check` holds it for an instant
LOOK_S: Final = 0.05


def execute(flow: Dataflow, *, recovery: RecoveryConfig | None, every: timedelta, workers: int = 1) -> None:
    """Run the flow until its source ends. A failure of the runtime is one line instead of a stack trace."""
    store = "" if recovery is None else str(recovery.db_dir)
    if recovery is not None:
        forget_uncommitted(Path(store))
    with held_stderr() as held:
        try:
            if workers == 1:
                run_main(flow, epoch_interval=every, recovery_config=recovery)
            else:
                cluster_main(
                    flow, [], 0, epoch_interval=every, recovery_config=recovery, worker_count_per_proc=workers
                )
        except (NoPartitionsError, MissingPartitionsError, InconsistentPartitionsError) as error:
            raise damaged(Path(store), str(error)) from None
        except RuntimeError as error:
            if not (found := SQLITE.search(f"{error} {held()}")):
                raise
            why = found[2] or found[1]
            if found[1] in ("DatabaseCorrupt", "NotADatabase"):
                raise damaged(Path(store), why) from None
            raise UserError(
                f"recovery: {store}: the store cannot be written ({why}): make room, then start again: the "
                "run resumes before the failure"
            ) from None


def open_recovery(settings: Settings) -> RecoveryConfig | None:
    """The recovery store of these settings. Creates it if there is none; refuses one of other settings."""
    directory = settings.recovery.dir
    if directory is None:
        return None
    kept = compare_recovery(settings)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not kept:
            for path in directory.glob(f"{PARTS}*"):
                path.unlink()  # a store of another configuration that was never used
            init_db_dir(directory, 1)
        write_durably(directory / FINGERPRINT, json.dumps(fingerprint(settings), indent=1))
    except (OSError, ValueError) as error:
        raise _unusable(directory, error) from None
    return RecoveryConfig(str(directory))


def compare_recovery(settings: Settings) -> bool:
    """Whether there is a recovery store of these settings. Only reads.

    Raises UserError if it is damaged, or if it belongs to other settings and was used.
    """
    directory = settings.recovery.dir
    if directory is None:
        return False
    try:
        parts = sorted(directory.glob(PARTS))
        if not sum(map(epochs, parts)) and not any(directory.glob(f"*.{FIRST_IDS}")):
            # never used: `open_recovery` may create it again
            return _fingerprint_kept(directory) == fingerprint(settings) and bool(parts)
        kept = _fingerprint_kept(directory)
        if kept is None:
            raise UserError(
                f"recovery: {directory}: a recovery store without {FINGERPRINT}; start anew with `pairflow "
                "run --fresh`"
            )
        if kept != fingerprint(settings):
            _refuse_other(directory, kept, fingerprint(settings))
    except (OSError, ValueError) as error:
        raise _unusable(directory, error) from None
    return bool(parts)


def _fingerprint_kept(directory: Path) -> dict[str, Any] | None:
    """The fingerprint that is kept with the store, or None."""
    path = directory / FINGERPRINT
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_bytes())
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("settings"), dict):
        raise damaged(path, "it holds no fingerprint")
    return kept


def _unusable(directory: Path, error: Exception) -> UserError:
    return UserError(
        f"recovery: {directory}: {error}; give recovery.dir a directory that can be written, or start with "
        "--fresh"
    )


@contextmanager
def own_recovery(settings: Settings) -> Iterator[None]:
    """Lock the recovery directory in the block; raises UserError while another run has it.

    The operating system releases the lock when the process ends.
    """
    directory = settings.recovery.dir
    if directory is None:
        yield
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("ab")
    except OSError as error:
        raise _unusable(directory, error) from None
    with lock:
        until = time.monotonic() + LOCK_S
        while not _lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise in_use(directory)
            time.sleep(LOOK_S)
        yield


def refuse_in_use(settings: Settings) -> None:
    """Raise UserError while a run holds the recovery directory. Only reads."""
    directory = settings.recovery.dir
    with suppress(FileNotFoundError, NotADirectoryError):
        if directory is not None:
            with (directory / LOCK).open("rb") as lock:
                if not _lock(lock, fcntl.LOCK_SH):
                    raise in_use(directory)


def in_use(directory: Path) -> UserError:
    return UserError(
        f"recovery: {directory}: another run is under way on it; stop that one, or give this one a "
        "recovery.dir of its own"
    )


def _lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_other(directory: Path, kept: dict[str, Any], mine: dict[str, Any]) -> None:
    found = differences(kept["settings"], mine["settings"])
    if kept.get("steps") != mine["steps"] or kept.get("version") != mine["version"]:
        found.append("this version of Pairflow keeps other state")
    if len(found) > NAMED:
        found[NAMED:] = [f"and {len(found) - NAMED} more"]
    raise UserError(
        f"recovery: {directory} is of another configuration ({'; '.join(found)}); go back to it, or start "
        "anew with `pairflow run --fresh`"
    )


def refuse_unforgettable(settings: Settings) -> None:
    """Raise UserError if a directory has the name of a file that `forget_recovery` deletes. Only reads."""
    for path in _kept(settings):
        if path.is_dir():
            raise UserError(
                f"recovery: {path} is a directory, not a recovery store: move it away, or set another "
                "recovery.dir"
            )


def forget_recovery(settings: Settings) -> None:
    """Delete the recovery store. The next start continues where the database ends, or at the newest trade."""
    for path in _kept(settings):
        try:
            path.unlink()
        except OSError as error:
            raise UserError(
                f"recovery: {path} cannot be deleted ({error.strerror}): move it away, or set another "
                "recovery.dir"
            ) from None


def _kept(settings: Settings) -> list[Path]:
    directory = settings.recovery.dir
    return [] if directory is None else [*directory.glob(f"{PARTS}*"), *directory.glob("*.json")]


def of_its_own(settings: Settings) -> Settings:
    """The settings of a run, in which a simulated market never mixes with real trades.

    It differs on every run: it gets no recovery store and its own database, `<dir>-simulated`.
    """
    if not settings.source.simulated:
        return settings
    database = settings.questdb
    if not database.embedded:
        raise UserError(
            f"source.exchange: simulated trades would come among the real ones at {database.host}: set "
            "questdb.embedded: true, "
            "or source.exchange: binance"
        )
    return msgspec.structs.replace(
        settings,
        questdb=msgspec.structs.replace(
            database, dir=database.dir.with_name(f"{database.dir.name}{SIMULATED_SUFFIX}")
        ),
        recovery=msgspec.structs.replace(settings.recovery, dir=None),
    )


def fingerprint(settings: Settings) -> dict[str, Any]:
    """What the recovery store depends on, as JSON values."""
    mine = {"version": STATE_VERSION, "steps": list(STEPS), "settings": settings_fingerprint(settings)}
    return json.loads(json.dumps(mine))
