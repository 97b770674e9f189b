"""How often the exchange is asked for the same ids, by hand."""

from flows.feed.asking import Attempts, Patience

PATIENCE = Patience(backoff_s=0.25, backoff_cap_s=1.0, tries=3, refused_s=30.0)


def test_each_attempt_that_fails_waits_twice_as_long_up_to_the_cap_and_anew_for_other_ids() -> None:
    attempts = Attempts()
    waits = []
    for _ in range(4):
        attempts.retry_later(100.0, PATIENCE)
        waits.append(attempts.next_try - 100.0)
    assert waits == [0.25, 0.5, 1.0, 1.0]
    attempts.begin()
    attempts.retry_later(200.0, PATIENCE)
    assert attempts.next_try == 200.25


def test_ids_are_given_up_after_so_many_denials_or_after_refusals_for_long() -> None:
    attempts = Attempts()
    attempts.ask(10.0)
    attempts.ask(11.0)
    assert attempts.asked and attempts.since == 10.0
    attempts.denials = PATIENCE.tries - 1
    assert not attempts.in_vain(99.0, PATIENCE)
    attempts.denials += 1
    assert attempts.in_vain(11.0, PATIENCE)
    attempts.begin()
    attempts.ask(10.0)
    attempts.refusals = PATIENCE.tries
    assert not attempts.in_vain(39.9, PATIENCE) and attempts.in_vain(40.0, PATIENCE)
