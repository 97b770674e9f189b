"""Rows 40 to 42: what an installed Grafana sends by webhook and by e-mail.

The tests write alerts as the pipeline does. They depend on their order: the first needs a new Grafana and
empty tables.
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

from flows.database.connection import connect
from flows.database.wal import settle
from flows.errors import UserError
from grafana.queries import milliseconds, rules
from grafana.rules import KEEP_FIRING, SEEN_S
from operators.alerts import AlertStates, Evaluations, Rules
from operators.columns import NEVER, SECOND_US
from operators.metrics import ABOVE
from tests.conftest import emptied
from tests.grafana.installed import HEAR_S, NEEDED, Database, Installed, eventually, grafana_on
from tests.grafana.post import Notification, Post, post_office
from tests.grafana.rows import bar, insert
from tests.line import Ports

pytestmark = NEEDED
THRESHOLD, EXIT = 2.0, 1.0
RULES = Rules(np.array([ABOVE]), np.array([THRESHOLD]), np.array([EXIT]))
PAIRS = ("BTCUSDT-ETHUSDT", "BNBUSDT-SOLUSDT", "XRPUSDT-ADAUSDT", "LTCUSDT-BCHUSDT")
OF_PAIRS = {"rule": "z high", "priority": "high", "metric": "zscore"}
OF_SYMBOLS = {"rule": "volume", "priority": "medium", "metric": "volume_ratio"}
SILENCE_S = 40.0  # longer than a rule's interval, a group's wait and a group's interval together
# How long Grafana keeps an alert firing after its episode is over.
KEPT_S = milliseconds(KEEP_FIRING["high"]) / 1_000 + SEEN_S
STALE = next(rule for rule in rules() if rule["uid"] == "pairflow-stale")
# How long the database is away: until the rule "No new bars" has fired, and a minute in which nothing else
# may be reported.
AWAY_S = milliseconds(STALE["for"]) / 1_000 + 60
TICK_S = 1.0


class Line(threading.Thread):
    """Writes bars and the alert of every pair and symbol each second.

    Rows that cannot be written are written later, in order.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.values: dict[str, Iterator[float]] = {}
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
                with (
                    contextlib.suppress(UserError, psycopg.Error),
                    connect(self._database.endpoint) as connection,
                ):
                    while self._waiting:
                        insert(connection, self._waiting[0][0], [self._waiting[0][1]])
                        del self._waiting[0]
        except BaseException as error:
            self.failed = error
            raise

    def tick(self, now: int) -> None:
        """Make the rows of this second."""
        if self.trading:
            self._waiting += [
                ("bars", bar(now - 1, symbol, "1s", 100.0, 100.0)) for symbol in ("BTCUSDT", "ETHUSDT")
            ]
        for subject, values in list(self.values.items()):
            first = subject not in self._states
            states = self._states.setdefault(subject, AlertStates(RULES))
            value, yes = np.array([next(values)]), np.ones(1, np.bool_)
            evaluation = Evaluations(
                np.zeros(1, np.int64),
                np.array([now * SECOND_US]),
                value,
                may_open=yes,
                mark=~yes,
                write=np.array([first]),
            )
            rows = states.update(evaluation)
            for ts, z, active, episode in zip(rows.ts, rows.value, rows.active, rows.episode, strict=True):
                numbers = {
                    "value": None if np.isnan(z) else float(z),
                    "threshold": THRESHOLD,
                    "active": bool(active),
                }
                row = {"ts": ts // SECOND_US, "subject": subject, "timeframe": "1s"} | (
                    OF_PAIRS if "-" in subject else OF_SYMBOLS
                )
                row |= numbers | {"episode": None if episode == NEVER else int(episode), "complete": True}
                row |= {"coint_pvalue": 0.002 if "-" in subject and not np.isnan(z) else None}
                self._waiting.append(("alerts", row))

    def say(self, subject: str, *values: float) -> None:
        """Let the metric of the pair or symbol take these values, one a second, then keep the last."""
        self.values[subject] = itertools.chain(values, itertools.repeat(values[-1]))


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    with post_office() as post:
        yield post


@pytest.fixture(scope="module")
def fresh(
    server: Database, post: Post, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports
) -> Iterator[Installed]:
    """A new Grafana, with empty tables."""
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


def arrivals(post: Post, seconds: float = SILENCE_S) -> list[Notification]:
    """The notifications that arrive in this time."""
    known = len(post.received)
    time.sleep(seconds)
    return post.received[known:]


def states(post: Post, pair: str) -> dict[str, list[str]]:
    """The states that were reported about a pair, by way, in the order of their arrival."""
    return {way: [each.status for each in post.of(pair) if each.way == way] for way in ("webhook", "email")}


def both(*states: str) -> dict[str, list[str]]:
    return {"webhook": list(states), "email": list(states)}


def test_a_cold_start_notifies_nobody(fresh: Installed, line: Line, post: Post, server: Database) -> None:
    """Row 40."""
    for pair in PAIRS:
        line.say(pair, float("nan"))
    assert arrivals(post) == []
    settle(server.endpoint)
    written = server.rows(
        "SELECT count_distinct(subject), count(value), sum(CAST(active AS INT)) FROM alerts"
    )
    assert written == [(len(PAIRS), 0, 0)]
    assert {rule["state"] for rule in fresh.evaluated(time.time()).values()} == {"inactive"}


def test_an_episode_is_reported_once_when_it_opens_and_once_when_it_closes(line: Line, post: Post) -> None:
    line.say(PAIRS[0], 0.5, 2.625)
    eventually(lambda: states(post, PAIRS[0]) == both("firing"), HEAR_S)
    for each in post.of(PAIRS[0]):
        assert "z high" in each.about
        assert "2.625" in each.about, each
    assert post.tokens == {"Bearer secret-hook"}
    assert arrivals(post) == []
    line.say(PAIRS[0], 0.375)
    eventually(lambda: states(post, PAIRS[0]) == both("firing", "resolved"), KEPT_S + 2 * HEAR_S)
    assert arrivals(post) == []


def test_an_alert_without_a_test_of_cointegration_is_reported(line: Line, post: Post) -> None:
    """No row of this priority has a test. When a query of the rule had no rows, Grafana treated the whole
    rule as one without data.
    """
    line.say("BTCUSDT", 0.5, 7.25)
    eventually(lambda: states(post, "BTCUSDT 1s") == both("firing"), 2 * HEAR_S)
    assert all("7.25" in each.about for each in post.of("BTCUSDT 1s"))


def test_an_episode_of_a_second_is_reported_even_right_after_another(line: Line, post: Post) -> None:
    for times in (2, 3):  # the first episode is that of the previous test
        line.say(PAIRS[0], 2.75, 0.5)
        wanted = both(*("firing", "resolved") * times)
        eventually(lambda wanted=wanted: states(post, PAIRS[0]) == wanted, KEPT_S + 3 * HEAR_S)  # type: ignore[misc]


def test_a_value_that_flaps_at_the_threshold_is_one_episode(line: Line, post: Post) -> None:
    """Row 41."""
    line.say(PAIRS[1], *(1.9, 2.1) * 30, 0.5)
    eventually(lambda: states(post, PAIRS[1]) == both("firing"), HEAR_S)
    eventually(lambda: states(post, PAIRS[1]) == both("firing", "resolved"), 60 + KEPT_S + 2 * HEAR_S)
    assert arrivals(post) == []


@pytest.fixture(scope="module")
def active(line: Line, post: Post) -> None:
    """The alert of every pair is active, and has been reported."""
    for pair in PAIRS:
        line.say(pair, 3.5)
    eventually(
        lambda: all(each[-1:] == ["firing"] for pair in PAIRS for each in states(post, pair).values()),
        2 * HEAR_S,
    )


@pytest.fixture(scope="module", params=["killed", "hung"])
def away(
    request: pytest.FixtureRequest, active: None, post: Post, server: Database
) -> Iterator[list[Notification]]:
    """The notifications while the database was away for some minutes. Now it is back."""
    with server.hung() if request.param == "hung" else server.stopped():
        heard = arrivals(post, AWAY_S)
    yield heard


@pytest.mark.long
def test_the_alert_of_every_pair_is_reported(active: None) -> None:
    """Its fixture waits for it."""


@pytest.mark.long
def test_a_database_that_is_away_is_one_alert_and_not_one_for_every_pair(away: list[Notification]) -> None:
    """Row 42."""
    assert sorted((each.way, each.status) for each in away) == [("email", "firing"), ("webhook", "firing")]
    assert all(STALE["title"] in each.about for each in away)


@pytest.mark.long
def test_a_database_that_is_back_ends_that_alert_and_no_other(away: list[Notification], post: Post) -> None:
    """Row 42. The rows of that time have been written now.

    The alerts of the pairs are still active, and were reported before.
    """
    known = max(k for k, each in enumerate(post.received) if each is away[-1]) + 1
    eventually(lambda: len(post.received) >= known + 2, 4 * HEAR_S)
    arrivals(post)
    assert sorted((each.way, each.status) for each in post.received[known:]) == [
        ("email", "resolved"),
        ("webhook", "resolved"),
    ]
    assert all(STALE["title"] in each.about for each in post.received[known:])
