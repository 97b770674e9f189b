"""Held trades, by hand: sorted by id, each once, with the times at which they came."""

import numpy as np

from flows.feed.held import Held
from tests.flows.feed.feeding import frames


def test_parts_are_sorted_into_the_rows_and_duplicates_are_counted() -> None:
    held = Held(symbols=2)
    held.append(frames((0, 15), (0, 13)), now=2.0)
    held.append(frames((0, 13), (0, 12), (0, 11)), now=3.0)
    assert (held.size, held.since) == (5, 2.0)
    assert held.merge(last=11) == 2, "11 was released before, 13 came twice"
    assert held.rows.id.tolist() == [12, 13, 15] and held.arrived.tolist() == [3.0, 2.0, 2.0]
    assert (held.size, held.since) == (3, 2.0)
    assert held.merge(last=11) == 0


def test_what_is_taken_from_the_front_and_dropped_at_the_end_does_not_wait_any_more() -> None:
    held = Held(symbols=2)
    held.append(frames((0, 1), (0, 2)), now=1.0)
    held.append(frames((0, 3), (0, 4)), now=2.0)
    held.merge(last=0)
    assert held.aged(0.5, now=1.5).tolist() == [0, 1]
    assert held.take_first(1).id.tolist() == [1] and held.since == 1.0
    held.drop_behind(2)
    assert held.rows.id.tolist() == [2, 3]
    assert held.take_first(2).id.tolist() == [2, 3]
    assert (held.size, held.since) == (0, np.inf)
