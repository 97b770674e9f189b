"""Watermarks of quiet symbols, restarts, and how much may be held."""

import pytest

from flows.feed.sequencer import HELD, REACH
from operators.columns import NEVER
from tests.flows.feed.feeding import PAGE, PATIENCE, QUIET_US, Feed, frames, page, run, ts_of


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
    live.answer(
        request, page(0, *range(11, 101))
    )  # the socket has brought nothing since 12: it may be silent
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


def test_memory_is_bounded_while_a_hole_stays_open_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_a_symbol_whose_newest_trades_were_dropped_has_no_quiet_watermark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
