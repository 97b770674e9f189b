"""Alert states: by hand, against a plain model of one alert, and by batches, pickles and other alerts."""

import math
import pickle
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.alerts import AlertStates, Evaluations, Rules
from operators.columns import MINUTE_US, NEVER, SECOND_US
from operators.metrics import ABOVE, BELOW, OUTSIDE


class Evaluation(NamedTuple):
    alert: int
    ts: int
    value: float
    may_open: bool = True
    mark: bool = False


class Row(NamedTuple):
    alert: int
    ts: int
    value: float | None  # None is NULL: NaN is not equal to itself
    active: bool
    episode: int | None
    changed: bool


def states(side: int, threshold: float, exit: float) -> AlertStates:
    return AlertStates(Rules(np.array([side]), np.array([threshold]), np.array([exit])))


def update(alerts: AlertStates, evaluations: list[Evaluation]) -> list[Row]:
    columns = (
        np.array([e[k] for e in evaluations], dtype)
        for k, dtype in enumerate((np.int64, np.int64, np.float64, np.bool_, np.bool_))
    )
    found = alerts.update(Evaluations(*columns, write=np.zeros(len(evaluations), np.bool_)))
    assert [(evaluations[k].alert, evaluations[k].ts) for k in found.row.tolist()] == list(
        zip(found.alert.tolist(), found.ts.tolist(), strict=True)
    )
    assert (np.diff(found.row) > 0).all()
    return [
        Row(
            alert,
            ts,
            None if math.isnan(value) else value,
            active,
            None if episode == NEVER else episode,
            changed,
        )
        for alert, ts, value, active, episode, changed, _ in zip(
            *(column.tolist() for column in found), strict=True
        )
    ]


def seconds(values: list[float], first: int = 1) -> list[Evaluation]:
    return [Evaluation(0, (first + k) * SECOND_US, value) for k, value in enumerate(values)]


# by hand


@pytest.mark.parametrize(
    ("side", "threshold", "exit", "values"),
    [
        (ABOVE, 2.0, 1.0, [1.9, 2.0, 2.1, 1.5, 2.5, 1.0, 2.0, 2.1]),
        (BELOW, -2.0, -1.0, [-1.9, -2.0, -2.1, -1.5, -2.5, -1.0, -2.0, -2.1]),
        (OUTSIDE, 2.0, 1.0, [1.9, -2.0, -2.1, 1.5, 2.5, -1.0, 2.0, -2.1]),
        (BELOW, 0.5, 0.6, [0.55, 0.5, 0.4, 0.55, 0.1, 0.6, 0.5, 0.4]),
    ],
)
def test_an_episode_opens_beyond_the_threshold_and_closes_at_the_exit(
    side: int, threshold: float, exit: float, values: list[float]
) -> None:
    rows = update(states(side, threshold, exit), seconds(values))
    assert rows == [
        Row(0, 3 * SECOND_US, values[2], True, 3 * SECOND_US, True),
        Row(0, 6 * SECOND_US, values[5], False, 3 * SECOND_US, True),
        Row(0, 8 * SECOND_US, values[7], True, 8 * SECOND_US, True),
    ]


def test_a_value_that_flaps_around_the_threshold_opens_once() -> None:
    rows = update(states(ABOVE, 2.0, 1.0), seconds([1.9, 2.1] * 25, first=61))
    assert [row.changed for row in rows] == [True]


def test_a_whole_minute_is_a_row_whether_anything_changed_or_not() -> None:
    alerts = states(ABOVE, 2.0, 1.0)
    minutes = [Evaluation(0, k * MINUTE_US, value) for k, value in enumerate([0.5, 3.0, 3.0, 0.5, 0.5])]
    episode = MINUTE_US
    assert update(alerts, minutes) == [
        Row(0, 0, 0.5, False, None, False),
        Row(0, MINUTE_US, 3.0, True, episode, True),
        Row(0, 2 * MINUTE_US, 3.0, True, episode, False),
        Row(0, 3 * MINUTE_US, 0.5, False, episode, True),
        Row(0, 4 * MINUTE_US, 0.5, False, None, False),
    ]


def test_an_undefined_value_keeps_the_state() -> None:
    alerts = states(ABOVE, 2.0, 1.0)
    rows = update(
        alerts,
        [
            *seconds([3.0, np.nan, np.inf, -np.inf]),
            Evaluation(0, MINUTE_US, np.nan),
            *seconds([0.0], first=61),
        ],
    )
    assert rows[1:] == [
        Row(0, MINUTE_US, None, True, SECOND_US, False),
        Row(0, 61 * SECOND_US, 0.0, False, SECOND_US, True),
    ]


def test_without_leave_no_episode_opens_but_one_closes() -> None:
    alerts = states(ABOVE, 2.0, 1.0)
    assert update(alerts, [Evaluation(0, 1, 5.0, may_open=False)]) == []
    assert [
        row.active for row in update(alerts, [Evaluation(0, 2, 5.0), Evaluation(0, 3, 0.0, may_open=False)])
    ] == [True, False]


def test_a_mark_repeats_the_last_value_at_whole_minutes_and_evaluates_nothing() -> None:
    alerts = states(ABOVE, 2.0, 1.0)
    assert update(alerts, [Evaluation(0, MINUTE_US, 9.0, mark=True)]) == [
        Row(0, MINUTE_US, None, False, None, False)
    ]
    update(alerts, [Evaluation(0, MINUTE_US + 1, 3.0), Evaluation(0, MINUTE_US + 2, np.nan)])
    marks = [Evaluation(0, ts, 0.0, mark=True) for ts in (MINUTE_US + 3, 2 * MINUTE_US)]
    assert update(alerts, marks) == [Row(0, 2 * MINUTE_US, 3.0, True, MINUTE_US + 1, False)]


def test_no_evaluation_is_no_row() -> None:
    assert update(states(ABOVE, 2.0, 1.0), []) == []


# against a plain model

SIDES, THRESHOLDS, EXITS = [ABOVE, BELOW, OUTSIDE, ABOVE], [2.0, -2.0, 2.0, 0.5], [1.0, -1.0, 1.5, 0.5]


def four() -> AlertStates:
    return AlertStates(Rules(np.array(SIDES), np.array(THRESHOLDS), np.array(EXITS)))


@dataclass
class Model:
    """One alert, an evaluation at a time."""

    side: int
    threshold: float
    exit: float
    episode: int | None = None
    value: float | None = None

    def is_beyond(self, value: float) -> bool:
        return {
            ABOVE: value > self.threshold,
            BELOW: value < self.threshold,
            OUTSIDE: abs(value) > self.threshold,
        }[self.side]

    def has_left(self, value: float) -> bool:
        return {ABOVE: value <= self.exit, BELOW: value >= self.exit, OUTSIDE: abs(value) <= self.exit}[
            self.side
        ]

    def rows(self, e: Evaluation) -> list[Row]:
        shown, closed = self.value if e.mark else None, None
        before = self.episode
        if not e.mark and math.isfinite(e.value):
            shown = self.value = e.value
            if self.episode is None and e.may_open and self.is_beyond(e.value):
                self.episode = e.ts
            elif self.episode is not None and self.has_left(e.value):
                closed, self.episode = self.episode, None
        changed = self.episode != before
        row = Row(
            e.alert,
            e.ts,
            shown,
            self.episode is not None,
            closed if closed is not None else self.episode,
            changed,
        )
        return [row] if changed or e.ts % MINUTE_US == 0 else []


VALUES = st.one_of(
    st.sampled_from([-3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.nan, np.inf]), st.floats(-4, 4)
)
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 20]), VALUES, st.booleans(), st.booleans()),
    max_size=80,
)


def in_time_order(steps: list[tuple[int, int, float, bool, bool]]) -> list[Evaluation]:
    ts = np.cumsum([step for _, step, *_ in steps], dtype=np.int64) * SECOND_US
    return [
        Evaluation(alert, int(t), value, may, mark)
        for t, (alert, _, value, may, mark) in zip(ts, steps, strict=True)
    ]


@given(steps=STEPS)
def test_rows_equal_those_of_the_model(steps: list[tuple[int, int, float, bool, bool]]) -> None:
    evaluations = in_time_order(steps)
    models = [Model(*rule) for rule in zip(SIDES, THRESHOLDS, EXITS, strict=True)]
    assert update(four(), evaluations) == [row for e in evaluations for row in models[e.alert].rows(e)]


# properties


@given(steps=STEPS, cut=st.integers(0, 80))
def test_batches_and_pickles_change_nothing(
    steps: list[tuple[int, int, float, bool, bool]], cut: int
) -> None:
    evaluations = in_time_order(steps)
    whole = update(four(), evaluations)
    alerts = four()
    first = update(alerts, evaluations[:cut])
    resumed: AlertStates = pickle.loads(pickle.dumps(alerts))
    assert first + update(resumed, evaluations[cut:]) == whole
    one_by_one = four()
    assert [row for e in evaluations for row in update(one_by_one, [e])] == whole


@given(steps=STEPS)
def test_alerts_do_not_see_each_other(steps: list[tuple[int, int, float, bool, bool]]) -> None:
    evaluations = in_time_order(steps)
    together = update(four(), evaluations)
    for k in range(4):
        assert update(four(), [e for e in evaluations if e.alert == k]) == [
            row for row in together if row.alert == k
        ]


@given(steps=STEPS)
def test_below_is_above_in_the_mirror(steps: list[tuple[int, int, float, bool, bool]]) -> None:
    evaluations = [e._replace(alert=0) for e in in_time_order(steps)]
    above = update(states(ABOVE, 2.0, 1.0), evaluations)
    below = update(states(BELOW, -2.0, -1.0), [e._replace(value=-e.value) for e in evaluations])
    assert [row._replace(value=None) for row in below] == [row._replace(value=None) for row in above]
