"""Ids to an unbroken sequence of trades: order, duplicates, holes, watermarks. No sockets and no clock: `now`
is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from flows.feed.backlog import (
    DISCONNECT,
    FILLED,
    LOST,
    NONE,
    OPEN,
    UNFILLABLE,
    Backlog,
    Gap,
    Hole,
    Page,
    Patience,
    Request,
    Times,
)
from flows.feed.frames import COLUMNS, NEIGHBOURS, Frames, join, plausible
from flows.retrying import backoff
from operators.columns import NEVER, SECOND_US, Flags, Longs, Trades

REACH: Final = 1_000  # messages of a symbol within which ids are put in order
HELD: Final = 1_000_000  # trades held behind holes, of all symbols: about 80 MB


@dataclass(slots=True)
class Sequencer:
    """Frames in whatever order, trades out in id order, each id once; a hole holds back everything of its
    symbol behind it.

    A symbol's watermark is the time of its last released trade, and also the newest time seen on any symbol
    less `quiet_us`, so that a quiet symbol gets its bars; the latter never while the partition is
    disconnected, while the symbol has a hole, or before the exchange was asked what came since the last
    connect.

    `contiguous` is the market's policy: each id is the one before + 1, and a jump a hole. Where ids only grow
    (not contiguous), a jump while connected is none: trades behind one wait `grace_s` for messages in another
    order, and no longer. What came while the socket was down is asked for until the exchange lists the first
    id that the socket brought since, or a later one; what it does not list is none.

    A symbol whose stream alone is silent is asked about (`Request.probe`). When the exchange has trades of it
    that are overdue, the stream is dead: `take_dead` names it, and its watermark stands until `subscribed`
    tells of a new connection.
    """

    symbols: int
    quiet_us: int
    patience: Patience
    contiguous: bool = True
    last: Longs = field(init=False)  # (symbols,) last id released or given up
    last_ts: Longs = field(init=False)  # (symbols,) time of the last released trade
    watermark: Longs = field(init=False)  # (symbols,)
    broken: Flags = field(init=False)  # (symbols,) ids before the next trade were given up
    # newest time of any message; not of an answer, which may be ahead of a socket that is silent
    seen_ts: int = NEVER
    connected: bool = False
    _duplicates: Longs = field(init=False)  # (symbols,) since the last take_duplicates()
    _connections: int = 0
    _waits: Flags = field(init=False)  # (symbols,) whether there is a backlog
    _backlogs: dict[int, Backlog] = field(default_factory=dict)
    _released: list[tuple[Frames, Flags]] = field(default_factory=list)  # and whether a hole came before
    _gaps: list[Gap] = field(default_factory=list)
    _dead: list[int] = field(default_factory=list)  # since the last take_dead()
    _silence_s: Times = field(init=False)  # (symbols,) how long each may be silent
    _probe_at: Times = field(init=False)  # (symbols,) when it has been
    _next_probe: float = -np.inf
    _probing: bool = False  # a probe is under way
    _heard: float = -np.inf  # when the socket brought the last message
    _heard_ts: int = NEVER  # newest time of any message of the socket

    def __post_init__(self) -> None:
        n = self.symbols
        self.last = np.full(n, NONE)
        self.last_ts, self.watermark = np.full(n, NEVER), np.full(n, NEVER)
        self.broken, self._waits = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        self._duplicates = np.zeros(n, np.int64)
        self._silence_s, self._probe_at = np.zeros(n), np.full(n, np.inf)

    # what the caller tells

    def snapshot(self) -> dict[str, Any]:
        """What a restart needs; held trades are asked for again."""
        arrays = {name: getattr(self, name).copy() for name in ("last", "last_ts", "watermark", "broken")}
        return {**arrays, "seen_ts": self.seen_ts}

    def resume(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot; before the first frame."""
        for name, content in snapshot.items():
            setattr(self, name, content.copy() if isinstance(content, np.ndarray) else content)

    def begin(self, symbol: int, first_id: int, ts: int, *, broken: bool) -> None:
        """Start a symbol that has released nothing at a known trade; before the first frame. `broken`: what
        came before was not seen.
        """
        if self.last[symbol] == NONE:
            self.last[symbol], self.last_ts[symbol], self.broken[symbol] = first_id - 1, ts, broken

    def connect(self, now: float, cause: str) -> None:
        """The socket is open (again): every symbol that has begun, or is about to, may have missed ids."""
        self._connections += 1
        self.connected = False
        self._silence_s[:] = self.patience.silence_s
        self._probe_at[self.last != NONE] = now + self.patience.silence_s
        for s in np.flatnonzero((self.last != NONE) | self._waits).tolist():
            self._doubt(s, now, cause)

    def subscribed(self, now: float, refused: Sequence[int] = ()) -> None:
        """All symbols stream but those `refused`: from now on nothing of them is missed.

        Once more when another connection takes over: the one before may be silent.
        """
        if self.connected:
            self._connections += 1
            for s in np.flatnonzero((self.last != NONE) | self._waits).tolist():
                self._doubt(s, now, LOST)
        self.connected = True
        for s, backlog in self._backlogs.items():
            if not backlog.checked and s not in refused:
                backlog.due = now + self.patience.settle_s

    def joined(self, symbols: Sequence[int], now: float) -> None:
        """These symbols stream now, too."""
        for s in symbols:
            if self.last[s] != NONE or self._waits[s]:
                self._doubt(s, now, LOST)
                self._backlogs[s].due = now + self.patience.settle_s

    def disconnect(self, now: float) -> None:
        """The socket is closed."""
        self.connected = False
        if not self.contiguous:
            for s, backlog in [(s, backlog) for s, backlog in self._backlogs.items() if backlog.size]:
                self._merge(s, backlog)
                self._begin(s, backlog)
                # what was to come before the newest of its messages comes no more
                self._doubt(s, now, DISCONNECT)

    def feed(self, frames: Frames, now: float) -> None:
        """Frames from the socket, in the order in which they came."""
        n = len(frames)
        if not n:
            return
        self.seen_ts = max(self.seen_ts, int(frames.ts.max()))
        if np.any(frames.symbol[1:] < frames.symbol[:-1]):
            # 16 bits are sorted in one pass
            keys = frames.symbol.astype(np.int16) if self.symbols < 2**15 else frames.symbol
            frames = frames.rows(np.argsort(keys, kind="stable"))
        start = np.flatnonzero(np.concatenate(([True], frames.symbol[1:] != frames.symbol[:-1])))
        of = frames.symbol[start]  # (groups,)
        self._heard, self._heard_ts = now, max(self._heard_ts, int(frames.ts.max()))
        self._silence_s[of], self._probe_at[of] = self.patience.silence_s, now + self.patience.silence_s
        before = np.concatenate(([0], frames.id[:-1]))
        before[start] = self.last[of]
        smooth = (
            np.logical_and.reduceat(frames.id == before + 1, start)
            & ~self._waits[of]
            & (self.last[of] != NONE)
        )
        size = np.diff(np.append(start, n))
        if smooth.all():
            self._pass(frames, start, size)
            return
        if smooth.any():
            chosen = np.repeat(smooth, size)
            kept = size[smooth]
            self._pass(frames.rows(chosen), np.cumsum(kept) - kept, kept)
        for k in np.flatnonzero(~smooth).tolist():
            self._queue(int(of[k]), frames.rows(slice(start[k], start[k] + size[k])), now)

    def answer(self, request: Request, page: Page | None, now: float) -> None:
        """What the exchange answered to a request; None: nothing, or nothing that could be read."""
        s = request.symbol
        if request.probe and not self._finds_dead(request, page, now):
            return
        backlog = self._backlogs.get(s)
        if backlog is None:
            return
        backlog.asked = False
        if page is None:
            self._retry_later(backlog, now)
            return
        if page.unknown or page.refused:
            self._take_refusal(backlog, page, now)
            return
        self._merge(s, backlog)
        backlog.refusals = 0
        self._accept(s, backlog, request, page, now)
        helped = bool(
            self.last[s] >= request.from_id
            or (page.ids == request.from_id).any()
            or backlog.known_to >= request.from_id
        )
        caught_up = request.to_id is None and not page.full and not request.probe
        if caught_up and request.connection == self._connections:
            backlog.checked, backlog.due = True, now + self.patience.settle_s
        self._advance(s, backlog, now)
        if helped or (caught_up and not len(page.ids)):
            backlog.begin_asking()
            backlog.next_try = now if page.full else now + self.patience.backoff_s
        else:
            backlog.denials += len(page.ids) > 0 or now - backlog.asking_since >= self.patience.lag_s
            self._retry_later(backlog, now)

    # what the caller takes

    def requests(self, now: float) -> list[Request]:
        """What to ask the exchange for now; each is answered by `answer`."""
        wanted = []
        for s, backlog in list(self._backlogs.items()):
            if backlog.asked or self.last[s] == NONE:
                continue
            to_id = None
            if backlog.size:
                if backlog.next_try > now or backlog.since + self.patience.grace_s > now:
                    continue
                self._merge(s, backlog)
                if not self._advance(s, backlog, now):
                    continue
                aged = np.flatnonzero(backlog.arrived + self.patience.grace_s <= now)
                if not len(aged):
                    continue
                to_id = int(backlog.rows.id[aged[-1]])
                self._note_holes(s, backlog, to_id)
            elif backlog.unended is None or backlog.due > now:
                continue
            elif backlog.checked:
                self._conclude(s, backlog)
                continue
            elif backlog.next_try > now:
                continue
            backlog.asked = True
            backlog.asking_since = min(backlog.asking_since, now)
            wanted.append(Request(s, int(self.last[s]) + 1, to_id, self._connections))
        return wanted + self._probes(now)

    def release(self, now: float) -> Trades:
        """Everything that nothing is missing before."""
        for s, backlog in list(self._backlogs.items()):
            if self.last[s] == NONE:
                if backlog.since + self.patience.grace_s <= now or backlog.size >= REACH:
                    self._merge(s, backlog)
                    self._begin(s, backlog)
                    self._advance(s, backlog, now)
            elif backlog.size and self._is_vain(backlog, now):
                self._merge(s, backlog)
                backlog.begin_asking()
                denied = self.last[s]
                if self._advance(s, backlog, now) and len(backlog.rows) and self.last[s] == denied:
                    self._skip(s, backlog)
                    self._advance(s, backlog, now)
            elif not self.contiguous and backlog.since + self.patience.grace_s <= now:
                self._merge(s, backlog)
                self._advance(s, backlog, now)
        self._move_watermark()
        released, self._released = self._released, []
        frames = join([frames for frames, _ in released], self.symbols)
        after_hole = np.concatenate([flags for _, flags in released]) if released else np.zeros(0, np.bool_)
        columns = {name: getattr(frames, name) for name in COLUMNS if name != "event_ts"}
        return Trades(**columns, after_hole=after_hole, watermark=self.watermark.copy())

    def take_gaps(self) -> list[Gap]:
        """The ledger's lines since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def take_dead(self) -> list[int]:
        """Symbols since the last call whose streams are dead: the exchange has trades that the socket did not
        bring.
        """
        dead, self._dead = self._dead, []
        return dead

    def take_duplicates(self) -> Longs:
        """(symbols,) messages since the last call whose id had come before."""
        counted, self._duplicates = self._duplicates, np.zeros(self.symbols, np.int64)
        return counted

    def waiting(self) -> int:
        """Trades held back."""
        return sum(backlog.size for backlog in self._backlogs.values())

    # symbols without a hole

    def _pass(self, frames: Frames, start: Longs, size: Longs) -> None:
        """Release rows that go on where their symbols stand; `start` and `size` are those of each symbol's
        run.
        """
        of = frames.symbol[start]
        after_hole = np.zeros(len(frames), np.bool_)
        after_hole[start] = self.broken[of]
        self.broken[of] = False
        self.last[of] = frames.id[start + size - 1]
        self.last_ts[of] = np.maximum(self.last_ts[of], np.maximum.reduceat(frames.ts, start))
        self._released.append((frames, after_hole))

    # symbols with one

    def _doubt(self, s: int, now: float, cause: str) -> None:
        """A symbol that has begun may miss what is to come after its newest id; where ids only grow, after
        those that have waited.
        """
        backlog = self._backlog(s)
        self._merge(s, backlog)
        hole = backlog.unended
        if hole is not None and hole.stream_id is not None:
            hole.last_id = hole.stream_id - 1
            self._close_holes(s, backlog)
            hole = None
        if hole is None:
            settled = np.arange(len(backlog.rows))
            if not self.contiguous:
                settled = np.flatnonzero(backlog.arrived + self.patience.grace_s <= now)
            newest, ts = int(self.last[s]), int(self.last_ts[s])
            if len(settled):
                newest, ts = int(backlog.rows.id[settled[-1]]), int(backlog.rows.ts[settled[-1]])
            end = backlog.holes[-1].last_id if backlog.holes else None
            backlog.holes.append(Hole(max(newest, end or NONE) + 1, None, ts, cause))
        backlog.checked, backlog.due = False, np.inf
        backlog.next_try = min(backlog.next_try, now)

    def _backlog(self, s: int) -> Backlog:
        if s not in self._backlogs:
            self._backlogs[s] = Backlog(Frames.none(self.symbols), np.zeros(0), noted_to=int(self.last[s]))
            self._waits[s] = True
        return self._backlogs[s]

    def _queue(self, s: int, frames: Frames, now: float) -> None:
        """Take a symbol's frames, and look at them when that can set something free."""
        backlog = self._backlog(s)
        hole = backlog.unended
        if hole is not None:
            first = int(frames.id.min())
            hole.stream_id = first if hole.stream_id is None else min(hole.stream_id, first)
        new = not backlog.size
        self._append(backlog, frames, now)
        most = self._most() if self.contiguous else REACH
        if self.last[s] != NONE and (
            new or backlog.size > 2 * most or bool((frames.id == self.last[s] + 1).any())
        ):
            self._merge(s, backlog)
            self._advance(s, backlog, now)

    @staticmethod
    def _append(backlog: Backlog, frames: Frames, now: float) -> None:
        if len(frames):
            backlog.parts.append((frames, now))
            backlog.size += len(frames)
            backlog.since = min(backlog.since, now)

    def _most(self) -> int:
        """Trades that one symbol may hold back."""
        return max(REACH, HELD // self.symbols)

    def _merge(self, s: int, backlog: Backlog) -> None:
        """Sort what came since by id into the others, each id once."""
        if not backlog.parts:
            return
        frames = join([backlog.rows, *(part for part, _ in backlog.parts)], self.symbols)
        arrived = np.concatenate([backlog.arrived, *(np.full(len(part), now) for part, now in backlog.parts)])
        order = np.argsort(frames.id, kind="stable")
        ids = frames.id[order]
        again = ids <= self.last[s]
        again[1:] |= ids[1:] == ids[:-1]
        self._duplicates[s] += np.count_nonzero(again)
        order = order[~again]
        backlog.parts.clear()
        self._keep(backlog, frames.rows(order), arrived[order])

    @staticmethod
    def _keep(backlog: Backlog, rows: Frames, arrived: Times) -> None:
        backlog.rows, backlog.arrived, backlog.size = rows, arrived, len(rows)
        backlog.since = float(arrived.min()) if len(arrived) else np.inf

    def _begin(self, s: int, backlog: Backlog) -> None:
        """Let a symbol begin at the smallest of its ids."""
        if self.last[s] == NONE and len(backlog.rows):
            self.last[s] = backlog.noted_to = int(backlog.rows.id[0]) - 1
            self.broken[s] = True

    def _advance(self, s: int, backlog: Backlog, now: float) -> bool:
        """Release the unbroken run at the beginning; False when nothing is waited for any more."""
        rows = backlog.rows
        if not self.contiguous:
            self._pass_jumps(backlog, now)
        run = int(np.searchsorted(rows.id, backlog.known_to, side="right"))
        before = max(int(self.last[s]), backlog.known_to)
        if run < len(rows) and rows.id[run] <= before + 1:
            jumps = np.flatnonzero(rows.id[run + 1 :] != rows.id[run:-1] + 1)
            run = run + 1 + int(jumps[0]) if len(jumps) else len(rows)
            before = int(rows.id[run - 1])
        if run or before > self.last[s]:
            free = rows.rows(slice(0, run))
            self.last[s] = before
            trades = free.rows(free.count > 0)  # the others are ids without a trade
            if len(trades):
                after_hole = np.zeros(len(trades), np.bool_)
                after_hole[0], self.broken[s] = self.broken[s], False
                self.last_ts[s] = max(int(self.last_ts[s]), int(trades.ts.max()))
                self._released.append((trades, after_hole))
            self._keep(backlog, rows.rows(slice(run, None)), backlog.arrived[run:])
            backlog.begin_asking()
        self._close_holes(s, backlog)
        if len(backlog.rows) > self._most():
            self._drop_newest(backlog, now)
        if backlog.size or backlog.holes:
            return True
        del self._backlogs[s]
        self._waits[s] = False
        return False

    def _pass_jumps(self, backlog: Backlog, now: float) -> None:
        """Of ids that only grow, and while nothing is asked for: what had its time to come in another order
        has come.
        """
        n = (
            int(np.searchsorted(backlog.rows.id, backlog.holes[0].first_id))
            if backlog.holes
            else len(backlog.rows)
        )
        aged = np.flatnonzero(backlog.arrived[:n] + self.patience.grace_s <= now)
        newest = max(int(aged[-1]) if len(aged) else -1, n - 1 - REACH)
        if newest >= 0:
            backlog.known_to = max(backlog.known_to, int(backlog.rows.id[newest]))

    def _drop_newest(self, backlog: Backlog, now: float) -> None:
        """Keep the memory bounded while a hole stays open: what is dropped is asked for later, as if the
        socket had missed it.
        """
        most = self._most()
        self._keep(backlog, backlog.rows.rows(slice(0, most)), backlog.arrived[:most])
        newest, ts = int(backlog.rows.id[-1]), int(backlog.rows.ts[-1])
        backlog.holes = [hole for hole in backlog.holes if hole.first_id <= newest]
        if (hole := backlog.unended) is not None:
            hole.last_id = (hole.stream_id or newest + 1) - 1
        backlog.noted_to = min(backlog.noted_to, newest)
        backlog.holes.append(Hole(newest + 1, None, ts, LOST))
        backlog.checked, backlog.due = False, now

    def _close_holes(self, s: int, backlog: Backlog) -> None:
        """Enter the holes that are filled into the ledger."""
        last = int(self.last[s])
        while backlog.holes:
            hole = backlog.holes[0]
            if hole.last_id is None and hole.stream_id is not None and last >= hole.stream_id - 1:
                hole.last_id = hole.stream_id - 1
            if hole.last_id is None or last < hole.last_id:
                return
            if hole.last_id >= hole.first_id:
                self._enter(s, hole, hole.last_id, FILLED)
            del backlog.holes[0]

    def _note_holes(self, s: int, backlog: Backlog, to_id: int) -> None:
        """Remember what is missing before `to_id`; the first hole, once asked for in vain, stands in the
        ledger as open.
        """
        rows = backlog.rows
        before = np.concatenate(([self.last[s]], rows.id[:-1]))
        ts = np.concatenate(([self.last_ts[s]], rows.ts[:-1]))
        unended = backlog.unended
        if unended is not None and unended.stream_id is not None and unended.stream_id <= to_id:
            unended.last_id = unended.stream_id - 1
        jumps = (rows.id > before + 1) & (before >= backlog.noted_to) & (rows.id <= to_id) & self.contiguous
        for k in np.flatnonzero(jumps).tolist():
            first_id, last_id = int(before[k]) + 1, int(rows.id[k]) - 1
            if not any(
                hole.first_id <= first_id and (hole.last_id is None or first_id <= hole.last_id)
                for hole in backlog.holes
            ):
                backlog.holes.append(Hole(first_id, last_id, int(ts[k]), LOST))
        backlog.noted_to = max(backlog.noted_to, to_id)
        backlog.holes.sort(key=lambda hole: hole.first_id)
        self._close_holes(s, backlog)
        hole = backlog.holes[0] if backlog.holes else None
        if hole is not None and hole.last_id is not None and backlog.attempts and not hole.shown:
            hole.shown = True
            self._enter(s, hole, hole.last_id, OPEN)

    def _accept(self, s: int, backlog: Backlog, request: Request, page: Page, now: float) -> None:
        """Take from the exchange's answer what is missing: anything newer is still to come from the socket."""
        frames = self._plausible(s, backlog, page.frames)
        to_id = request.to_id
        if to_id is None and backlog.unended is not None:
            to_id = backlog.unended.stream_id
        # told, but no trade: price 0. So there is nothing to wait for
        void = np.setdiff1d(page.ids, frames.id)
        if len(void):
            frames = join([frames, self._void(s, void)], self.symbols)
        missing = (frames.id > self.last[s]) & ~np.isin(frames.id, backlog.rows.id)
        if to_id is not None:
            missing &= frames.id < to_id
        self._append(backlog, frames.rows(missing), now)
        if not self.contiguous:
            backlog.fetched.append(frames.id[missing & (frames.count > 0)])
            if len(page.ids):
                newest = int(page.ids.max())
                backlog.known_to = max(backlog.known_to, newest if to_id is None else min(newest, to_id - 1))
        self._merge(s, backlog)

    def _plausible(self, s: int, backlog: Backlog, frames: Frames) -> Frames:
        """The exchange's trades without those whose time neither the one before nor those that wait behind
        confirm: they are told again.
        """
        before, behind = self.last_ts[s : s + 1], backlog.rows.rows(slice(0, NEIGHBOURS)).ts
        if before[0] == NEVER:
            before = before[:0]
        ts = np.concatenate((before, frames.ts, behind))
        return frames.rows(
            plausible(np.zeros(len(ts), np.int32), ts, lone_us=None)[len(before) : len(before) + len(frames)]
        )

    def _void(self, s: int, ids: Longs) -> Frames:
        """Rows that hold the place of ids without a trade."""
        n, zeros = len(ids), np.zeros(len(ids), np.int64)
        ts = np.full(n, self.last_ts[s])
        nothing = np.full(n, np.nan)
        return Frames(
            np.full(n, s, np.int32),
            ids,
            ts,
            nothing,
            nothing,
            np.zeros(n, np.bool_),
            zeros,
            ts,
            np.zeros(self.symbols, np.int64),
        )

    def _take_refusal(self, backlog: Backlog, page: Page, now: float) -> None:
        """The exchange does not tell. While trades wait, it is asked again until they have waited for long;
        else now and then.
        """
        if backlog.size:
            backlog.refusals += 1
            self._retry_later(backlog, now)
        elif page.unknown:
            backlog.next_try = now + self.patience.unknown_s
        else:
            backlog.begin_asking()
            backlog.due = now + self.patience.refused_s

    def _is_vain(self, backlog: Backlog, now: float) -> bool:
        """Whether the missing ids have been asked for often enough: the exchange says that they do not exist,
        or refuses to tell.
        """
        refused = (
            backlog.refusals >= self.patience.tries and now - backlog.asking_since >= self.patience.refused_s
        )
        return refused or backlog.denials >= self.patience.tries

    def _retry_later(self, backlog: Backlog, now: float) -> None:
        backlog.next_try = now + backoff(
            backlog.attempts, self.patience.backoff_s, self.patience.backoff_cap_s
        )
        backlog.attempts += 1

    def _conclude(self, s: int, backlog: Backlog) -> None:
        """The exchange gave what came while the socket was down, and the socket is still silent: that was
        all.
        """
        hole = backlog.unended
        assert hole is not None
        if self.last[s] >= hole.first_id:
            self._enter(s, hole, int(self.last[s]), FILLED)
            hole.first_id, hole.ts = int(self.last[s]) + 1, int(self.last_ts[s])
        backlog.due = np.inf

    def _skip(self, s: int, backlog: Backlog) -> None:
        """Declare the ids before the first held trade unfillable."""
        first_id, last_id = int(self.last[s]) + 1, int(backlog.rows.id[0]) - 1
        hole = backlog.holes[0] if backlog.holes and backlog.holes[0].first_id <= first_id else None
        if hole is None:
            self._enter(s, Hole(first_id, last_id, int(self.last_ts[s]), LOST), last_id, UNFILLABLE)
        else:
            if hole.first_id < first_id:
                self._enter(s, hole, first_id - 1, FILLED)
                hole.first_id, hole.ts = first_id, int(self.last_ts[s])
            self._enter(s, hole, last_id, UNFILLABLE)
            hole.first_id, hole.ts, hole.shown = last_id + 1, int(self.last_ts[s]), False
        self.last[s], self.broken[s] = last_id, True

    def _enter(self, s: int, hole: Hole, last_id: int, status: str) -> None:
        trades = last_id - hole.first_id + 1
        if not self.contiguous and status == FILLED:
            backlog = self._backlogs[s]
            fetched = np.concatenate([*backlog.fetched, np.zeros(0, np.int64)])
            trades = int(np.count_nonzero((fetched >= hole.first_id) & (fetched <= last_id)))
            backlog.fetched = [fetched[fetched > last_id]]
            if not trades and not hole.shown:
                return  # nothing came while the socket was down
        self._gaps.append(Gap(hole.ts, s, hole.first_id, last_id, hole.cause, status, trades))

    # streams that are silent alone

    def _probes(self, now: float) -> list[Request]:
        """What to ask about the symbol that has been silent for longest, if it is time and others stream; one
        at a time.
        """
        if (
            self._probing
            or not self.connected
            or now < self._next_probe
            or now - self._heard >= self.patience.silence_s
        ):
            return []
        s = int(np.argmin(self._probe_at))
        if self._probe_at[s] > now:
            return []
        self._probe_at[s] = now + self._silence_s[s]
        backlog = self._backlogs.get(s)
        if self.last[s] == NONE or (backlog is not None and not backlog.idle):
            return []  # not begun, or asked about already
        self._probing, self._next_probe = True, now + self.patience.pace_s
        return [Request(s, int(self.last[s]) + 1, None, self._connections, probe=True)]

    def _finds_dead(self, request: Request, page: Page | None, now: float) -> bool:
        """Whether the answer to a probe is to be taken: it tells that the stream is dead, or the symbol gone."""
        self._probing = False
        s = request.symbol
        backlog = self._backlogs.get(s)
        stale = request.connection != self._connections or self.last[s] != request.from_id - 1
        if page is None or page.refused or stale or (backlog is not None and not backlog.idle):
            return False
        overdue = page.frames.ts <= self._heard_ts - int(self.patience.overdue_s * SECOND_US)
        if not page.unknown and not overdue.any():
            if len(page.ids):
                self._probe_at[s] = now + self.patience.overdue_s
            else:
                self._silence_s[s] = min(2 * self._silence_s[s], self.patience.silence_cap_s)
                self._probe_at[s] = now + self._silence_s[s]
            return False
        backlog = self._backlog(s)
        if backlog.unended is not None:
            self._conclude(s, backlog)
            backlog.holes.pop()
        backlog.holes.append(Hole(request.from_id, None, int(self.last_ts[s]), LOST))
        backlog.checked, backlog.due = False, now if page.full or page.unknown else np.inf
        if not page.unknown:
            self._dead.append(s)
            if not self.contiguous:
                for other in np.flatnonzero(self.last != NONE).tolist():
                    # its stream may have died with this one, and no jump will tell
                    self._doubt(other, now, LOST)
        return True

    # watermarks

    def _move_watermark(self) -> None:
        np.maximum(self.watermark, self.last_ts, out=self.watermark)
        if not self.connected or self.seen_ts == NEVER:
            return
        quiet = ~self._waits
        for s, backlog in self._backlogs.items():
            quiet[s] = backlog.idle
        quiet &= self.last_ts != NEVER
        self.watermark[quiet] = np.maximum(self.watermark[quiet], self.seen_ts - self.quiet_us)
