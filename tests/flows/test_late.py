"""A hole found behind a closed bar: it stands in the ledger, and the bar is written again."""

import numpy as np

from flows.feed.asking import Page, Patience
from flows.feed.frames import Frames
from flows.feed.gaps import FILLED, LOST, UNFILLABLE
from flows.feed.sequencer import Sequencer
from operators.bars import BarBuilder
from operators.columns import SECOND_US, Bars

PATIENCE = Patience(grace_s=0.2, settle_s=0.0, tries=1)
QUIET_US = 3 * SECOND_US


def frames(symbol: int, *trades: tuple[int, float]) -> Frames:
    """(id, seconds); the price is the id."""
    n, ids = len(trades), np.array([i for i, _ in trades], np.int64)
    ts = np.array([int(s * SECOND_US) for _, s in trades], np.int64)
    ones = np.ones(n, np.int64)
    return Frames(
        np.full(n, symbol, np.int32),
        ids,
        ts,
        ids.astype(float),
        np.ones(n),
        ids < 0,
        ones,
        ts,
        np.zeros(2, np.int64),
    )


class Line:
    def __init__(self) -> None:
        self.sequencer, self.builder, self.now = (
            Sequencer(2, QUIET_US, PATIENCE),
            BarBuilder.of(2, (SECOND_US,)),
            0.0,
        )
        for symbol in range(2):
            self.sequencer.begin(symbol, 1, 0, broken=False)
        self.sequencer.subscribed(self.now)

    def feed(self, *received: Frames) -> dict[int, tuple[float, int, bool]]:
        """Bars of symbol 0 by second: close, trades, complete."""
        for of in received:
            self.sequencer.feed(of, self.now)
        return self.bars()

    def bars(self) -> dict[int, tuple[float, int, bool]]:
        closed: Bars = self.builder.update(self.sequencer.release(self.now))
        rows = zip(
            closed.symbol.tolist(), (closed.ts // SECOND_US).tolist(), closed.close.tolist(), closed.trades.tolist(), closed.complete.tolist(), strict=True
        )  # fmt: skip
        return {
            second: (close, count, complete) for symbol, second, close, count, complete in rows if symbol == 0
        }

    def answer(self, *trades: tuple[int, float], ids: list[int]) -> dict[int, tuple[float, int, bool]]:
        """The exchange's answer to the one request for symbol 0."""
        self.now += 1.0
        (request,) = self.sequencer.requests(self.now)
        assert (request.symbol, request.from_id) == (0, 3)
        self.sequencer.answer(request, Page(frames(0, *trades), np.array(ids, np.int64), False), self.now)
        return self.bars()


def until_the_hole_shows() -> Line:
    """Symbol 0: trade 3, of second 6, was lost; symbol 1 has moved the watermark to 9, and the bars up to
    there are closed. Then comes 4.
    """
    line = Line()
    early = line.feed(frames(0, (1, 1.0), (2, 5.0)), frames(1, (1, 12.0)))
    assert {second: early[second] for second in (5, 6, 7, 8)} == {
        5: (2.0, 1, True),
        **dict.fromkeys((6, 7, 8), (2.0, 0, True)),
    }
    assert line.feed(frames(0, (4, 12.5))) == {}
    return line


def test_a_filled_hole_behind_a_closed_bar_is_entered_and_the_bars_are_written_again() -> None:
    line = until_the_hole_shows()
    again = line.answer((3, 6.5), ids=[3])
    assert again == {6: (3.0, 1, True), **dict.fromkeys(range(7, 12), (3.0, 0, True))}
    assert [
        (gap.symbol, gap.first_id, gap.last_id, gap.cause, gap.status) for gap in line.sequencer.take_gaps()
    ] == [(0, 3, 3, LOST, FILLED)]


def test_an_unfillable_hole_behind_a_closed_bar_is_entered_and_makes_the_bars_incomplete() -> None:
    line = until_the_hole_shows()
    again = line.answer((4, 12.5), ids=[4])
    again |= line.bars()
    assert {second: complete for second, (_, _, complete) in again.items()} == dict.fromkeys(
        range(5, 12), False
    )
    assert [(gap.first_id, gap.last_id, gap.status) for gap in line.sequencer.take_gaps()][-1:] == [
        (3, 3, UNFILLABLE)
    ]


def test_a_trade_that_was_late_and_not_lost_leaves_no_line() -> None:
    line = Line()
    line.feed(frames(0, (1, 1.0), (2, 5.0)), frames(1, (1, 12.0)))
    again = line.feed(frames(0, (3, 6.5)))
    assert again == {6: (3.0, 1, True), 7: (3.0, 0, True), 8: (3.0, 0, True)}
    assert line.sequencer.take_gaps() == []
