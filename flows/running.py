"""A dataflow from start to stop: recovery store, signals, progress, errors."""

import fcntl
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
from bytewax._bytewax import cluster_main, run_main
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from numba.core.dispatcher import Dispatcher

from flows.columns import Rows
from flows.config import Settings, differences, settings_fingerprint
from flows.errors import UserError
from flows.fatal import end, tell
from flows.recovery import forget_uncommitted, naming_failures
from flows.source import Stop, write_durably

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
STATE_VERSION: Final = 2  # of what the operators pickle: raised with every change of it
FINGERPRINT: Final = "fingerprint.json"
SIMULATED: Final = "-simulated"
LOCK: Final = "run.lock"
LOCK_S: Final = 1.0  # `pairflow check` holds it for an instant
LOOK_S: Final = 0.05
COMPILING_LOOK_S: Final = 0.5
COMPILING: Final = "compiling the numerical kernels: once on a machine, about a minute"


def execute(flow: Dataflow, *, recovery: RecoveryConfig | None, every: timedelta, workers: int = 1) -> None:
    """Run the flow until its source ends."""
    with ExitStack() as stack:
        if recovery is not None:
            store = Path(recovery.db_dir)
            forget_uncommitted(store)
            stack.enter_context(naming_failures(store))
        if workers == 1:
            run_main(flow, epoch_interval=every, recovery_config=recovery)
        else:
            cluster_main(flow, [], 0, epoch_interval=every, recovery_config=recovery, worker_count_per_proc=workers)


def open_recovery(settings: Settings) -> RecoveryConfig | None:
    """The recovery store of these settings, made when there is none; refused when it is of others."""
    directory = settings.recovery.dir
    if directory is None:
        return None
    kept = compare_recovery(settings)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not kept:
            init_db_dir(directory, 1)
        write_durably(directory / FINGERPRINT, json.dumps(fingerprint(settings), indent=1))
    except (OSError, ValueError) as error:
        raise _unusable(directory, error) from None
    return RecoveryConfig(str(directory))


def compare_recovery(settings: Settings) -> bool:
    """Whether there is a recovery store of these settings; one of others is refused. Only reads."""
    directory = settings.recovery.dir
    if directory is None:
        return False
    kept = directory / FINGERPRINT
    try:
        store = any(directory.glob("part-*.sqlite3"))
        if kept.exists():
            _refuse_other(directory, json.loads(kept.read_text()), fingerprint(settings))
        elif store:
            raise UserError(f"recovery: {directory}: a recovery store without {FINGERPRINT}; start anew with `pairflow run --fresh`")
    except (OSError, ValueError) as error:
        raise _unusable(directory, error) from None
    return store


def _unusable(directory: Path, error: Exception) -> UserError:
    return UserError(f"recovery: {directory}: {error}; give recovery.dir a directory that can be written, or start with --fresh")


@contextmanager
def own_recovery(settings: Settings) -> Iterator[None]:
    """Hold the recovery directory for the length of the block; refused while another run does. The operating system lets go of it with the process."""
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
    return UserError(f"recovery: {directory}: another run is under way on it; stop that one, or give this one a recovery.dir of its own")


def _lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_other(directory: Path, kept: dict[str, Any], mine: dict[str, Any]) -> None:
    if kept == mine:
        return
    found = differences(kept.get("settings", {}), mine["settings"])
    if kept.get("steps") != mine["steps"] or kept.get("version") != mine["version"]:
        found.append("this version of Pairflow keeps other state")
    raise UserError(
        f"recovery: {directory} is of another configuration ({'; '.join(found)}); go back to it, or start anew with `pairflow run --fresh`"
    )


def forget_recovery(settings: Settings) -> None:
    """Delete the recovery store: the next start begins at the newest trade."""
    directory = settings.recovery.dir
    if directory is not None and directory.exists():
        for path in [*directory.glob("part-*.sqlite3*"), *directory.glob("*.json")]:
            path.unlink()


def of_its_own(settings: Settings) -> Settings:
    """The settings, but for a simulated market: that is another one each time, so without recovery, and in a database beside the real trades'."""
    if settings.source.exchange != "simulated":
        return settings
    database = settings.questdb
    if not database.embedded:
        raise UserError(
            f"source.exchange: simulated trades would come among the real ones at {database.host}: set questdb.embedded: true, "
            "or source.exchange: binance"
        )
    return msgspec.structs.replace(
        settings,
        questdb=msgspec.structs.replace(database, dir=database.dir.with_name(f"{database.dir.name}{SIMULATED}")),
        recovery=msgspec.structs.replace(settings.recovery, dir=None),
    )


def fingerprint(settings: Settings) -> dict[str, Any]:
    """What the recovery store depends on, as JSON."""
    mine = {"version": STATE_VERSION, "steps": list(STEPS), "settings": settings_fingerprint(settings)}
    return json.loads(json.dumps(mine))


@contextmanager
def stopping_on_signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM end the source; what is under way is drained, written and snapshotted. The second one ends the process at once."""
    came = False

    def handler(number: int, _frame: object) -> None:
        nonlocal came
        if came:
            end("pairflow: ended at once: what was under way is not written; the next run resumes before it")
        came = True
        stop.set()
        tell(f"{signal.Signals(number).name}: stopping; writing what is under way")

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def telling_of_compiling(say: Callable[[str], None]) -> Iterator[None]:
    """Say, should a kernel have to be compiled in the block, that this happens once on a machine and takes a while."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(COMPILING_LOOK_S):
            if _compiled():
                say(COMPILING)
                return

    thread = threading.Thread(target=look, name="compiling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _compiled() -> bool:
    """Whether this process has compiled a kernel of ours that was not in numba's cache."""
    ours = [module for name, module in list(sys.modules.items()) if name.startswith(("operators.", "flows.")) and module is not None]
    return any(
        sum(kernel.stats.cache_misses.values()) for module in ours for kernel in vars(module).values() if isinstance(kernel, Dispatcher)
    )


class Tally:
    """Rows written, by table; a thread says now and then how things go."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.episodes, self.last_episode = 0, ""

    def count(self, rows: Rows) -> None:
        self.rows[rows.table] += len(rows)
        if rows.table == "alerts":
            self._note_episodes(dict(rows.columns))

    def _note_episodes(self, alerts: dict[str, Any]) -> None:
        opened = np.flatnonzero(alerts["active"] & (alerts["episode"] == alerts["ts"]))
        if len(opened):
            self.episodes += len(opened)
            last = int(opened[-1])
            rule, subject, timeframe = (alerts[name].names[alerts[name].codes[last]] for name in ("rule", "subject", "timeframe"))
            at = np.datetime64(int(alerts["ts"][last]), "us").astype("datetime64[s]")
            self.last_episode = f", the last: {rule} {subject} {timeframe} {alerts['value'][last]:.2f} at {at}Z"

    @contextmanager
    def reported(self, say: Callable[[str], None], every_s: float) -> Iterator[None]:
        ended = threading.Event()

        def report() -> None:
            before = 0
            while not ended.wait(every_s):
                trades = self.rows["trades"]
                say(f"{(trades - before) / every_s:,.0f} trades/s · {self.summary()} · {self.episodes} alert episodes{self.last_episode}")
                before = trades

        thread = threading.Thread(target=report, name="report", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def summary(self) -> str:
        return " · ".join(f"{self.rows[table]:,} {table}" for table in ("trades", "bars", "signals", "cointegration", "gaps"))
