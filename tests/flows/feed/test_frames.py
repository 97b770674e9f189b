"""A time that is wrong is found by those of the trades around it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.feed.frames import plausible

HOUR_US = 3_600_000_000


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**13)), max_size=50))
def test_times_that_never_go_back_are_all_plausible_whatever_the_pauses(rows: list[tuple[int, int]]) -> None:
    ts = np.cumsum([pause for _, pause in rows], dtype=np.int64)
    assert plausible(np.array([code for code, _ in rows], np.int32), ts, lone_us=None).all()


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60),
    st.integers(0, 59),
    st.sampled_from([-(10**17), -25 * HOUR_US, -2 * HOUR_US, 2 * HOUR_US, 25 * HOUR_US, 10**17]),
)
def test_a_wrong_time_is_found_by_its_neighbours(codes: list[int], at: int, by_us: int) -> None:
    at %= len(codes)
    symbol, ts = np.array(codes, np.int32), np.arange(len(codes)) * 1_000 + 10**15
    ts[at] += by_us
    of = np.flatnonzero(symbol == symbol[at])
    inside = (of[0] < at or by_us > 0) and (at < of[-1] or by_us < 0)
    found = np.flatnonzero(~plausible(symbol, ts)).tolist()
    if len(of) > 2:  # of two nobody knows which one is wrong
        assert found == ([at] if inside or abs(by_us) >= 25 * HOUR_US else [])
