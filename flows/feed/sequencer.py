"""The trades of one partition in the order of their ids, each once, from messages in any order.

A state machine without sockets and without a clock: `now` is an argument.

A hole holds back everything of its symbol behind it, and nothing of other symbols.

A symbol's watermark is the time of its last released trade. A quiet symbol gets its bars nevertheless: its
watermark is also the newest time seen on any symbol less `quiet_us`. That does not hold while the partition
is disconnected, while the symbol has a hole, or before the exchange was asked what came since the last
connect.

`contiguous` says what ids mean on this market. If true, each id is the one before + 1, and a jump is a hole.
If false, ids only grow, and a jump while connected means nothing: the trades behind it wait for `grace_s`, in
case messages come in another order, and no longer. What came while the socket was down is asked for until the
exchange lists the first id that the socket brought since, or a later one; ids that it does not list do not
exist.

When the stream of one symbol is silent while others are not, the exchange is asked about it
(`Request.probe`). If the exchange has overdue trades of it, its stream is dead: `take_dead` returns it, and
its watermark does not move until `subscribed` is called for a new connection.

    file          a class a subject
    progress.py   Progress: how far each symbol has come, and what is released
    backlog.py    Backlog: what one symbol waits for (the states of a missing id)
    held.py       Held: the trades that wait behind it
    holes.py      Holes: the missing ids, and when they enter the ledger
    gaps.py       Hole and Gap: one of them, and its line in the ledger
    asking.py     Request, Page, Patience, Attempts: questions to the exchange
    silence.py    Silence: when to ask about a symbol that is silent alone
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from flows.feed.asking import Page, Patience, Request
from flows.feed.backlog import Backlog
from flows.feed.frames import Frames
from flows.feed.gaps import DISCONNECT, LOST, NONE, Gap
from flows.feed.progress import Progress
from flows.feed.silence import Silence
from operators.columns import Flags, Longs, Trades

REACH: Final = 1_000  # messages of a symbol within which ids are put in order
HELD: Final = 1_000_000  # trades held behind holes, of all symbols: about 80 MB


@dataclass(slots=True)
class Sequencer:
    """Releases the trades of each symbol in the order of their ids, each once."""

    # The number of symbols of the partition.
    symbols: int
    # How far a quiet symbol's watermark lags behind the others, µs.
    quiet_us: int
    patience: Patience
    # Whether each id is the one before + 1. Else ids only grow.
    contiguous: bool = True
    # Whether the symbols stream.
    connected: bool = False
    _progress: Progress = field(init=False)
    _silence: Silence = field(init=False)
    # Of each symbol that waits.
    _backlogs: dict[int, Backlog] = field(default_factory=dict)
    # (symbols,) whether it is among them.
    _waits: Flags = field(init=False)
    # How many connections there have been.
    _connections: int = 0
    # Symbols with a dead stream, since the caller last took them.
    _dead: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._progress, self._silence = Progress(self.symbols), Silence(self.symbols, self.patience)
        self._waits = np.zeros(self.symbols, np.bool_)

    @property
    def last(self) -> Longs:
        """(symbols,) the last id released or given up; NONE before the first one."""
        return self._progress.last

    @property
    def watermark(self) -> Longs:
        """(symbols,) no trade of the symbol before this time is still to come; µs since the epoch."""
        return self._progress.watermark

    # what the caller reports

    def snapshot(self) -> dict[str, Any]:
        """What a restart needs. Trades that are held back are not in it: they are asked for again."""
        return self._progress.snapshot()

    def resume(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot; before the first frame."""
        self._progress.resume(snapshot)

    def begin(self, symbol: int, first_id: int, ts: int, *, broken: bool) -> None:
        """Let a symbol that has released nothing begin at a known trade; before the first frame.

        `broken`: earlier trades were not seen.
        """
        self._progress.begin(symbol, first_id, ts, broken=broken)

    def connect(self, now: float, cause: str) -> None:
        """The socket is open (again): every symbol that has begun, or is about to, may have missed ids."""
        self._connections += 1
        self.connected = False
        self._silence.connect(self._progress.begun, now)
        self._doubt_all(now, cause)

    def subscribed(self, now: float, refused: Sequence[int] = ()) -> None:
        """All symbols but the `refused` ones stream: from now on the socket misses nothing of them.

        Called again when another connection takes over, because the one before may have been silent.
        """
        if self.connected:
            self._connections += 1
            self._doubt_all(now, LOST)
        self.connected = True
        for s, backlog in self._backlogs.items():
            if not backlog.checked and s not in refused:
                backlog.ask_at = now + self.patience.settle_s

    def joined(self, symbols: Sequence[int], now: float) -> None:
        """These symbols stream now, too."""
        for s in symbols:
            if self.last[s] != NONE or self._waits[s]:
                backlog = self._backlog(s)
                backlog.doubt(now, LOST)
                backlog.ask_at = now + self.patience.settle_s

    def disconnect(self, now: float) -> None:
        """The socket is closed."""
        self.connected = False
        if not self.contiguous:
            for backlog in [backlog for backlog in self._backlogs.values() if backlog.held.size]:
                backlog.merge()
                backlog.begin()
                # messages that were on their way before its newest one will not come any more
                backlog.doubt(now, DISCONNECT)

    def feed(self, frames: Frames, now: float) -> None:
        """Frames from the socket, in the order in which they came."""
        n = len(frames)
        if not n:
            return
        newest_us = int(frames.ts.max())
        self._progress.seen_ts = max(self._progress.seen_ts, newest_us)
        frames, start = _by_symbol(frames, self.symbols)
        of = frames.symbol[start]  # (groups,)
        self._silence.hear(of, newest_us, now)
        before = np.concatenate(([0], frames.id[:-1]))
        before[start] = self.last[of]
        smooth = (
            np.logical_and.reduceat(frames.id == before + 1, start)
            & ~self._waits[of]
            & (self.last[of] != NONE)
        )
        size = np.diff(np.append(start, n))
        if smooth.all():
            self._progress.release_runs(frames, start, size)
            return
        if smooth.any():
            chosen = np.repeat(smooth, size)
            kept = size[smooth]
            self._progress.release_runs(frames.rows(chosen), np.cumsum(kept) - kept, kept)
        for k in np.flatnonzero(~smooth).tolist():
            self._hold(int(of[k]), frames.rows(slice(start[k], start[k] + size[k])), now)

    def answer(self, request: Request, page: Page | None, now: float) -> None:
        """The exchange's answer to a request; None: no answer, or one that could not be read."""
        s = request.symbol
        if request.probe and not self._finds_dead(request, page, now):
            return
        backlog = self._backlogs.get(s)
        if backlog is None:
            return
        attempts = backlog.attempts
        attempts.asked = False
        if page is None:
            attempts.retry_later(now, self.patience)
            return
        if page.unknown or page.refused:
            backlog.take_refusal(page, now)
            return
        backlog.merge()
        attempts.refusals = 0
        backlog.accept(request, page, now)
        helped = bool(
            self.last[s] >= request.from_id
            or (page.ids == request.from_id).any()
            or backlog.known_to >= request.from_id
        )
        caught_up = request.to_id is None and not page.full and not request.probe
        if caught_up and request.connection == self._connections:
            backlog.checked, backlog.told_at = True, now
        self._advance(backlog, now)
        if helped or (caught_up and not len(page.ids)):
            attempts.begin()
            attempts.next_try = now if page.full else now + self.patience.backoff_s
        else:
            attempts.denials += len(page.ids) > 0 or now - attempts.since >= self.patience.lag_s
            attempts.retry_later(now, self.patience)

    # what the caller takes

    def requests(self, now: float) -> list[Request]:
        """What to ask the exchange for now; each is answered by `answer`."""
        wanted = []
        for s, backlog in list(self._backlogs.items()):
            if backlog.attempts.asked or self.last[s] == NONE:
                continue
            to_id = None
            if backlog.held.size:
                if max(backlog.attempts.next_try, backlog.held.since + self.patience.grace_s) > now:
                    continue
                backlog.merge()
                if not self._advance(backlog, now):
                    continue
                if (to_id := backlog.aged_id(now)) is None:
                    continue
                backlog.holes.note(backlog.held.rows, to_id, in_vain=backlog.attempts.failed > 0)
            elif not backlog.is_due(now):
                continue
            backlog.attempts.ask(now)
            wanted.append(Request(s, int(self.last[s]) + 1, to_id, self._connections))
        return wanted + self._probes(now)

    def release(self, now: float) -> Trades:
        """All trades before which nothing is missing."""
        for s, backlog in list(self._backlogs.items()):
            aged = backlog.held.since + self.patience.grace_s <= now
            if self.last[s] == NONE:
                if aged or backlog.held.size >= REACH:
                    backlog.merge()
                    backlog.begin()
                    self._advance(backlog, now)
            elif backlog.held.size and backlog.attempts.in_vain(now, self.patience):
                if not backlog.give_up(now):
                    self._drop(s)
            elif not self.contiguous and aged:
                backlog.merge()
                self._advance(backlog, now)
        self._move_watermarks()
        return self._progress.take_released()

    def take_gaps(self) -> list[Gap]:
        """The lines of the ledger since the last call."""
        return self._progress.take_gaps()

    def take_dead(self) -> list[int]:
        """Symbols whose streams were found dead since the last call.

        The exchange has trades of these that the socket did not bring.
        """
        dead, self._dead = self._dead, []
        return dead

    def take_duplicates(self) -> Longs:
        """(symbols,) messages since the last call whose id had come before."""
        return self._progress.take_duplicates()

    def waiting(self) -> int:
        """How many trades are held back."""
        return sum(backlog.held.size for backlog in self._backlogs.values())

    # symbols that wait

    def _backlog(self, s: int) -> Backlog:
        if s not in self._backlogs:
            self._backlogs[s] = Backlog(
                s, self._progress, self.patience, self.contiguous, REACH, max(REACH, HELD // self.symbols)
            )
            self._waits[s] = True
        return self._backlogs[s]

    def _drop(self, s: int) -> None:
        del self._backlogs[s]
        self._waits[s] = False

    def _doubt_all(self, now: float, cause: str) -> None:
        for s in np.flatnonzero(self._progress.begun | self._waits).tolist():
            self._backlog(s).doubt(now, cause)

    def _hold(self, s: int, frames: Frames, now: float) -> None:
        """Hold a symbol's frames, and release some if these frames can have completed them."""
        backlog = self._backlog(s)
        new = not backlog.held.size
        backlog.take(frames, now)
        most = backlog.most if self.contiguous else REACH
        if self.last[s] != NONE and (
            new or backlog.held.size > 2 * most or bool((frames.id == self.last[s] + 1).any())
        ):
            backlog.merge()
            self._advance(backlog, now)

    def _advance(self, backlog: Backlog, now: float) -> bool:
        """Release what can be; False when the symbol does not wait any more."""
        waits = backlog.advance(now)
        if not waits:
            self._drop(backlog.symbol)
        return waits

    # symbols that are silent alone

    def _is_idle(self, s: int) -> bool:
        backlog = self._backlogs.get(s)
        return backlog is None or backlog.idle

    def _probes(self, now: float) -> list[Request]:
        """A question about the symbol that has been silent for longest, if it is time."""
        s = self._silence.longest(now) if self.connected else None
        if s is None or self.last[s] == NONE or not self._is_idle(s):
            return []  # not begun, or asked about already
        self._silence.ask(now)
        return [Request(s, int(self.last[s]) + 1, None, self._connections, probe=True)]

    def _finds_dead(self, request: Request, page: Page | None, now: float) -> bool:
        """Whether the answer to a probe shows a dead stream, or a symbol that does not exist any more."""
        self._silence.answered()
        s = request.symbol
        stale = request.connection != self._connections or self.last[s] != request.from_id - 1
        if page is None or page.refused or stale or not self._is_idle(s):
            return False
        if not page.unknown and not self._silence.is_overdue(page):
            self._silence.put_off(s, page, now)
            return False
        self._backlog(s).doubt_stream(request.from_id, now if page.full or page.unknown else np.inf)
        if not page.unknown:
            self._dead.append(s)
            if not self.contiguous:
                # Their streams may have died with this one, and no jump will show it.
                for other in np.flatnonzero(self._progress.begun).tolist():
                    self._backlog(other).doubt(now, LOST)
        return True

    def _move_watermarks(self) -> None:
        quiet = None
        if self.connected:
            quiet = ~self._waits
            for s, backlog in self._backlogs.items():
                quiet[s] = backlog.idle
        self._progress.move_watermarks(quiet, self.quiet_us)


def _by_symbol(frames: Frames, symbols: int) -> tuple[Frames, Longs]:
    """The frames by symbol, each symbol's in their order, and the index of each symbol's first one."""
    if np.any(frames.symbol[1:] < frames.symbol[:-1]):
        # numpy sorts 16 bits in one pass
        keys = frames.symbol.astype(np.int16) if symbols < 2**15 else frames.symbol
        frames = frames.rows(np.argsort(keys, kind="stable"))
    return frames, np.flatnonzero(np.concatenate(([True], frames.symbol[1:] != frames.symbol[:-1])))
