"""The command as tests run it: `python -m tests.faults.observed run`. Two variables change what it does.

DIE_AT=PLACE:N kills the process (SIGKILL) right after it has passed a place for the Nth time. Only commits
after new trades are counted, because the number of others depends on how busy the machine is.
NOTES=FILE appends every row that is sent to the database to a file.
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
    "written": (Writer, "_post"),  # the database has acknowledged a request
    # The rows of the epoch are acknowledged, but the recovery store has not committed the epoch.
    COMMIT: (QuestDBPartition, "snapshot"),
    "backfill": (Sequencer, "answer"),  # a page of missing trades has arrived
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
