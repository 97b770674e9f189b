"""Requests for streams and their answers: by hand, and against an exchange that refuses any of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.feed.venue import Answer
from flows.live.subscriptions import Outcome, Pace, Subscriptions
from flows.venues.binance.answers import answer_in

PACE = Pace(answer_s=5.0, again_s=1.0, again_cap_s=60.0)


def test_each_request_is_sent_once_and_when_all_are_agreed_to_it_is_done() -> None:
    subscriptions = Subscriptions([("a", "b"), ("c",)], PACE)
    assert subscriptions.next(0.0) == (1, ("a", "b")) and not subscriptions.settled
    assert subscriptions.answered(Answer(1, None), 0.1) is None
    assert subscriptions.next(0.5) == (2, ("c",)) and subscriptions.next(1.0) is None
    assert subscriptions.answered(Answer(None, None), 1.0) is None, (
        "an answer without a number is that to the oldest"
    )
    assert subscriptions.settled and subscriptions.done and subscriptions.refused == ()


def test_nothing_to_ask_for_is_settled_at_once() -> None:
    assert Subscriptions([], PACE).settled and Subscriptions([], PACE).done


def test_what_is_refused_once_is_asked_for_again_whole() -> None:
    subscriptions = Subscriptions([("a", "b")], PACE)
    subscriptions.next(0.0)
    assert subscriptions.answered(Answer(1, "busy"), 0.1) == Outcome(("a", "b"), "busy")
    assert subscriptions.settled and subscriptions.refused == ("a", "b") and not subscriptions.done
    assert subscriptions.next(1.0) is None and subscriptions.next(1.2) == (2, ("a", "b"))
    assert subscriptions.answered(Answer(2, None), 1.3) == Outcome(("a", "b"), None)
    assert subscriptions.done and subscriptions.refused == ()


def test_silence_is_a_refusal_and_a_late_answer_changes_nothing() -> None:
    subscriptions = Subscriptions([("a",)], PACE)
    subscriptions.next(0.0)
    assert subscriptions.overdue(4.9) == []
    assert subscriptions.overdue(5.0) == [Outcome(("a",), "no answer within 5 s")]
    assert subscriptions.answered(Answer(1, None), 5.1) is None and subscriptions.refused == ("a",)


def test_one_stream_that_is_refused_for_ever_is_asked_for_ever_more_seldom() -> None:
    subscriptions = Subscriptions([("a",)], PACE)
    now, asked = 0.0, []
    while now < 300.0:
        if request := subscriptions.next(now):
            asked.append(now)
            subscriptions.answered(Answer(request[0], "no"), now)
        now += 0.5
    assert asked == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0, 243.0]
    assert subscriptions.found_out


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.integers(1, 7), st.booleans())
def test_it_is_found_out_which_streams_are_refused_and_all_others_come(
    n: int, bad: set[int], size: int, silent: bool
) -> None:
    streams = [str(k) for k in range(n)]
    refused = {str(k) for k in bad if k < n}
    subscriptions = Subscriptions([streams[k : k + size] for k in range(0, n, size)], PACE)
    came: set[str] = set()
    now = 0.0
    for _ in range(4_000):
        if subscriptions.done or (subscriptions.settled and subscriptions.found_out):
            break
        subscriptions.overdue(now)
        if request := subscriptions.next(now):
            number, asked = request
            if refused & set(asked):
                if not silent:
                    subscriptions.answered(Answer(number, "no"), now)
            else:
                came |= set(asked)
                subscriptions.answered(Answer(number, None), now)
        now += 0.5
    assert set(subscriptions.refused) == refused and came == set(streams) - refused


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"result": None, "id": 3}, Answer(3, None)),
        ({"id": 3, "result": None}, Answer(3, None)),
        ({"error": {"code": 2, "msg": "too\nmany  streams"}, "id": 3}, Answer(3, "too many streams")),
        ({"id": 3, "error": "no"}, Answer(3, "no")),
        ({"code": 2, "msg": "Invalid request", "id": 3}, Answer(3, "Invalid request")),
        ({"code": 0, "msg": ""}, Answer(None, "no reason given")),
        ({"error": {"code": 3}}, Answer(None, '{"code":3}')),
        ({"result": ["a@trade"], "id": "x"}, Answer(None, None)),
        ({"stream": "a@trade", "data": {"e": "trade"}}, None),
        ({"data": {"e": "trade"}, "stream": "a@trade"}, None),
        ({"e": "trade", "error": 1}, None),
        ([], None),
        ({}, None),
    ],
)
def test_answers_are_told_from_other_messages(message: object, answer: Answer | None) -> None:
    assert answer_in(json.dumps(message, separators=(",", ":")).encode()) == answer
    if answer is not None:
        assert answer_in(json.dumps(message, indent=1).encode()) == answer


@given(st.binary(max_size=60))
def test_no_bytes_raise(message: bytes) -> None:
    answer_in(message)
