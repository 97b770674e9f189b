from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.feed.backlog import CAUSES, NONE, Gap, Page, Patience, Request
from flows.feed.frames import Frames
from flows.feed.sequencer import HELD, REACH, Sequencer
from operators.columns import NEVER, SECOND_US

QUIET_US = 3 * SECOND_US
PATIENCE = Patience(grace_s=0.2, settle_s=1.0, backoff_s=0.25, backoff_cap_s=5.0, tries=3, lag_s=60.0)
PAGE = 1_000


def ts_of(i: int) -> int:
    """Trade times: 100 ms apart."""
    return 1_700_000_000 * SECOND_US + i * SECOND_US // 10


def frames(*rows: tuple[int, int], symbols: int = 2, ts: Sequence[int] | None = None) -> Frames:
    """Frames of (symbol, id) in that order."""
    n = len(rows)
    ids = np.array([i for _, i in rows], np.int64)
    times = np.array([ts_of(i) for _, i in rows] if ts is None else ts, np.int64)
    return Frames(
        np.array([symbol for symbol, _ in rows], np.int32),
        ids,
        times,
        ids + 0.5,
        np.ones(n),
        ids % 2 == 0,
        np.ones(n, np.int64),
        times,
        np.zeros(symbols, np.int64),
    )


def run(symbol: int, first: int, last: int) -> Frames:
    return frames(*((symbol, i) for i in range(first, last + 1)))


def page(symbol: int, *ids: int, rejected: Sequence[int] = (), full: bool = False) -> Page:
    return Page(frames(*((symbol, i) for i in ids)), np.array(sorted([*ids, *rejected]), np.int64), full)


class Feed:
    """A sequencer with a clock, and what it released."""

    def __init__(self, symbols: int = 2, patience: Patience = PATIENCE, quiet_us: int = QUIET_US, contiguous: bool = True) -> None:
        self.sequencer = Sequencer(symbols, quiet_us, patience, contiguous)
        self.now = 0.0
        self.released: list[list[int]] = [[] for _ in range(symbols)]
        self.after_hole: list[list[int]] = [[] for _ in range(symbols)]
        self.gaps: list[Gap] = []

    def take(self) -> list[list[int]]:
        """The ids released now, by symbol."""
        trades = self.sequencer.release(self.now)
        came: list[list[int]] = [[] for _ in self.released]
        for s, i, ts, price, hole in zip(
            trades.symbol.tolist(), trades.id.tolist(), trades.ts.tolist(), trades.price.tolist(), trades.after_hole.tolist(), strict=True
        ):
            came[s].append(i)
            if hole:
                self.after_hole[s].append(i)
            assert (ts, price) == (ts_of(i), i + 0.5), "the columns stay together"
        for s, ids in enumerate(came):
            assert ids == sorted(set(ids)) and (not ids or not self.released[s] or self.released[s][-1] < ids[0])
            self.released[s] += ids
        assert (trades.watermark >= getattr(self, "watermark", trades.watermark)).all(), "watermarks never go back"
        self.watermark = trades.watermark
        self.gaps += self.sequencer.take_gaps()
        return came

    def feed(self, received: Frames) -> list[list[int]]:
        self.sequencer.feed(received, self.now)
        return self.take()

    def pass_time(self, seconds: float) -> list[Request]:
        self.now += seconds
        self.take()
        asked = self.sequencer.requests(self.now)
        self.gaps += self.sequencer.take_gaps()
        return asked

    def answer(self, request: Request, answer: Page | None) -> list[list[int]]:
        self.sequencer.answer(request, answer, self.now)
        return self.take()

    def connect(self, cause: str = "disconnect") -> None:
        self.sequencer.connect(self.now, cause)
        self.sequencer.subscribed(self.now)

    def ledger(self) -> list[tuple[int, int, int, str, str]]:
        """Final lines: a later one replaces an earlier one of the same key."""
        lines = {(gap.ts, gap.symbol, gap.first_id): gap for gap in self.gaps}
        return [(gap.symbol, gap.first_id, gap.last_id, gap.cause, gap.status) for gap in lines.values()]


@pytest.fixture
def live() -> Feed:
    return begun(Feed())


@pytest.fixture
def sparse() -> Feed:
    return begun(Feed(contiguous=False))


def begun(feed: Feed) -> Feed:
    """Connected; symbol 0 has released 1 to 10, symbol 1 has released 1 to 10."""
    feed.connect("restart")
    feed.feed(run(0, 1, 10))
    feed.feed(run(1, 1, 10))
    feed.now += PATIENCE.grace_s
    assert feed.take() == [list(range(1, 11)), list(range(1, 11))]
    return feed


# by hand


def test_a_symbol_begins_at_the_smallest_id_of_its_first_moments() -> None:
    feed = Feed()
    feed.connect("restart")
    assert feed.feed(frames((0, 7), (0, 5))) == [[], []]
    feed.now += PATIENCE.grace_s / 2
    assert feed.feed(frames((0, 6))) == [[], []]
    feed.now += PATIENCE.grace_s / 2
    assert feed.take() == [[5, 6, 7], []]
    assert feed.after_hole == [[5], []]
    assert feed.feed(frames((0, 8))) == [[8], []]
    assert feed.gaps == [] and feed.pass_time(9) == []


def test_an_id_of_zero_is_an_id() -> None:
    feed = Feed()
    feed.feed(frames((0, 0), (0, 1)))
    feed.now += PATIENCE.grace_s
    assert feed.take() == [[0, 1], []]
    assert feed.after_hole == [[0], []]


def test_trades_in_order_pass_at_once(live: Feed) -> None:
    assert live.feed(frames((0, 11), (1, 11), (0, 12), (1, 12), (0, 13))) == [[11, 12, 13], [11, 12]]
    assert live.sequencer.waiting() == 0
    assert live.watermark.tolist() == [ts_of(13), ts_of(12)]


def test_a_hole_holds_back_its_own_symbol_only(live: Feed) -> None:
    assert live.feed(frames((0, 12), (1, 11), (0, 13))) == [[], [11]]
    assert live.sequencer.waiting() == 2
    assert live.feed(frames((0, 11))) == [[11, 12, 13], []]
    assert live.gaps == []


def test_a_hole_is_asked_for_only_when_messages_had_time_to_come_in_another_order(live: Feed) -> None:
    live.feed(run(0, 13, 15))
    assert live.pass_time(PATIENCE.grace_s / 2) == []
    (request,) = live.pass_time(PATIENCE.grace_s / 2)
    assert (request.symbol, request.from_id) == (0, 11)
    assert live.pass_time(9) == [], "one request at a time"
    assert live.answer(request, page(0, *range(11, 16))) == [[11, 12, 13, 14, 15], []]
    assert live.ledger() == [(0, 11, 12, "lost", "filled")]
    assert live.gaps[-1].ts == ts_of(10)
    assert live.after_hole == [[1], [1]], "a filled hole is none"


def test_one_answer_fills_several_holes_and_each_has_its_line(live: Feed) -> None:
    live.feed(frames((0, 12), (0, 14), (0, 15), (0, 18)))
    (request,) = live.pass_time(1)
    assert live.answer(request, page(0, *range(11, 21))) == [[11, 12, 13, 14, 15, 16, 17, 18], []]
    assert live.ledger() == [(0, 11, 11, "lost", "filled"), (0, 13, 13, "lost", "filled"), (0, 16, 17, "lost", "filled")]
    assert live.feed(run(0, 19, 20)) == [[19, 20], []]
    assert live.sequencer.take_duplicates().tolist() == [0, 0], "what the socket had still to bring is left to it"


def test_the_exchange_fills_only_holes_that_had_their_time(live: Feed) -> None:
    live.feed(frames((0, 12)))
    live.now += PATIENCE.grace_s
    live.feed(frames((0, 15)))
    (request,) = live.pass_time(0)
    assert live.answer(request, page(0, *range(11, 17))) == [[11, 12], []]
    assert live.feed(run(0, 13, 14)) == [[13, 14, 15], []]
    assert live.ledger() == [(0, 11, 11, "lost", "filled")]


def test_an_outage_is_one_line_with_the_exact_count(live: Feed) -> None:
    live.sequencer.disconnect(live.now)
    live.now += 90
    live.connect()
    live.feed(frames((0, 2_512), (1, 11)))
    (request,) = live.pass_time(PATIENCE.grace_s)
    asked = []
    while True:
        asked.append(request.from_id)
        first = request.from_id
        came = live.answer(request, page(0, *range(first, min(first + PAGE, 2_514)), full=first + PAGE <= 2_514))
        assert came[0][0] == first
        requests = live.pass_time(0)
        if not requests:
            break
        (request,) = requests
    assert asked == [11, 1_011, 2_011], "three pages, none twice"
    assert live.released[0] == list(range(1, 2_513))
    assert live.ledger() == [(0, 11, 2_511, "disconnect", "filled")]
    assert live.sequencer.take_duplicates().sum() == 0


def test_a_reconnect_that_missed_nothing_leaves_no_line(live: Feed) -> None:
    live.sequencer.disconnect(live.now)
    live.connect()
    assert live.feed(frames((0, 11), (1, 11))) == [[11], [11]]
    assert live.pass_time(9) == [] and live.gaps == []


def test_a_reconnect_into_shuffled_messages_that_missed_nothing_leaves_no_line(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 13), (0, 12)))
    assert live.feed(frames((0, 11), (1, 11))) == [[11, 12, 13], [11]]
    assert live.pass_time(9) == [] and live.gaps == []


def test_a_symbol_silent_since_the_connect_is_asked_for(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 11)))
    assert live.pass_time(PATIENCE.settle_s / 2) == [], "the exchange's database may lag"
    (request,) = live.pass_time(PATIENCE.settle_s)
    assert (request.symbol, request.from_id) == (1, 11)
    assert live.answer(request, page(1, 11, 12, 13)) == [[], [11, 12, 13]]
    assert live.ledger() == []
    live.feed(frames((1, 14)))
    assert live.ledger() == [(1, 11, 13, "disconnect", "filled")]


def test_what_the_socket_brings_after_all_was_not_missed(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 11)))
    (request,) = live.pass_time(PATIENCE.settle_s)
    live.answer(request, page(1, 11, 12, 13))
    live.feed(frames((1, 12), (1, 13), (1, 14)))
    assert live.ledger() == [(1, 11, 11, "disconnect", "filled")]
    assert live.released[1][-4:] == [11, 12, 13, 14]
    assert live.sequencer.take_duplicates().tolist() == [0, 2]


def test_a_symbol_that_stays_silent_gets_its_line_all_the_same(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 11)))
    (request,) = live.pass_time(PATIENCE.settle_s)
    live.answer(request, page(1, 11, 12))
    assert live.pass_time(PATIENCE.settle_s) == []
    assert live.ledger() == [(1, 11, 12, "disconnect", "filled")]
    live.feed(frames((1, 15)))
    (request,) = live.pass_time(PATIENCE.grace_s)
    live.answer(request, page(1, 13, 14, 15))
    assert live.ledger() == [(1, 11, 12, "disconnect", "filled"), (1, 13, 14, "disconnect", "filled")]
    assert live.released[1][-5:] == [11, 12, 13, 14, 15]


def test_two_outages_in_a_row_are_two_lines(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 15)))
    live.connect()
    live.feed(frames((0, 20), (1, 11)))
    (request,) = live.pass_time(PATIENCE.grace_s)
    live.answer(request, page(0, *range(11, 21)))
    assert live.released[0] == list(range(1, 21))
    assert live.ledger() == [(0, 11, 14, "disconnect", "filled"), (0, 16, 19, "disconnect", "filled")]


def test_an_outage_after_an_outage_that_nobody_noticed_is_one_line(live: Feed) -> None:
    live.connect()
    live.connect()
    live.feed(frames((0, 20), (1, 11)))
    (request,) = live.pass_time(PATIENCE.grace_s)
    live.answer(request, page(0, *range(11, 21)))
    assert live.ledger() == [(0, 11, 19, "disconnect", "filled")]


def test_an_exchange_that_lags_is_asked_again_and_nothing_passes_the_hole(live: Feed) -> None:
    live.feed(run(0, 21, 22))
    waits = []
    (request,) = live.pass_time(PATIENCE.grace_s)
    for known in ([], [], [], [], [11, 12], []):
        came = live.answer(request, page(0, *known))
        assert came[0] == known
        began = live.now
        while not (asked := live.pass_time(0.05)):
            assert live.now - began < 2 * PATIENCE.backoff_cap_s
        waits.append(live.now - began)
        (request,) = asked
    assert waits[0] < waits[1] < waits[2] < waits[3], "with backoff"
    assert waits[4] < waits[3], "and anew after progress"
    assert live.answer(request, page(0, *range(13, 23)))[0] == list(range(13, 23))
    assert live.ledger() == [(0, 11, 20, "lost", "filled")]
    assert "open" in {gap.status for gap in live.gaps}


def test_ids_that_the_exchange_skips_are_given_up_after_so_many_tries(live: Feed) -> None:
    live.feed(run(0, 15, 16))
    for attempt in range(PATIENCE.tries):
        (request,) = live.pass_time(PATIENCE.backoff_cap_s)
        assert request.from_id == (11 if attempt == 0 else 12)
        live.answer(request, page(0, *([11] if attempt == 0 else []), 13, 14, 15, 16))
    (request,) = live.pass_time(PATIENCE.backoff_cap_s)
    assert live.released[0][-1] == 11
    live.answer(request, page(0, 13, 14, 15, 16))
    assert live.released[0] == [*range(1, 12), 13, 14, 15, 16]
    assert live.after_hole[0] == [1, 13], "its bar is not complete"
    assert live.ledger() == [(0, 11, 11, "lost", "filled"), (0, 12, 12, "lost", "unfillable"), (0, 13, 14, "lost", "filled")]
    assert live.pass_time(9) == []


def test_an_exchange_that_says_nothing_of_the_ids_for_long_has_none(live: Feed) -> None:
    live.feed(run(0, 15, 16))
    while live.sequencer.waiting():
        for request in live.pass_time(1.0):
            live.answer(request, page(0))
        assert live.now < 2 * PATIENCE.lag_s
    assert live.now >= PATIENCE.lag_s
    assert live.ledger() == [(0, 11, 14, "lost", "unfillable")]


def test_a_request_that_fails_is_repeated_however_often(live: Feed) -> None:
    live.feed(run(0, 12, 13))
    for _ in range(50):
        (request,) = live.pass_time(PATIENCE.backoff_cap_s)
        live.answer(request, None)
    (request,) = live.pass_time(PATIENCE.backoff_cap_s)
    assert live.answer(request, page(0, 11, 12, 13)) == [[11, 12, 13], []]


def test_an_id_that_the_exchange_lists_without_a_trade_is_consumed_at_once(live: Feed) -> None:
    live.feed(frames((0, 12), (0, 14)))
    (request,) = live.pass_time(PATIENCE.grace_s)
    assert live.answer(request, page(0, 12, 13, 14, rejected=[11])) == [[12, 13, 14], []]
    assert live.after_hole[0] == [1], "nothing is missing"
    assert live.feed(frames((0, 15))) == [[15], []]


def test_duplicates_are_dropped_and_counted(live: Feed) -> None:
    assert live.feed(frames((0, 10), (0, 11), (0, 11), (1, 3), (0, 13), (0, 13))) == [[11], []]
    live.feed(frames((0, 13), (0, 12), (0, 12)))
    assert live.released[0] == list(range(1, 14))
    assert live.sequencer.take_duplicates().tolist() == [5, 1]
    assert live.sequencer.take_duplicates().tolist() == [0, 0]


def test_an_exchange_that_plays_its_recording_anew_gives_duplicates_only(live: Feed) -> None:
    before = live.watermark.copy()
    live.sequencer.disconnect(live.now)
    live.connect()
    for i in range(1, 11):
        assert live.feed(frames((0, i), (1, i))) == [[], []]
    assert live.feed(frames((0, 11), (1, 11))) == [[11], [11]]
    assert live.sequencer.take_duplicates().tolist() == [10, 10]
    assert live.gaps == [] and live.pass_time(9) == []
    assert (live.watermark > before).all()


def test_a_quiet_symbol_follows_the_time_seen_on_others_less_the_allowance(live: Feed) -> None:
    live.feed(run(0, 11, 100))
    assert live.watermark.tolist() == [ts_of(100), ts_of(100) - QUIET_US]


def test_no_quiet_watermark_while_disconnected(live: Feed) -> None:
    live.sequencer.disconnect(live.now)
    live.feed(run(0, 11, 100))
    assert live.watermark[1] == ts_of(10)


def test_no_quiet_watermark_while_a_hole_is_open(live: Feed) -> None:
    live.feed(frames((1, 13)))
    live.feed(run(0, 11, 100))
    assert live.watermark[1] == ts_of(10)


def test_what_rest_tells_of_one_symbol_moves_no_quiet_watermark_of_another(live: Feed) -> None:
    live.feed(frames((0, 12)))
    before = live.watermark[1]
    (request,) = live.pass_time(PATIENCE.grace_s)
    live.answer(request, page(0, *range(11, 101)))  # the socket has said nothing since 12: it may be silent
    assert live.released[0][-1] == 12 and live.watermark[1] == before


def test_no_quiet_watermark_before_the_exchange_was_asked(live: Feed) -> None:
    live.sequencer.connect(live.now, "disconnect")
    live.feed(run(0, 11, 100))
    assert live.pass_time(9) == [] and live.watermark[1] == ts_of(10), "not all streams are subscribed"
    live.sequencer.subscribed(live.now)
    (request,) = live.pass_time(PATIENCE.settle_s)
    assert live.watermark[1] == ts_of(10)
    live.answer(request, page(1))
    assert live.watermark[1] == ts_of(100) - QUIET_US


def test_a_symbol_that_was_about_to_begin_when_the_socket_dropped_is_asked_about_too() -> None:
    feed = Feed()
    feed.connect("restart")
    feed.feed(frames((0, 1), (1, 1)))
    feed.sequencer.disconnect(feed.now)
    feed.connect()
    feed.feed(run(0, 2, 100))
    (request,) = feed.pass_time(PATIENCE.settle_s)
    assert (request.symbol, request.from_id) == (1, 2) and feed.watermark[1] == ts_of(1)
    assert feed.answer(request, page(1, 2)) == [[], [2]]


def test_an_answer_of_before_the_connect_says_nothing_about_after_it(live: Feed) -> None:
    live.connect()
    live.feed(run(0, 11, 100))
    (request,) = live.pass_time(PATIENCE.settle_s)
    live.sequencer.disconnect(live.now)
    live.connect()
    live.feed(frames((0, 101)))
    live.answer(request, page(1))
    assert live.watermark[1] == ts_of(10)
    (request,) = live.pass_time(PATIENCE.settle_s)
    live.answer(request, page(1, 11))
    assert live.watermark[1] == ts_of(101) - QUIET_US


def test_a_symbol_never_seen_has_no_watermark() -> None:
    feed = Feed(3)
    feed.connect("restart")
    feed.feed(frames(*((0, i) for i in range(1, 101)), symbols=3))
    feed.now += 1
    feed.take()
    feed.feed(frames((0, 101), symbols=3))
    assert feed.watermark.tolist() == [ts_of(101), NEVER, NEVER]


def test_a_restart_asks_for_what_came_since_its_snapshot(live: Feed) -> None:
    live.feed(frames((0, 11), (0, 14)))
    snapshot = live.sequencer.snapshot()
    live.feed(frames((0, 12)))
    again = Feed()
    again.sequencer.resume(snapshot)
    again.connect("restart")
    again.feed(frames((0, 20)))
    (first,) = again.pass_time(PATIENCE.grace_s)
    assert (first.symbol, first.from_id) == (0, 12)
    again.answer(first, page(0, *range(12, 21)))
    (second,) = again.pass_time(PATIENCE.settle_s)
    again.answer(second, page(1))
    assert again.released == [list(range(12, 21)), []]
    assert again.ledger() == [(0, 12, 19, "restart", "filled")]
    assert again.gaps[0].ts == ts_of(11)
    assert again.after_hole == [[], []]


def test_a_restart_before_the_first_snapshot_begins_at_the_first_id() -> None:
    feed = Feed()
    feed.sequencer.begin(0, 5, ts_of(5), broken=True)
    feed.connect("restart")
    feed.feed(frames((0, 9)))
    (request,) = feed.pass_time(PATIENCE.grace_s)
    assert request.from_id == 5
    feed.answer(request, page(0, *range(5, 10)))
    assert feed.released[0] == [5, 6, 7, 8, 9] and feed.after_hole[0] == [5]
    assert feed.gaps[0].ts == ts_of(5)


def test_a_restart_before_the_first_snapshot_begins_at_the_first_id_of_a_new_listing() -> None:
    feed = Feed()
    feed.sequencer.begin(0, 0, ts_of(0), broken=True)
    feed.connect("restart")
    feed.feed(frames((0, 9)))
    (request,) = feed.pass_time(PATIENCE.grace_s)
    assert request.from_id == 0
    feed.answer(request, page(0, *range(10)))
    assert feed.released[0] == list(range(10)) and feed.after_hole[0] == [0]


def test_a_symbol_asked_about_before_the_first_message_has_the_watermark_that_it_began_with() -> None:
    feed = Feed()
    feed.sequencer.begin(0, 5, ts_of(5), broken=False)
    feed.connect("restart")
    (request,) = feed.pass_time(PATIENCE.settle_s)
    feed.answer(request, page(0))
    feed.pass_time(PATIENCE.settle_s)
    assert feed.watermark.tolist() == [ts_of(5), NEVER]


def test_memory_is_bounded_while_a_hole_stays_open_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.feed.sequencer.HELD", 2 * REACH)
    feed = Feed()
    feed.connect("restart")
    feed.feed(run(0, 1, 10))
    feed.now += 1
    feed.take()
    total = 20 * REACH
    for first in range(12, total, 100):
        feed.feed(run(0, first, min(first + 99, total)))
        assert feed.sequencer.waiting() <= 2 * REACH + 100
    pages = 0
    while feed.released[0][-1] < total:
        for request in feed.pass_time(PATIENCE.backoff_cap_s):
            last = min(request.from_id + PAGE - 1, total)
            feed.answer(request, page(0, *range(request.from_id, last + 1), full=last < total))
            pages += 1
        assert pages < 30
    assert feed.released[0] == list(range(1, total + 1))
    assert feed.feed(frames((0, total + 1)))[0] == [total + 1]


def test_a_symbol_whose_newest_trades_were_dropped_has_no_quiet_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.feed.sequencer.HELD", 2 * REACH)
    feed = Feed()
    feed.connect("restart")
    feed.feed(frames((0, 1), (1, 1)))
    feed.now += 1
    feed.take()
    feed.feed(run(0, 3, 4 * REACH))
    feed.feed(run(1, 2, 5 * REACH))
    (request,) = feed.pass_time(1)
    feed.answer(request, page(0, 2, 3))
    assert feed.released[0][-1] < 4 * REACH
    assert feed.watermark[0] == ts_of(feed.released[0][-1])


def test_held_trades_of_many_symbols_fit_in_memory() -> None:
    assert HELD * 82 < 100e6  # bytes of a row


# ids that only grow


def test_a_jump_of_ids_that_only_grow_is_no_hole(sparse: Feed) -> None:
    assert sparse.feed(frames((0, 11), (0, 15), (0, 16))) == [[11], []]
    assert sparse.pass_time(PATIENCE.grace_s) == [] and sparse.released[0][-3:] == [11, 15, 16]
    assert sparse.feed(frames((0, 17))) == [[17], []], "the next id waits for nothing"
    assert sparse.pass_time(9) == [] and sparse.gaps == [] and sparse.after_hole == [[1], [1]]
    assert sparse.sequencer.waiting() == 0


def test_ids_that_only_grow_come_out_in_order_each_once_whatever_their_messages_did(sparse: Feed) -> None:
    sparse.feed(frames((0, 15), (0, 13), (0, 15)))
    sparse.now += PATIENCE.grace_s / 2
    assert sparse.feed(frames((0, 19), (0, 12), (0, 11))) == [[11, 12, 13], []]
    sparse.now += PATIENCE.grace_s / 2
    assert sparse.take() == [[15], []], "19 has not waited for what may come before it"
    assert sparse.feed(frames((0, 18), (0, 13))) == [[], []]
    sparse.now += PATIENCE.grace_s
    assert sparse.take() == [[18, 19], []]
    assert sparse.sequencer.take_duplicates().tolist() == [2, 0]


def test_many_messages_behind_a_jump_wait_no_longer(sparse: Feed) -> None:
    for first in range(12, 6 * REACH, 100):
        sparse.feed(frames(*((0, i) for i in range(first, first + 100, 2))))
        assert sparse.sequencer.waiting() <= 2 * REACH + 50
    assert sparse.released[0][10:100] == list(range(12, 192, 2)) and sparse.pass_time(0) == []


def test_after_an_outage_ids_that_the_exchange_does_not_list_are_none(sparse: Feed) -> None:
    sparse.sequencer.disconnect(sparse.now)
    sparse.connect()
    sparse.feed(frames((0, 20), (0, 25), (1, 11)))
    assert sparse.released[0][-1] == 10, "until the exchange was asked"
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert (request.symbol, request.from_id) == (0, 11)
    assert sparse.answer(request, page(0, 12, 17, 20, 25, 28)) == [[12, 17, 20, 25], []]
    assert sparse.pass_time(9) == []
    assert sparse.ledger() == [(0, 11, 19, "disconnect", "filled")] and sparse.gaps[0].trades == 2
    assert sparse.after_hole == [[1], [1]]


def test_what_was_on_its_way_when_the_connection_broke_is_asked_for(sparse: Feed) -> None:
    sparse.feed(frames((0, 15)))
    sparse.sequencer.disconnect(sparse.now)
    (request,) = sparse.pass_time(9)
    assert request.from_id == 11 and sparse.released[0][-1] == 10, "13 may have been on its way"
    sparse.connect()
    sparse.feed(frames((0, 20), (1, 11)))
    assert sparse.answer(request, page(0, 13, 15, 17, 20)) == [[13, 15], []]
    (request,) = sparse.pass_time(PATIENCE.backoff_cap_s)
    assert sparse.answer(request, page(0, 17, 20)) == [[17, 20], []]
    assert sparse.ledger() == [(0, 11, 19, "disconnect", "filled")] and sparse.gaps[-1].trades == 2


def test_an_outage_in_which_nothing_came_leaves_no_line_whatever_the_ids(sparse: Feed) -> None:
    sparse.connect()
    sparse.feed(frames((0, 20), (1, 11)))
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert sparse.answer(request, page(0, 20, 23)) == [[20], []]
    assert sparse.pass_time(9) == [] and sparse.gaps == []


def test_an_exchange_that_lags_is_asked_until_it_knows_what_the_socket_brought(sparse: Feed) -> None:
    sparse.connect()
    sparse.feed(frames((0, 20), (1, 11)))
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert sparse.answer(request, page(0, 12)) == [[12], []]
    (request,) = sparse.pass_time(PATIENCE.backoff_cap_s)
    assert request.from_id == 13
    sparse.answer(request, page(0))
    (request,) = sparse.pass_time(PATIENCE.backoff_cap_s)
    assert sparse.answer(request, page(0, 15, 20)) == [[15, 20], []]
    assert sparse.ledger() == [(0, 11, 19, "disconnect", "filled")] and sparse.gaps[-1].trades == 2


def test_an_exchange_that_never_knows_what_the_socket_brought_leaves_a_hole(sparse: Feed) -> None:
    sparse.connect()
    sparse.feed(frames((0, 20), (1, 11)))
    while sparse.sequencer.waiting():
        for request in sparse.pass_time(1.0):
            sparse.answer(request, page(0))
        assert sparse.now < 2 * PATIENCE.lag_s
    assert sparse.ledger() == [(0, 11, 19, "disconnect", "unfillable")] and sparse.after_hole[0] == [1, 20]


def test_a_symbol_that_is_silent_after_an_outage_is_asked_about_again_at_its_first_jump(sparse: Feed) -> None:
    sparse.connect()
    sparse.feed(frames((0, 11)))
    (request,) = sparse.pass_time(PATIENCE.settle_s)
    assert sparse.answer(request, page(1, 13)) == [[], [13]]
    assert sparse.pass_time(PATIENCE.settle_s) == []
    sparse.feed(frames((1, 20)))
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert (request.symbol, request.from_id) == (1, 14)
    assert sparse.answer(request, page(1, 16, 20)) == [[], [16, 20]], "its database had not known it yet"
    assert [(gap.first_id, gap.last_id, gap.trades) for gap in sparse.gaps] == [(11, 13, 1), (14, 19, 1)]


def test_a_restart_asks_for_what_came_since_whatever_the_ids(sparse: Feed) -> None:
    sparse.feed(frames((0, 14)))
    again = Feed(contiguous=False)
    again.sequencer.resume(sparse.sequencer.snapshot())
    again.connect("restart")
    again.feed(frames((0, 20), (1, 11)))
    (request,) = again.pass_time(PATIENCE.grace_s)
    assert request.from_id == 11
    assert again.answer(request, page(0, 14, 20)) == [[14, 20], []]
    assert again.ledger() == [(0, 11, 19, "restart", "filled")]


# streams that are silent alone


def quiet(feed: Feed, seconds: float, symbol: int = 1) -> list[Request]:
    """Time in which the socket is silent about one symbol while the other one streams, until something is asked."""
    asked: list[Request] = []
    until = feed.now + seconds
    while feed.now < until and not asked:
        i = feed.released[1 - symbol][-1] + 1
        feed.feed(run(1 - symbol, i, i + 9))
        asked = feed.pass_time(1.0)
    return asked


def test_a_symbol_that_is_silent_while_others_stream_is_asked_about_ever_more_seldom(live: Feed) -> None:
    waits, began = [], live.now
    for _ in range(7):
        (request,) = quiet(live, 2_000)
        waits.append(round(live.now - began))
        began = live.now
        assert (request.symbol, request.from_id, request.probe) == (1, 11, True)
        assert live.answer(request, page(1)) == [[], []]
    assert waits == [60, 120, 240, 480, 600, 600, 600]
    live.feed(frames((1, 11)))
    assert len(quiet(live, 61)) == 1, "its first message makes it one that streams"
    assert live.gaps == [] and live.sequencer.take_dead() == []
    assert live.watermark[1] > ts_of(11)


def test_a_connection_that_takes_over_from_a_silent_one_leaves_no_trade_between_them(live: Feed) -> None:
    live.sequencer.subscribed(live.now)  # what came since the old one fell silent was told by neither
    live.feed(run(0, 11, 100))
    (request,) = live.pass_time(PATIENCE.settle_s)
    assert (request.symbol, request.from_id) == (1, 11) and live.watermark[1] == ts_of(10)
    assert live.answer(request, page(1, 11)) == [[], [11]]
    assert live.watermark[1] == ts_of(100) - QUIET_US


def test_an_exchange_that_has_overdue_trades_shows_a_dead_stream(live: Feed) -> None:
    (request,) = quiet(live, 61)
    assert live.answer(request, page(1, *range(11, 15))) == [[], [11, 12, 13, 14]]
    assert live.sequencer.take_dead() == [1] and live.sequencer.take_dead() == []
    before = live.watermark[1]
    assert quiet(live, 30) == [] and live.watermark[1] == before, "nothing vouches for its stream"
    live.sequencer.subscribed(live.now)  # the new connection streams
    other, request = sorted(live.pass_time(PATIENCE.settle_s), key=lambda request: request.symbol)
    assert live.answer(other, page(0)) == [[], []], "who knows how long the old one streamed it"
    assert (request.symbol, request.from_id, request.probe) == (1, 15, False)
    assert live.answer(request, page(1, *range(15, 20))) == [[], list(range(15, 20))]
    assert live.watermark[1] > before
    assert live.feed(frames((1, 20))) == [[], [20]]
    assert live.ledger() == [(1, 11, 19, "lost", "filled")] and live.gaps[-1].trades == 9
    assert live.after_hole == [[1], [1]]


def test_a_dead_stream_that_missed_many_trades_is_filled_page_by_page(live: Feed) -> None:
    (request,) = quiet(live, 61)
    live.answer(request, page(1, *range(11, 11 + PAGE), full=True))
    (request,) = live.pass_time(0)
    assert request.from_id == 11 + PAGE
    live.answer(request, page(1, *range(11 + PAGE, 2_000)))
    assert live.released[1] == list(range(1, 2_000))


def test_trades_that_the_socket_may_be_about_to_bring_are_left_to_it(live: Feed) -> None:
    (request,) = quiet(live, 61)
    newest = live.released[0][-1]
    told = frames((1, 11), ts=[ts_of(newest) - int(PATIENCE.overdue_s * SECOND_US) + 1])
    assert live.answer(request, Page(told, told.id, False)) == [[], []] and live.sequencer.take_dead() == []
    assert len(quiet(live, PATIENCE.overdue_s + 1)) == 1, "a second look soon"
    assert live.feed(frames((1, 11))) == [[], [11]] and live.gaps == []


def test_an_answer_that_comes_after_the_symbol_does_says_nothing_of_its_stream(live: Feed) -> None:
    (request,) = quiet(live, 61)
    live.feed(frames((1, 11)))
    live.answer(request, page(1, 11, 12))
    assert live.sequencer.take_dead() == [] and live.released[1][-1] == 11


def test_a_connection_that_is_silent_as_a_whole_is_not_asked_about(live: Feed) -> None:
    assert live.pass_time(PATIENCE.silence_s) == [] and live.pass_time(900) == []


def test_one_silent_symbol_is_asked_about_at_a_time() -> None:
    feed = Feed(symbols=5)
    feed.connect("restart")
    for s in range(5):
        feed.feed(frames(*((s, i) for i in range(1, 11)), symbols=5))
    feed.now += 1
    feed.take()
    asked = []
    for second in range(70):
        feed.feed(frames((0, 11 + second), symbols=5))
        requests = feed.pass_time(1.0)
        assert len(requests) <= 1
        for request in requests:
            asked.append(request.symbol)
            feed.answer(request, Page(frames(symbols=5), np.zeros(0, np.int64), False))
    assert asked == [1, 2, 3, 4]


def test_a_dead_stream_is_found_where_ids_only_grow_and_what_comes_until_the_next_one_streams_is_filled(sparse: Feed) -> None:
    (request,) = quiet(sparse, 61)
    assert sparse.answer(request, page(1, 13, 17)) == [[], [13, 17]]
    assert sparse.sequencer.take_dead() == [1]
    sparse.sequencer.subscribed(sparse.now)
    newest = sparse.released[0][-1]
    sparse.feed(frames((1, 30), (0, newest + 1)))
    (request,) = sparse.pass_time(PATIENCE.backoff_s)
    assert sparse.released[0][-1] == newest + 1
    assert sparse.answer(request, page(1, 22, 30)) == [[], [22, 30]]
    assert sparse.ledger() == [(1, 11, 29, "lost", "filled")] and sparse.gaps[-1].trades == 3


def test_when_one_stream_is_dead_and_ids_only_grow_every_symbol_is_asked_about(sparse: Feed) -> None:
    (request,) = quiet(sparse, 61)
    sparse.answer(request, page(1, 13, 17))
    newest = sparse.released[0][-1]
    sparse.sequencer.subscribed(sparse.now)
    sparse.feed(frames((0, newest + 9)))  # its stream may have been dead too, and no jump tells
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert (request.symbol, request.from_id) == (0, newest + 1)
    sparse.answer(request, page(0, newest + 4, newest + 9))
    assert sparse.released[0][-2:] == [newest + 4, newest + 9]


UNKNOWN = Page(Frames.none(2), np.zeros(0, np.int64), False, unknown=True)


def test_a_symbol_that_the_exchange_does_not_know_any_more_is_asked_for_far_more_seldom_and_holds_no_other(live: Feed) -> None:
    live.connect()
    live.feed(frames((0, 11)))
    (request,) = live.pass_time(PATIENCE.settle_s)
    live.answer(request, UNKNOWN)
    assert quiet(live, PATIENCE.unknown_s - 1) == []
    assert live.watermark[1] == ts_of(10) and live.watermark[0] > ts_of(2_000), "its pairs wait, no others"
    (request,) = quiet(live, 2)
    live.answer(request, page(1, 11))
    assert live.released[1][-1] == 11, "it is back"


def test_a_symbol_that_falls_silent_because_it_is_gone_waits(live: Feed) -> None:
    (request,) = quiet(live, 61)
    live.answer(request, UNKNOWN)
    stood = live.watermark[1]
    assert quiet(live, PATIENCE.unknown_s - 1) == [] and live.watermark[1] == stood
    assert live.sequencer.take_dead() == []
    (request,) = quiet(live, 2)
    assert not request.probe
    live.answer(request, page(1))
    assert live.watermark[1] > stood


REFUSED = replace(UNKNOWN, unknown=False, refused=True)


def refusals(feed: Feed, answer: Page, seconds: float) -> int:
    """Answer every request in this way for so long; how many there were."""
    until, asked = feed.now + seconds, 0
    while feed.now < until:
        for request in feed.pass_time(0.25):
            asked += 1
            feed.answer(request, answer)
    return asked


@pytest.mark.parametrize("answer", [REFUSED, UNKNOWN], ids=["refused", "unknown"])
@pytest.mark.parametrize("contiguous", [True, False])
def test_ids_that_the_exchange_refuses_to_tell_are_given_up_so_that_live_trades_flow(answer: Page, contiguous: bool) -> None:
    feed = begun(Feed(contiguous=contiguous))
    feed.sequencer.disconnect(feed.now)
    feed.connect()
    feed.feed(run(0, 15, 20))
    assert refusals(feed, answer, PATIENCE.refused_s - 1) >= PATIENCE.tries and feed.released[0][-1] == 10, "for a while it may pass"
    refusals(feed, answer, PATIENCE.backoff_cap_s + 2)
    assert feed.released[0][10:] == [15, 16, 17, 18, 19, 20] and feed.after_hole[0] == [1, 15]
    assert feed.ledger() == [(0, 11, 14, "disconnect", "unfillable")]
    assert feed.feed(run(0, 21, 25))[0] == [21, 22, 23, 24, 25], "and go on flowing"


def test_a_refusal_that_passes_in_time_costs_nothing(live: Feed) -> None:
    live.feed(run(0, 13, 14))
    refusals(live, REFUSED, PATIENCE.refused_s / 2)
    (request,) = live.pass_time(PATIENCE.backoff_cap_s)
    live.answer(request, page(0, 11, 12, 13))
    assert live.released[0][10:] == [11, 12, 13, 14] and live.ledger() == [(0, 11, 12, "lost", "filled")]
    live.feed(run(0, 16, 16))
    assert refusals(live, REFUSED, PATIENCE.refused_s - 1) and live.released[0][-1] == 14, "refusals of before do not count"


def test_a_symbol_that_waits_for_nothing_is_asked_about_now_and_then_while_that_is_refused(live: Feed) -> None:
    live.sequencer.disconnect(live.now)
    live.connect()
    assert refusals(live, REFUSED, 10 * PATIENCE.refused_s) <= 2 * 10, "two symbols"
    assert live.feed(run(0, 11, 12))[0] == [11, 12] and live.gaps == []


def test_a_symbol_whose_stream_is_refused_stands_still_until_it_streams_and_is_then_filled(live: Feed) -> None:
    live.sequencer.disconnect(live.now)
    live.sequencer.connect(live.now, "disconnect")
    live.sequencer.subscribed(live.now, refused=[1])
    live.feed(run(0, 11, 60))
    stood = live.watermark[1]
    asked = {request.symbol for _ in range(100) for request in live.pass_time(1.0)}
    assert 1 not in asked and live.watermark[1] == stood and live.watermark[0] > stood
    live.sequencer.joined([1], live.now)
    requests = [request for request in live.pass_time(PATIENCE.settle_s) if request.symbol == 1]
    live.feed(run(1, 41, 41))
    live.answer(requests[0], page(1, *range(11, 41)))
    assert live.released[1][10:] == list(range(11, 42))


def test_a_symbol_that_has_not_begun_begins_when_its_stream_is_no_longer_refused() -> None:
    feed = Feed()
    feed.sequencer.connect(feed.now, "restart")
    feed.sequencer.subscribed(feed.now, refused=[1])
    feed.sequencer.joined([1], feed.now)
    feed.feed(run(1, 5, 7))
    feed.now += PATIENCE.grace_s
    assert feed.take()[1] == [5, 6, 7] and feed.gaps == []


# properties


class Market:
    """An exchange with a lossy, late and shuffled socket and a REST database that lags, in one clock. All chance is from one seed.

    Where ids only grow, a socket that loses single messages cannot be told from one that does not: it loses whole streams only.
    """

    def __init__(self, seed: int, symbols: int, contiguous: bool) -> None:
        self.contiguous = contiguous
        self.rng = np.random.default_rng(seed)
        self.symbols = symbols
        self.now = 0.0
        self.next_id = self.rng.integers(0, 100, symbols)
        self.first = self.next_id.copy()
        self.rate = self.rng.choice([0.3, 3.0, 60.0], symbols)
        self.trades: list[dict[int, int]] = [{} for _ in range(symbols)]  # id to ts
        self.flight: list[tuple[float, int, int]] = []  # arrival, symbol, id
        self.denied = {(s, int(self.next_id[s] + k)) for s in range(symbols) for k in self.rng.integers(5, 4_000, 3)}
        self.void = {(s, int(self.next_id[s] + k)) for s in range(symbols) for k in self.rng.integers(5, 400, 3)} - self.denied
        self.loss, self.double = self.rng.choice([0.0, 0.01, 0.1]), self.rng.choice([0.0, 0.05])
        self.jitter_s, self.lag_s = self.rng.choice([0.0, 0.05, 0.15]), self.rng.choice([0.0, 0.3, 0.9])
        self.fails = self.rng.choice([0.0, 0.3])
        self.page = int(self.rng.choice([3, 20, 1_000]))
        self.mutes = self.rng.choice([0.0, 0.005])
        self.muted: set[int] = set()
        self.brought: list[set[int]] = [set() for _ in range(symbols)]
        if not contiguous:
            self.loss, self.denied = 0.0, set()

    def ts(self) -> int:
        return 1_700_000_000 * SECOND_US + int(self.now * SECOND_US)

    def pass_time(self, seconds: float, connected: bool) -> None:
        self.now += seconds
        for s in range(self.symbols):
            for _ in range(self.rng.poisson(self.rate[s] * seconds)):
                i = int(self.next_id[s])
                self.next_id[s] += 1 if self.contiguous else self.rng.choice([1, 1, 2, 40])
                self.trades[s][i] = self.ts()
                if connected and (s, i) not in self.void and s not in self.muted:
                    for _ in range(0 if self.rng.random() < self.loss else 2 if self.rng.random() < self.double else 1):
                        self.flight.append((self.now + self.rng.random() * self.jitter_s, s, i))

    def arrived(self) -> Frames:
        came = sorted(flying for flying in self.flight if flying[0] <= self.now)
        self.flight = [flying for flying in self.flight if flying[0] > self.now]
        rows = [(s, i) for _, s, i in came]
        for s, i in rows:
            self.brought[s].add(i)
        return frames(*rows, symbols=self.symbols, ts=[self.trades[s][i] for s, i in rows])

    def answer(self, request: Request) -> Page | None:
        if self.rng.random() < self.fails:
            return None
        known = self.ts() - int(self.lag_s * SECOND_US)
        s = request.symbol
        listed = [i for i, ts in self.trades[s].items() if i >= request.from_id and ts <= known and (s, i) not in self.denied]
        listed = listed[: self.page]
        sound = [i for i in listed if (s, i) not in self.void]
        told = frames(*((s, i) for i in sound), symbols=self.symbols, ts=[self.trades[s][i] for i in sound])
        return Page(told, np.array(listed, np.int64), len(listed) >= self.page)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_socket_and_rest_do_each_trade_is_released_once_in_order_and_none_behind_its_watermark(
    seed: int, contiguous: bool
) -> None:
    market = Market(seed, 3, contiguous)
    lossy = market.loss > 0 or market.mutes > 0  # before it is calm
    patience = replace(PATIENCE, silence_s=4.0, silence_cap_s=8.0, overdue_s=2.0)
    sequencer = Sequencer(3, QUIET_US, patience, contiguous)
    released: list[list[int]] = [[] for _ in range(3)]
    gaps: list[Gap] = []
    watermark = np.full(3, NEVER)
    asked: list[tuple[float, Request]] = []
    sequencer.connect(0.0, "restart")
    sequencer.subscribed(0.0)
    connected, calm = True, False
    for tick in range(2_000):
        calm = tick >= 700
        if calm and (not connected or tick == 700):
            market.loss = market.fails = 0.0
            market.page = PAGE
            market.rate = np.full(3, 5.0)  # a quiet symbol shows what it lacks when it trades again
        if (not calm and market.rng.random() < 0.01) or (calm and not connected):
            connected = not connected
            market.muted.clear()
            if connected:
                sequencer.connect(market.now, "disconnect")
                sequencer.subscribed(market.now)
            else:
                sequencer.disconnect(market.now)
                market.flight.clear()
        if not calm and market.rng.random() < 0.003:  # a crash, right after a snapshot
            snapshot = sequencer.snapshot()
            sequencer = Sequencer(3, QUIET_US, patience, contiguous)
            sequencer.resume(snapshot)
            market.flight.clear()
            market.muted.clear()
            asked, connected = [], True
            sequencer.connect(market.now, "restart")
            sequencer.subscribed(market.now)
        if not calm and market.rng.random() < market.mutes:
            muted = int(market.rng.integers(3))
            # of one that was never seen nobody can say what is missing; that all are silent is for the socket's watchdog to see
            if sequencer.last[muted] != NONE and len(market.muted | {muted}) < market.symbols:
                market.muted.add(muted)
        if sequencer.take_dead() and connected:  # another connection has taken over
            market.muted.clear()
            sequencer.subscribed(market.now)
        market.pass_time(0.05, connected)
        sequencer.feed(market.arrived(), market.now)
        for at, request in asked:
            if at <= market.now:
                sequencer.answer(request, market.answer(request), market.now)
        asked = [(at, request) for at, request in asked if at > market.now]
        trades = sequencer.release(market.now)
        for s, i, ts in zip(trades.symbol.tolist(), trades.id.tolist(), trades.ts.tolist(), strict=True):
            released[s].append(i)
            assert market.trades[s][i] == ts
            # loss on a symbol too quiet to show it is what the allowance cannot cover
            if not lossy:
                assert ts >= watermark[s], "a watermark had passed a trade that was still to come"
        assert (trades.watermark >= watermark).all()
        watermark = trades.watermark
        asked += [(market.now + market.rng.random(), request) for request in sequencer.requests(market.now)]
        gaps += sequencer.take_gaps()
        if tick > 1_900:
            market.rate = np.zeros(3)
    assert sequencer.waiting() == 0
    unfillable = {(gap.symbol, i) for gap in gaps if gap.status == "unfillable" for i in range(gap.first_id, gap.last_id + 1)}
    for s in range(3):
        assert released[s] == sorted(set(released[s]))
        begun = released[s][0]
        expected = [i for i in market.trades[s] if i >= begun and (s, i) not in unfillable | market.void]
        assert released[s] == expected
    assert unfillable <= market.denied | market.void
    assert {gap.cause for gap in gaps} <= set(CAUSES) and NONE not in {gap.last_id for gap in gaps}
    final = {(gap.ts, gap.symbol, gap.first_id): gap for gap in gaps}.values()
    assert all(gap.last_id >= gap.first_id for gap in final)
    told = [{i for i in market.trades[s] if (s, i) not in market.void} for s in range(3)]
    for gap in final:
        if gap.status == "filled":
            ids = range(gap.first_id, gap.last_id + 1)
            there = told[gap.symbol] & set(ids)
            least, most = (len(ids), len(ids)) if contiguous else (len(there - market.brought[gap.symbol]), len(there))
            assert least <= gap.trades <= most


def test_a_wrong_time_that_the_exchange_repeats_is_consumed(live: Feed) -> None:
    live.feed(run(0, 14, 20))
    (request,) = live.pass_time(PATIENCE.grace_s)
    hour_us, at = 3_600_000_000, page(0, 11, 12, 13)
    wrong = at.frames.ts.copy()
    wrong[1] += 100 * hour_us
    assert live.answer(request, replace(at, frames=replace(at.frames, ts=wrong)))[0] == [11, 13, *range(14, 21)]
    assert live.watermark[0] == ts_of(20)
