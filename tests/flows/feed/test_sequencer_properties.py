"""Random sockets and REST answers: each trade is released once and in order."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.feed.asking import Page, Request
from flows.feed.frames import Frames
from flows.feed.gaps import CAUSES, NONE, Gap
from flows.feed.sequencer import Sequencer
from operators.columns import NEVER, SECOND_US
from tests.flows.feed.feeding import PAGE, PATIENCE, QUIET_US, Feed, frames, page, run, ts_of


class Market:
    """An exchange whose socket loses, delays and shuffles messages, and whose REST database lags.

    All randomness comes from one seed. Where ids only grow, a lost message leaves no trace, so the socket
    then loses whole streams only.
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
        self.denied = {
            (s, int(self.next_id[s] + k)) for s in range(symbols) for k in self.rng.integers(5, 4_000, 3)
        }
        self.void = {
            (s, int(self.next_id[s] + k)) for s in range(symbols) for k in self.rng.integers(5, 400, 3)
        } - self.denied
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
                    for _ in range(
                        0 if self.rng.random() < self.loss else 2 if self.rng.random() < self.double else 1
                    ):
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
        listed = [
            i
            for i, ts in self.trades[s].items()
            if i >= request.from_id and ts <= known and (s, i) not in self.denied
        ]
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
            market.rate = np.full(3, 5.0)  # a quiet symbol shows a loss at its next trade
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
            # Nothing can be said about the losses of a symbol that was never seen; and if all symbols are
            # silent, the socket's watchdog acts, not the sequencer.
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
            # a lost message of a very quiet symbol may be noticed only after its bar has closed
            if not lossy:
                assert ts >= watermark[s], "a watermark had passed a trade that was still to come"
        assert (trades.watermark >= watermark).all()
        watermark = trades.watermark
        asked += [(market.now + market.rng.random(), request) for request in sequencer.requests(market.now)]
        gaps += sequencer.take_gaps()
        if tick > 1_900:
            market.rate = np.zeros(3)
    assert sequencer.waiting() == 0
    unfillable = {
        (gap.symbol, i)
        for gap in gaps
        if gap.status == "unfillable"
        for i in range(gap.first_id, gap.last_id + 1)
    }
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
            least, most = (
                (len(ids), len(ids)) if contiguous else (len(there - market.brought[gap.symbol]), len(there))
            )
            assert least <= gap.trades <= most


def test_a_wrong_time_that_the_exchange_repeats_is_consumed(live: Feed) -> None:
    live.feed(run(0, 14, 20))
    (request,) = live.pass_time(PATIENCE.grace_s)
    hour_us, at = 3_600_000_000, page(0, 11, 12, 13)
    wrong = at.frames.ts.copy()
    wrong[1] += 100 * hour_us
    assert live.answer(request, replace(at, frames=replace(at.frames, ts=wrong)))[0] == [
        11,
        13,
        *range(14, 21),
    ]
    assert live.watermark[0] == ts_of(20)
