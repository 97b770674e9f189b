"""What the sequencer does with order, holes, duplicates and outages, by hand."""

from tests.flows.feed.feeding import PAGE, PATIENCE, Feed, frames, page, run, ts_of


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
    assert live.ledger() == [
        (0, 11, 11, "lost", "filled"),
        (0, 13, 13, "lost", "filled"),
        (0, 16, 17, "lost", "filled"),
    ]
    assert live.feed(run(0, 19, 20)) == [[19, 20], []]
    assert live.sequencer.take_duplicates().tolist() == [0, 0], (
        "what the socket had still to bring is left to it"
    )


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
        came = live.answer(
            request, page(0, *range(first, min(first + PAGE, 2_514)), full=first + PAGE <= 2_514)
        )
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
    assert live.ledger() == [
        (0, 11, 11, "lost", "filled"),
        (0, 12, 12, "lost", "unfillable"),
        (0, 13, 14, "lost", "filled"),
    ]
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
