"""Rows 40 to 42 on an installed Grafana: what arrives by webhook and by e-mail, while alerts are written as the flow writes them.

The tests stand in an order: the first needs a Grafana and tables that have seen nothing.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from flows.errors import UserError
from flows.questdb import connect, settle
from operators.alerts import ABOVE, AlertStates
from operators.columns import NEVER, SECOND_US
from tests.conftest import emptied
from tests.grafana.installed import HEAR_S, NEEDED, Database, Installed, Post, Told, eventually, grafana_on, post_office
from tests.grafana.rows import bar, insert
from tests.line import Ports

pytestmark = NEEDED
THRESHOLD, EXIT = 2.0, 1.0
PAIRS = ("BTCUSDT-ETHUSDT", "BNBUSDT-SOLUSDT", "XRPUSDT-ADAUSDT", "LTCUSDT-BCHUSDT")
SILENCE_S = 40.0  # longer than a rule's interval, a group's wait and a group's interval together
TICK_S = 1.0


class Line(threading.Thread):
    """Writes bars, and the alert of every pair at its z-score, each second; what cannot be written is written later, in order."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.z: dict[str, Iterator[float]] = {}
        self.trading = True
        self.failed: BaseException | None = None
        self._states: dict[str, AlertStates] = {}
        self._database = database
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._over.wait(TICK_S):
                self.tick(int(time.time()))
                with contextlib.suppress(UserError, psycopg.Error), connect(self._database.endpoint) as connection:
                    while self._waiting:
                        insert(connection, self._waiting[0][0], [self._waiting[0][1]])
                        del self._waiting[0]
        except BaseException as error:
            self.failed = error
            raise

    def tick(self, now: int) -> None:
        if self.trading:
            self._waiting += [("bars", bar(now - 1, symbol, "1s", 100.0, 100.0)) for symbol in ("BTCUSDT", "ETHUSDT")]
        for pair, zs in list(self.z.items()):
            first = pair not in self._states
            states = self._states.setdefault(pair, AlertStates(np.array([ABOVE]), np.array([THRESHOLD]), np.array([EXIT])))
            value, yes = np.array([next(zs)]), np.ones(1, np.bool_)
            rows = states.update(np.zeros(1, np.int64), np.array([now * SECOND_US]), value, yes, ~yes, write=first)
            for ts, z, active, episode in zip(rows.ts, rows.value, rows.active, rows.episode, strict=True):
                numbers = {"value": None if np.isnan(z) else float(z), "threshold": THRESHOLD, "active": bool(active)}
                row = {"ts": ts // SECOND_US, "rule": "z high", "subject": pair, "timeframe": "1s", "priority": "high", "metric": "zscore"}
                row |= numbers | {"episode": None if episode == NEVER else int(episode), "complete": True}
                self._waiting.append(("alerts", row))

    def say(self, pair: str, *zs: float) -> None:
        """From now on the pair's z-score takes these values, one a second, and stays at the last."""
        self.z[pair] = itertools.chain(zs, itertools.repeat(zs[-1]))


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    with post_office() as post:
        yield post


@pytest.fixture(scope="module")
def fresh(server: Database, post: Post, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Iterator[Installed]:
    """A Grafana that has seen nothing, in front of empty tables."""
    emptied(server.endpoint)
    with grafana_on(tmp_path_factory.mktemp("fresh"), server, free_ports) as grafana:
        grafana.start(**post.env())
        yield grafana


@pytest.fixture(scope="module")
def line(fresh: Installed, server: Database) -> Iterator[Line]:
    line = Line(server)
    line.start()
    yield line
    line.stop()
    assert line.failed is None


def silent(post: Post, seconds: float = SILENCE_S) -> list[Told]:
    """What arrives for so long."""
    known = len(post.told)
    time.sleep(seconds)
    return post.told[known:]


def told(post: Post, pair: str) -> dict[str, list[str]]:
    """What was told about a pair, by way: the states in the order they came."""
    return {way: [each.status for each in post.of(pair) if each.way == way] for way in ("webhook", "email")}


def both(*states: str) -> dict[str, list[str]]:
    return {"webhook": list(states), "email": list(states)}


def test_a_cold_start_tells_nobody(fresh: Installed, line: Line, post: Post, server: Database) -> None:
    """Row 40."""
    for pair in PAIRS:
        line.say(pair, float("nan"))
    assert silent(post) == []
    settle(server.endpoint)
    assert server.rows("SELECT count(), count(value), sum(CAST(active AS INT)) FROM alerts WHERE value IS NULL")[0][1:] == (0, 0)
    assert {rule["state"] for rule in fresh.evaluated(time.time()).values()} == {"inactive"}


def test_an_episode_is_told_once_when_it_opens_and_once_when_it_closes(line: Line, post: Post) -> None:
    line.say(PAIRS[0], 0.5, 2.625)
    eventually(lambda: told(post, PAIRS[0]) == both("firing"), HEAR_S)
    for each in post.of(PAIRS[0]):
        assert "z high" in each.about
        assert "2.625" in each.about, each
    assert silent(post) == []
    line.say(PAIRS[0], 0.5)
    eventually(lambda: told(post, PAIRS[0]) == both("firing", "resolved"), 2 * HEAR_S)
    assert silent(post) == []


def test_a_value_that_flaps_at_the_threshold_is_one_episode(line: Line, post: Post) -> None:
    """Row 41."""
    line.say(PAIRS[1], *(1.9, 2.1) * 30, 0.5)
    eventually(lambda: told(post, PAIRS[1]) == both("firing"), HEAR_S)
    eventually(lambda: told(post, PAIRS[1]) == both("firing", "resolved"), 60 + 2 * HEAR_S)
    assert silent(post) == []


@pytest.mark.long
def test_a_database_that_is_away_is_one_alert_and_not_one_for_every_pair(line: Line, post: Post, server: Database) -> None:
    """Row 42."""
    for pair in PAIRS:
        line.say(pair, 3.5)
    eventually(lambda: all(told(post, pair)["email"][-1:] == ["firing"] for pair in PAIRS), 2 * HEAR_S)
    before = len(post.told)
    server.stop()
    try:
        away = silent(post, 180)
    finally:
        server.start()
    assert sorted((each.way, each.status) for each in away) == [("email", "firing"), ("webhook", "firing")]
    assert all("No new bars" in each.about for each in away)
    eventually(lambda: len(post.told) == before + 4, 4 * HEAR_S)
    back = post.told[before + 2 :] + silent(post)
    assert sorted((each.way, each.status) for each in back) == [("email", "resolved"), ("webhook", "resolved")]
    assert all("No new bars" in each.about for each in back)
