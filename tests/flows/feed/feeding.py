"""What the tests of the sequencer share: frames, pages, and a `Feed` that asks and answers."""

from collections.abc import Sequence

import numpy as np

from flows.feed.asking import Page, Patience, Request
from flows.feed.frames import Frames
from flows.feed.gaps import Gap
from flows.feed.sequencer import Sequencer
from operators.columns import SECOND_US

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

    def __init__(
        self,
        symbols: int = 2,
        patience: Patience = PATIENCE,
        quiet_us: int = QUIET_US,
        contiguous: bool = True,
    ) -> None:
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
            trades.symbol.tolist(),
            trades.id.tolist(),
            trades.ts.tolist(),
            trades.price.tolist(),
            trades.after_hole.tolist(),
            strict=True,
        ):
            came[s].append(i)
            if hole:
                self.after_hole[s].append(i)
            assert (ts, price) == (ts_of(i), i + 0.5), "the columns stay together"
        for s, ids in enumerate(came):
            assert ids == sorted(set(ids)) and (
                not ids or not self.released[s] or self.released[s][-1] < ids[0]
            )
            self.released[s] += ids
        assert (trades.watermark >= getattr(self, "watermark", trades.watermark)).all(), (
            "watermarks never go back"
        )
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


def begun(feed: Feed) -> Feed:
    """Connected; symbol 0 has released 1 to 10, symbol 1 has released 1 to 10."""
    feed.connect("restart")
    feed.feed(run(0, 1, 10))
    feed.feed(run(1, 1, 10))
    feed.now += PATIENCE.grace_s
    assert feed.take() == [list(range(1, 11)), list(range(1, 11))]
    return feed
