"""Counts the rows that are written, and reports them while a run goes on."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flows.database.columns import Rows


class Tally:
    """Counts of the rows written, by table, and of alert episodes."""

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
            rule, subject, timeframe = (
                alerts[name].names[alerts[name].codes[last]] for name in ("rule", "subject", "timeframe")
            )
            at = np.datetime64(int(alerts["ts"][last]), "us").astype("datetime64[s]")
            self.last_episode = (
                f", the last: {rule} {subject} {timeframe} {alerts['value'][last]:.2f} at {at}Z"
            )

    @contextmanager
    def reported(self, say: Callable[[str], None], every_s: float) -> Iterator[None]:
        """While the block runs, a thread reports the counts every so many seconds."""
        ended = threading.Event()

        def report() -> None:
            before = 0
            while not ended.wait(every_s):
                trades = self.rows["trades"]
                say(
                    f"{(trades - before) / every_s:,.0f} trades/s · {self.summary()} · {self.episodes} "
                    f"alert episodes{self.last_episode}"
                )
                before = trades

        thread = threading.Thread(target=report, name="report", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def summary(self) -> str:
        return " · ".join(
            f"{self.rows[table]:,} {table}"
            for table in ("trades", "bars", "signals", "cointegration", "gaps")
        )
