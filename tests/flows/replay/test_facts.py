import numpy as np
import pytest

from flows.feed.frames import Frames
from flows.replay.facts import MOST_OPEN, Facts, disorder, open_at_once, possible
from tests.flows.replay.recorded import SECOND_US, START_US, SYMBOLS, by_time, of, walk


def facts(trades: Frames, size: int = 7) -> Facts:
    of_file = Facts()
    for k in range(0, len(trades), size):
        of_file.add(trades.rows(slice(k, k + size)), SYMBOLS)
    return of_file


IN_ORDER = by_time(walk(60, step_us=SECOND_US), walk(40, 1, first_id=7, step_us=1_500_000))


def test_a_file_by_time_is_in_order() -> None:
    found = facts(IN_ORDER)
    assert disorder({"a.csv": found}, SYMBOLS) is None
    span = found.spans["BBBUSDT"]
    assert (span.first_id, span.last_id, span.trades) == (7, 46, 40)
    assert (span.first_us, span.last_us) == (START_US, START_US + 39 * 1_500_000)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (np.arange(100)[::-1], "a.csv: the ids of AAAUSDT go back"),
        (np.concatenate((np.arange(50, 100), np.arange(50))), "a.csv: the ids of AAAUSDT go back"),
        (np.argsort(IN_ORDER.symbol, kind="stable"), "a.csv: times go back by 59 s"),
        (np.insert(np.arange(100), 2, 2), "a.csv: the ids of AAAUSDT go back"),
    ],
)
def test_what_is_not_in_order_is_told(order: np.ndarray, says: str) -> None:
    assert disorder({"a.csv": facts(IN_ORDER.rows(order))}, SYMBOLS) == says


def test_what_nobody_asked_for_may_be_in_any_order() -> None:
    trades = IN_ORDER.rows(
        np.concatenate((np.flatnonzero(IN_ORDER.symbol == 0), np.flatnonzero(IN_ORDER.symbol == 1)[:1]))
    )
    assert disorder({"a.csv": facts(walk(40, 1).rows([3, 2]))}, ("AAAUSDT",)) is None
    assert disorder({"a.csv": facts(trades)}, SYMBOLS) == "a.csv: times go back by 59 s"


@pytest.mark.parametrize(("back_us", "in_order"), [(1_900_000, True), (2_100_000, False)])
def test_times_may_go_back_by_two_seconds(back_us: int, in_order: bool) -> None:
    trades = of(
        [0, 1, 0], [1, 1, 2], [START_US, START_US + 10 * SECOND_US, START_US + 10 * SECOND_US - back_us]
    )
    assert (disorder({"a.csv": facts(trades)}, SYMBOLS) is None) == in_order


def test_files_of_one_symbol_follow_each_other_or_overlap() -> None:
    # from the same time on
    first, second = walk(50), walk(50, first_id=51, start_us=START_US + 49 * SECOND_US)
    assert disorder({"b": facts(second), "a": facts(first)}, SYMBOLS) is None
    assert disorder({"b": facts(second), "a": facts(walk(51))}, SYMBOLS) == "a and b overlap in AAAUSDT"
    early = walk(50, first_id=51, start_us=START_US + 48 * SECOND_US)
    assert disorder({"b": facts(early), "a": facts(first)}, SYMBOLS) == "a and b overlap in AAAUSDT"


def test_more_files_of_one_time_than_can_be_open_are_sorted() -> None:
    files = {str(k): facts(of([0], [k], [START_US + k])) for k in range(MOST_OPEN + 1)}
    assert open_at_once(files, SYMBOLS) == MOST_OPEN + 1
    assert disorder(files, SYMBOLS) == "more than 64 files hold the same time"
    apart = {str(k): facts(of([0], [k], [START_US + k * 10 * SECOND_US])) for k in range(MOST_OPEN + 1)}
    assert open_at_once(apart, SYMBOLS) == 1 and disorder(apart, SYMBOLS) is None


def test_times_before_2009_and_of_the_future_are_rejected_with_their_reason() -> None:
    trades = of([0, 1, 0, 1], [1, 1, 2, 2], [1_000, START_US, START_US, START_US + 2])
    ((found, position),) = possible(iter([(trades, 5)]), START_US + 1)
    assert (found.id.tolist(), position) == ([1, 2], 5)
    assert found.rejected.tolist() == [1, 1] and found.reasons == {"time": 2}
