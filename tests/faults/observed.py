"""The command as a test has it run: `python -m tests.faults.observed run`, with what the environment asks
for.

DIE_AT=PLACE:N kills the process (SIGKILL) right after the Nth passage of a place; of commits those count that
come after new trades, for how many others there are depends on how busy the machine is. NOTES=FILE appends
every row on its way to the database.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.command.cli import main
from flows.database.sink import QuestDBPartition
from flows.database.writer import Writer
from flows.feed.sequencer import Sequencer

COMMIT = "before the commit"
PLACES: dict[str, tuple[type, str]] = {
    "written": (Writer, "_post"),  # a request is acknowledged
    # the epoch's rows are acknowledged; the recovery store does not know yet
    COMMIT: (QuestDBPartition, "snapshot"),
    "backfill": (Sequencer, "answer"),  # a page of missing trades has come
}


def die_at(place: str, times: int) -> None:
    owner, name = PLACES[place]
    original: Callable[..., Any] = getattr(owner, name)
    fresh: list[int] = []
    write = Writer.write

    def written(self: Writer, many: Any) -> None:
        fresh.extend(len(rows) for rows in many if rows.table == "trades")
        write(self, many)

    Writer.write = written  # type: ignore[method-assign]

    def deadly(*arguments: Any) -> Any:
        nonlocal times
        answer = original(*arguments)
        if place != COMMIT or fresh:
            times -= 1
        fresh.clear()
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, deadly)


def note(path: Path) -> None:
    original = Writer.write
    notes = path.open("ab", buffering=0)

    def noted(self: Writer, many: Any) -> None:
        notes.write(pickle.dumps(list(many)))
        original(self, many)

    Writer.write = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    if "DIE_AT" in os.environ:
        where, _, number = os.environ["DIE_AT"].partition(":")
        die_at(where, int(number))
    if "NOTES" in os.environ:
        note(Path(os.environ["NOTES"]))
    sys.exit(main(sys.argv[1:]))
