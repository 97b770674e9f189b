"""What one symbol waits for while ids are missing or in doubt, and the trades that are held until then.

A missing id goes through these states (times are the defaults of `Patience`; docs/architecture.md explains
them):

    state     where it shows            what happens                                       next
    unseen    -                         its message comes                                  released
              -                         a message with a higher id comes: it is held       early
              -                         the socket opens again, or another one takes over  in doubt
    early     `held.arrived`            its message comes within 0.2 s                     released
              `held.arrived`            0.2 s have passed                                  lost
    in doubt  a hole without `last_id`  the new connection's first message shows the end   lost or released
              `ask_at`                  no message for 1 s: the exchange is asked          asked
              `checked`                 the exchange lists nothing more: it is quiet       in doubt
    lost      a hole                    `attempts.next_try` has come                       asked
              -                         6 denials, or 6 refusals over 30 s                 unfillable
    asked     `attempts.asked`          it is listed, or the socket brings it after all    filled
              `attempts.failed`         no answer: again after 0.25 s, doubled up to 5 s   lost
              `attempts.denials`        other ids are listed, this one is not              lost
              `attempts.refusals`       the exchange refuses to answer                     lost

Behind a filled id the held trades are released. Behind an unfillable one they are released too, and the first
of them is marked: a hole came before it.
"""

from dataclasses import dataclass, field

import numpy as np

from flows.feed.asking import Attempts, Page, Patience, Request
from flows.feed.frames import NEIGHBOURS, Frames, join, plausible
from flows.feed.gaps import NONE
from flows.feed.held import Held
from flows.feed.holes import Holes
from flows.feed.progress import Progress
from operators.columns import NEVER, Longs


@dataclass(slots=True)
class Backlog:
    """One symbol's held trades, its holes, and the questions about them.

    `Sequencer` has one for each symbol that waits, and drops it when nothing is missing, in doubt or held any
    more. The methods that may find this out (`advance`, `give_up`) return False then.
    """

    # Code of the symbol.
    symbol: int
    # Of all symbols: the last released id, and what is released.
    progress: Progress
    patience: Patience
    # Whether each id is the one before + 1. Else ids only grow.
    contiguous: bool
    # Where ids only grow: messages within which ids are put in order.
    reach: int
    # Trades that may be held. The newest of more are dropped, and asked for later.
    most: int
    # The trades that wait.
    held: Held = field(init=False)
    # What is missing before, between and after them.
    holes: Holes = field(init=False)
    # The questions about the first missing ids.
    attempts: Attempts = field(default_factory=Attempts)
    # The exchange has said what came since the last connect.
    checked: bool = False
    # When to ask the exchange that; infinite: not before the subscription.
    ask_at: float = np.inf
    # When the exchange said that; infinite once its answer is in the ledger.
    told_at: float = np.inf
    # Where ids only grow: missing ids up to this one do not exist.
    known_to: int = NONE

    def __post_init__(self) -> None:
        self.held = Held(self.progress.symbols)
        self.holes = Holes(self.symbol, self.progress, self.contiguous)

    @property
    def last(self) -> int:
        """The last id of the symbol that was released or given up."""
        return int(self.progress.last[self.symbol])

    @property
    def last_ts(self) -> int:
        """The newest time of a released trade, µs since the epoch."""
        return int(self.progress.last_ts[self.symbol])

    @property
    def idle(self) -> bool:
        """Nothing is known to be missing, and the exchange was asked: the symbol is quiet."""
        return not self.held.size and self.checked and len(self.holes) == 1 and self.holes.unended is not None

    # held trades

    def take(self, frames: Frames, now: float) -> None:
        """Hold frames that the socket brought."""
        self.holes.hear(int(frames.id.min()))
        self.held.append(frames, now)

    def merge(self) -> None:
        """Sort what came since the last merge into the held trades."""
        self.progress.duplicates[self.symbol] += self.held.merge(self.last)

    def begin(self) -> None:
        """Let a symbol that has not begun begin at the smallest of its held ids."""
        if self.last == NONE and len(self.held.rows):
            self.holes.noted_to = int(self.held.rows.id[0]) - 1
            self.progress.last[self.symbol], self.progress.broken[self.symbol] = self.holes.noted_to, True

    def advance(self, now: float) -> bool:
        """Release the held trades before the first missing id."""
        if not self.contiguous:
            self._pass_jumps(now)
        ids = self.held.rows.id
        run = int(np.searchsorted(ids, self.known_to, side="right"))
        before = max(self.last, self.known_to)
        if run < len(ids) and ids[run] <= before + 1:
            jumps = np.flatnonzero(ids[run + 1 :] != ids[run:-1] + 1)
            run = run + 1 + int(jumps[0]) if len(jumps) else len(ids)
            before = int(ids[run - 1])
        if run or before > self.last:
            self.progress.release_held(self.symbol, self.held.take_first(run), before)
            self.attempts.begin()
        self.holes.close()
        if len(self.held.rows) > self.most:
            self._drop_newest(now)
        return bool(self.held.size or len(self.holes))

    def give_up(self, now: float) -> bool:
        """Declare the ids before the first held trade unfillable, if they are still missing."""
        self.merge()
        self.attempts.begin()
        denied = self.last
        waits = self.advance(now)
        if waits and len(self.held.rows) and self.last == denied:
            self.holes.skip(int(self.held.rows.id[0]) - 1)
            waits = self.advance(now)
        return waits

    def _pass_jumps(self, now: float) -> None:
        """Where ids only grow: let trades pass a jump once they have waited for `grace_s`.

        Only before the first hole; ids within the jump do not exist.
        """
        ids, holes = self.held.rows.id, self.holes.holes
        n = int(np.searchsorted(ids, holes[0].first_id)) if holes else len(ids)
        aged = np.flatnonzero(self.held.arrived[:n] + self.patience.grace_s <= now)
        newest = max(int(aged[-1]) if len(aged) else -1, n - 1 - self.reach)
        if newest >= 0:
            self.known_to = max(self.known_to, int(ids[newest]))

    def _drop_newest(self, now: float) -> None:
        """Bound the memory while a hole stays open.

        What is dropped is asked for later, as if the socket had missed it.
        """
        self.held.drop_behind(self.most)
        self.holes.forget_behind(int(self.held.rows.id[-1]), int(self.held.rows.ts[-1]))
        self.checked, self.ask_at = False, now

    # questions to the exchange

    def doubt(self, now: float, cause: str) -> None:
        """Ids after the newest one may be missing.

        Where ids only grow: ids after the newest one that has waited for `grace_s`.
        """
        self.merge()
        self.holes.end_at_stream()
        if self.holes.unended is None:
            rows, newest, ts = self.held.rows, self.last, self.last_ts
            settled = np.arange(len(rows)) if self.contiguous else self.held.aged(self.patience.grace_s, now)
            if len(settled):
                newest, ts = int(rows.id[settled[-1]]), int(rows.ts[settled[-1]])
            self.holes.open(newest, ts, cause)
        self.checked, self.ask_at = False, np.inf
        self.attempts.next_try = min(self.attempts.next_try, now)

    def doubt_stream(self, from_id: int, ask_at: float) -> None:
        """The stream of a quiet symbol is dead: ids from `from_id` on are missing."""
        self.holes.reopen(from_id)
        self.checked, self.ask_at = False, ask_at

    def aged_id(self, now: float) -> int | None:
        """The highest held id that has waited for `grace_s`: what is missing before it is asked for."""
        aged = self.held.aged(self.patience.grace_s, now)
        return int(self.held.rows.id[aged[-1]]) if len(aged) else None

    def is_due(self, now: float) -> bool:
        """Whether to ask what came since the connect, while no trades are held.

        If the exchange has answered and the socket stays silent, its answer enters the ledger.
        """
        if self.holes.unended is None:
            return False
        if self.checked:
            if self.told_at + self.patience.settle_s <= now:
                self.holes.conclude()
                self.told_at = np.inf
            return False
        return max(self.ask_at, self.attempts.next_try) <= now

    def accept(self, request: Request, page: Page, now: float) -> None:
        """Hold what is missing from the exchange's answer. The socket has still to bring anything newer."""
        frames = self._plausible(page.frames)
        to_id = request.to_id
        if to_id is None and self.holes.unended is not None:
            to_id = self.holes.unended.stream_id
        # Listed, but no trade (price 0): nothing to wait for.
        void = np.setdiff1d(page.ids, frames.id)
        if len(void):
            frames = join([frames, self._placeholders(void)], self.progress.symbols)
        missing = (frames.id > self.last) & ~np.isin(frames.id, self.held.rows.id)
        if to_id is not None:
            missing &= frames.id < to_id
        self.held.append(frames.rows(missing), now)
        if not self.contiguous:
            self.holes.fetched.append(frames.id[missing & (frames.count > 0)])
            if len(page.ids):
                newest = int(page.ids.max())
                self.known_to = max(self.known_to, newest if to_id is None else min(newest, to_id - 1))
        self.merge()

    def take_refusal(self, page: Page, now: float) -> None:
        """The exchange refuses, or does not know the symbol.

        While trades wait it is asked again until they have waited for long; else it is asked now and then.
        """
        if self.held.size:
            self.attempts.refusals += 1
            self.attempts.retry_later(now, self.patience)
        elif page.unknown:
            self.attempts.next_try = now + self.patience.unknown_s
        else:
            self.attempts.begin()
            self.ask_at = now + self.patience.refused_s

    def _plausible(self, frames: Frames) -> Frames:
        """The trades of an answer whose times fit those of the trades before and behind.

        The others are left out, so that the exchange is asked for them again.
        """
        before, behind = np.array([self.last_ts]), self.held.rows.rows(slice(0, NEIGHBOURS)).ts
        if before[0] == NEVER:
            before = before[:0]
        ts = np.concatenate((before, frames.ts, behind))
        fits = plausible(np.zeros(len(ts), np.int32), ts, lone_us=None)
        return frames.rows(fits[len(before) : len(before) + len(frames)])

    def _placeholders(self, ids: Longs) -> Frames:
        """Rows with count 0 for ids without a trade."""
        n, zeros = len(ids), np.zeros(len(ids), np.int64)
        ts, nothing = np.full(n, self.last_ts), np.full(n, np.nan)
        return Frames(
            symbol=np.full(n, self.symbol, np.int32),
            id=ids,
            ts=ts,
            price=nothing,
            qty=nothing,
            is_buyer_maker=np.zeros(n, np.bool_),
            count=zeros,
            event_ts=ts,
            rejected=np.zeros(self.progress.symbols, np.int64),
        )
