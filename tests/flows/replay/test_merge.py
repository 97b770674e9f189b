from collections.abc import Generator, Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.replay.merge import Stream
from flows.replay.merge import merged as merged_of
from flows.replay.packed import ROW, Packed
from flows.replay.sort import PACKED
from operators.columns import Longs

LARGEST = 2**63 - 1
Keyed = tuple[Packed, Longs]


def merged(streams: list[Stream[Packed]]) -> Iterator[Keyed]:
    return merged_of(streams, PACKED)


def keyed(keys: list[int]) -> Keyed:
    rows = np.zeros(len(keys), ROW)
    rows["id"] = keys
    return rows, np.array(keys, np.int64)


def batches(keys: list[int], size: int) -> Generator[Keyed, None, None]:
    for k in range(0, len(keys), size):
        yield keyed(keys[k : k + size])


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.one_of(st.integers(0, 30), st.integers(LARGEST - 2, LARGEST)), max_size=40), max_size=6
    ),
    st.integers(1, 9),
)
def test_streams_come_out_as_one_by_rising_keys_and_all_rows_of_a_key_in_one_part(
    keys: list[list[int]], size: int
) -> None:
    parts = list(merged([Stream(0, batches(sorted(of), size)) for of in keys]))
    for rows, of in parts:
        assert rows["id"].tolist() == of.tolist()
    assert sorted(key for _, of in parts for key in of.tolist()) == sorted(key for of in keys for key in of)
    for (_, before), (_, after) in pairwise(parts):
        assert before.max() < after.min()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=5), st.integers(0, 20), st.integers(1, 9))
def test_keys_that_go_back_within_the_slack_are_put_in_order(
    keys: list[list[int]], slack: int, size: int
) -> None:
    nearly = [[key for k, key in enumerate(of) if key >= max(of[: k + 1]) - slack] for of in keys]
    out = [
        key
        for _, of in merged([Stream(0, batches(of, size), slack) for of in nearly])
        for key in sorted(of.tolist())
    ]
    assert out == sorted(key for of in nearly for key in of)


def test_a_stream_is_not_begun_before_the_others_have_come_to_it() -> None:
    begun = []

    def noting(name: str, keys: list[int]) -> Generator[Keyed, None, None]:
        begun.append(name)
        yield from batches(keys, 1)

    out = merged([Stream(5, noting("late", [5, 6])), Stream(0, noting("early", [0, 4, 9]))])
    assert next(out)[1].tolist() == [0] and begun == ["early"]
    assert [key for _, keys in out for key in keys.tolist()] == [4, 5, 6, 9]


def test_who_stops_early_closes_all_streams() -> None:
    closed = []

    def noting(k: int) -> Generator[tuple[Packed, np.ndarray], None, None]:
        try:
            yield from batches([1, 2, 3], 1)
        finally:
            closed.append(k)

    out = merged([Stream(0, noting(k)) for k in range(3)])
    next(out)
    out.close()  # type: ignore[attr-defined]
    assert sorted(closed) == [0, 1, 2]
