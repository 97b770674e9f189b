"""Pauses double up to their bound however often something fails, and of many failures few are told."""

import pytest

from flows.retrying import backoff, is_told


def test_a_pause_doubles_until_its_bound() -> None:
    assert [backoff(failures, 0.25, 5.0) for failures in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_pause_without_a_bound_doubles_on() -> None:
    assert [backoff(failures, 1.0) for failures in (0, 1, 10)] == [1.0, 2.0, 1024.0]


def test_no_number_of_failures_is_too_large() -> None:
    assert backoff(10**9, 0.5, 60.0) == 60.0


def test_a_count_that_grows_by_one_is_told_at_powers_of_two() -> None:
    assert [count for count in range(1, 1_000) if is_told(count - 1, count)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        512,
    ]


@pytest.mark.parametrize(
    ("before", "now", "told"), [(0, 0, False), (3, 3, False), (3, 5, True), (5, 7, False), (5, 1_000, True)]
)
def test_a_count_that_jumps_is_told_when_it_passes_one(before: int, now: int, told: bool) -> None:
    assert is_told(before, now) is told
