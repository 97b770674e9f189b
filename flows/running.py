"""A dataflow from start to stop: recovery store, signals, progress, errors."""

import contextlib
import json
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from bytewax._bytewax import cluster_main, run_main
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir

from flows.columns import Rows
from flows.config import Settings, differences, settings_fingerprint
from flows.errors import UserError
from flows.recovery import forget_uncommitted, naming_failures
from flows.source import Stop, write_durably

log = logging.getLogger(__name__)

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
STATE_VERSION: Final = 1  # of what the operators pickle: raised with every change of it
FINGERPRINT: Final = "fingerprint.json"


def execute(flow: Dataflow, *, recovery: RecoveryConfig | None, every: timedelta, workers: int = 1) -> None:
    """Run the flow until its source ends."""
    with contextlib.ExitStack() as stack:
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
    mine = fingerprint(settings)
    kept = directory / FINGERPRINT
    try:
        if kept.exists():
            _refuse_other(directory, json.loads(kept.read_text()), mine)
        elif any(directory.glob("part-*.sqlite3")):
            raise UserError(f"recovery: {directory}: a recovery store without {FINGERPRINT}; start anew with `pairflow run --fresh`")
        directory.mkdir(parents=True, exist_ok=True)
        if not any(directory.glob("part-*.sqlite3")):
            init_db_dir(directory, 1)
        write_durably(kept, json.dumps(mine, indent=1))
    except (OSError, ValueError) as error:
        raise UserError(
            f"recovery: {directory}: {error}; give recovery.dir a directory that can be written, or start with --fresh"
        ) from None
    return RecoveryConfig(str(directory))


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


def fingerprint(settings: Settings) -> dict[str, Any]:
    """What the recovery store depends on, as JSON."""
    mine = {"version": STATE_VERSION, "steps": list(STEPS), "settings": settings_fingerprint(settings)}
    return json.loads(json.dumps(mine))


@contextmanager
def stopping_on_signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM end the source; what is under way is drained, written and snapshotted."""

    def handler(number: int, _frame: object) -> None:
        if not stop:
            log.warning("%s: stopping; writing what is under way", signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


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
