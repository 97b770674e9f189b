"""Streams that are silent while others are not, and an exchange that refuses to answer."""

from dataclasses import replace

import numpy as np
import pytest

from flows.feed.asking import Page, Request
from flows.feed.frames import Frames
from operators.columns import SECOND_US
from tests.flows.feed.feeding import PAGE, PATIENCE, QUIET_US, Feed, begun, frames, page, run, ts_of


def quiet(feed: Feed, seconds: float, symbol: int = 1) -> list[Request]:
    """Let the socket be silent about one symbol, while the other one streams, until something is asked."""
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
    live.sequencer.subscribed(live.now)  # neither connection brought what came since the old one fell silent
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


def test_a_dead_stream_is_found_where_ids_only_grow_and_what_comes_until_the_next_one_streams_is_filled(
    sparse: Feed,
) -> None:
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
    sparse.feed(frames((0, newest + 9)))  # its stream may have been dead, too, and no jump shows it
    (request,) = sparse.pass_time(PATIENCE.grace_s)
    assert (request.symbol, request.from_id) == (0, newest + 1)
    sparse.answer(request, page(0, newest + 4, newest + 9))
    assert sparse.released[0][-2:] == [newest + 4, newest + 9]


UNKNOWN = Page(Frames.none(2), np.zeros(0, np.int64), False, unknown=True)


def test_a_symbol_that_the_exchange_does_not_know_any_more_is_asked_for_far_more_seldom_and_holds_no_other(
    live: Feed,
) -> None:
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
    """Answer every request in this way for some time; returns how many there were."""
    until, asked = feed.now + seconds, 0
    while feed.now < until:
        for request in feed.pass_time(0.25):
            asked += 1
            feed.answer(request, answer)
    return asked


@pytest.mark.parametrize("answer", [REFUSED, UNKNOWN], ids=["refused", "unknown"])
@pytest.mark.parametrize("contiguous", [True, False])
def test_ids_that_the_exchange_refuses_to_tell_are_given_up_so_that_live_trades_flow(
    answer: Page, contiguous: bool
) -> None:
    feed = begun(Feed(contiguous=contiguous))
    feed.sequencer.disconnect(feed.now)
    feed.connect()
    feed.feed(run(0, 15, 20))
    assert refusals(feed, answer, PATIENCE.refused_s - 1) >= PATIENCE.tries and feed.released[0][-1] == 10, (
        "for a while it may pass"
    )
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
    assert refusals(live, REFUSED, PATIENCE.refused_s - 1) and live.released[0][-1] == 14, (
        "refusals of before do not count"
    )


def test_a_symbol_that_waits_for_nothing_is_asked_about_now_and_then_while_that_is_refused(
    live: Feed,
) -> None:
    live.sequencer.disconnect(live.now)
    live.connect()
    assert refusals(live, REFUSED, 10 * PATIENCE.refused_s) <= 2 * 10, "two symbols"
    assert live.feed(run(0, 11, 12))[0] == [11, 12] and live.gaps == []


def test_a_symbol_whose_stream_is_refused_stands_still_until_it_streams_and_is_then_filled(
    live: Feed,
) -> None:
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
