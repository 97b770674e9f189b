"""The sequencer where ids only grow: a jump is no hole."""

from flows.feed.sequencer import REACH
from tests.flows.feed.feeding import PATIENCE, Feed, frames, page


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
