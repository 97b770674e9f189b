"""Threads that look at the pipeline from beside it: they share the database and the exchange with it, but
hold up nothing.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Self

import psycopg

from flows.database.connection import Endpoint, connect
from flows.errors import UserError
from flows.feed.refusals import Failed
from flows.feed.venue import VenueApi
from flows.retrying import backoff
from flows.settings.model import Settings, Source

log = logging.getLogger(__name__)

STOP_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0  # after a failure; doubled for each that follows
LONGEST_PAUSE_S: Final = 60.0


class Beside:
    """A thread that goes its round again and again. A failure is said once, tried again later, and is nobody
    else's.

    `with` starts and stops it. `api` is its own; in `_round` the thread does what it is there for, and says
    for how many seconds to rest.
    """

    def __init__(self, name: str, endpoint: Endpoint, api: VenueApi) -> None:
        self._name, self._endpoint, self._api = name, endpoint, api
        self._ended = threading.Event()
        self._failing: dict[str, bool] = {}  # what fails, and whether that was said
        self._answered = True  # the last question to the exchange
        self._database: Any = None
        # a daemon: a server that hangs may hold it longer
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._api.stop(self._thread, STOP_S)

    def _round(self) -> float:
        raise NotImplementedError

    def _lost(self) -> None:
        """Called when the database did not answer."""

    def _connection(self) -> Any:
        if self._database is None:
            self._database = connect(self._endpoint)
        return self._database

    def _run(self) -> None:
        failures = 0
        while not self._ended.is_set():
            try:
                pause_s = self._round()
                failures = 0
                self._succeed("database")
            except (UserError, psycopg.Error, OSError) as error:
                self._disconnect()
                self._lost()
                self._fail(
                    "database", str(error).strip().splitlines()[0] if str(error) else type(error).__name__
                )
                pause_s = backoff(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)
                failures += 1
            except Exception as error:  # a thread that died would leave its numbers standing without a word
                self._disconnect()
                self._fail(
                    repr(error), f"{error!r}, which should not happen; please report this", exc_info=True
                )
                pause_s = LONGEST_PAUSE_S
            self._ended.wait(pause_s)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _asked(self, question: Callable[[], Any], what: str) -> Any:
        """The exchange's answer, or None when it has none now. When it is away, only the first of many
        questions is lamented.
        """
        try:
            answer = question()
        except Failed as error:
            self._fail(what, f"{what}: {self._api.base_url}: {error}", loud=self._answered)
            self._answered = False
            return None
        self._answered = True
        self._succeed(what)
        return answer

    def _fail(self, what: str, why: str, loud: bool = True, exc_info: bool = False) -> None:
        if what not in self._failing:
            self._failing[what] = loud
            if loud and not self._ended.is_set():
                log.warning("%s: %s; trying again", self._name, why, exc_info=exc_info)

    def _succeed(self, what: str) -> None:
        if self._failing.pop(what, False):
            log.info("%s: %s: answered again", self._name, what)


def named(name: str, settings: Settings, source: Source) -> str:
    """A watcher's name in messages: with its exchange where there are several."""
    return name if len(settings.sources) == 1 else f"{name} {source.exchange}"
