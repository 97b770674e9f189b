"""Ids to an unbroken sequence of trades: order, duplicates, holes, watermarks. No sockets and no clock: `now` is passed in."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from flows.binance.messages import Frames, join
from operators.columns import NEVER, Flags, Longs, Trades

NONE: Final = -1  # the last id of a symbol that has none
REACH: Final = 1_000  # messages of a symbol within which ids are put in order


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the sequencer waits for ids; seconds of the caller's clock."""

    grace_s: float = 0.2  # before a hole is a hole: messages may come in another order
    backoff_s: float = 0.25  # before the second try; doubled for each one after
    backoff_cap_s: float = 5.0
    tries: int = 8  # answers without the missing ids until they count as not existing


@dataclass(slots=True)
class Hole:
    """Ids of one symbol that are missing before the next trade. `last_id` is None while it is not known whether any are."""

    first_id: int
    last_id: int | None
    ts: int  # of the trade before, µs
    cause: str  # lost | disconnect | restart | recording
    next_try: float
    tries: int = 0
    asked: bool = False  # a request is under way
    checked: bool = False  # the exchange has said that it has nothing newer
    opened: bool = False  # stands in the ledger


@dataclass(frozen=True, slots=True)
class Gap:
    """A line of the ledger. `filled_at` is left to the caller, who has a clock."""

    ts: int
    symbol: int
    first_id: int
    last_id: int
    cause: str
    status: str  # open | filled | unfillable


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask the exchange for: trades of the symbol from this id on."""

    symbol: int
    from_id: int


@dataclass(slots=True)
class Sequencer:
    """Frames in whatever order, trades out in id order, each id once; a hole holds back everything behind it.

    A symbol's watermark is the time of its last released trade. With `quiet_us` set it is also the newest time seen on any symbol less
    `quiet_us`, so that a quiet symbol gets its bars; that never while the partition is disconnected, while the symbol has a hole, or before
    the exchange was asked what came since the last connect.

    Recorded trades need neither: with `patience=None` nothing is ever asked for, a hole is given up once `REACH` further messages of the
    symbol have come or the recording ends, and the first id of a symbol is the smallest of its first `REACH` messages.
    """

    symbols: int
    quiet_us: int | None
    patience: Patience | None
    last: Longs = field(init=False)  # (symbols,) last id released or given up
    last_ts: Longs = field(init=False)  # (symbols,) time of the last released trade
    watermark: Longs = field(init=False)  # (symbols,)
    broken: Flags = field(init=False)  # (symbols,) ids before the next trade were given up
    seen_ts: int = NEVER
    duplicates: Longs = field(init=False)  # (symbols,) since the last take_duplicates()
    connected: bool = False
    _held: Frames | None = None  # waiting, unsorted
    _since: npt.NDArray[np.float64] = field(init=False)  # (symbols,) when the first message came
    _holes: dict[int, Hole] = field(default_factory=dict)
    _gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = np.full(self.symbols, NONE)
        self.last_ts = np.full(self.symbols, NEVER)
        self.watermark = np.full(self.symbols, NEVER)
        self.broken = np.zeros(self.symbols, np.bool_)
        self.duplicates = np.zeros(self.symbols, np.int64)
        self._since = np.full(self.symbols, np.inf)

    def snapshot(self) -> dict[str, object]:
        """What a restart needs: held trades are asked for again."""
        arrays = {name: getattr(self, name).copy() for name in ("last", "last_ts", "watermark", "broken")}
        return {**arrays, "seen_ts": self.seen_ts}

    def resume(self, snapshot: dict[str, object]) -> None:
        for name, value in snapshot.items():
            setattr(self, name, value.copy() if isinstance(value, np.ndarray) else value)

    def begin(self, symbol: int, first_id: int) -> None:
        """Start a symbol that has released nothing at a known id."""
        if self.last[symbol] == NONE:
            self.last[symbol] = first_id - 1
            self.broken[symbol] = True

    def connect(self, now: float, cause: str) -> None:
        """The socket streams (again): every symbol that has begun may have missed ids."""
        self.connected = True
        for s in np.flatnonzero(self.last != NONE).tolist():
            hole = self._holes.get(s)
            if hole is None:
                self._holes[s] = Hole(int(self.last[s]) + 1, None, int(self.last_ts[s]), cause, next_try=now)
            else:
                hole.checked, hole.next_try = False, now

    def disconnect(self) -> None:
        self.connected = False

    def feed(self, frames: Frames) -> None:
        """Frames from the socket or a recording."""
        if not len(frames):
            return
        self._join_stream(frames)
        self._hold(frames)

    def answer(self, request: Request, frames: Frames, more: bool, now: float) -> None:
        """What the exchange answered to a request; `more` when the page was full."""
        hole = self._holes.get(request.symbol)
        self._hold(frames)
        if hole is None or self.patience is None:
            return
        hole.asked = False
        newest = int(frames.id.max()) if len(frames) else NONE
        got_on = len(frames) > 0 and bool((frames.id == self.last[request.symbol] + 1).any())
        if got_on and (more or (hole.last_id is not None and newest < hole.last_id)):
            hole.tries, hole.next_try = 0, now
        elif hole.last_id is None:
            hole.checked, hole.next_try = True, np.inf
        else:
            hole.tries += 1
            hole.next_try = now + min(self.patience.backoff_s * 2.0 ** (hole.tries - 1), self.patience.backoff_cap_s)

    def failed(self, request: Request, now: float) -> None:
        """The request got no answer: ask again, however often."""
        hole = self._holes.get(request.symbol)
        if hole is not None and self.patience is not None:
            hole.asked, hole.next_try = False, now + self.patience.backoff_cap_s

    def requests(self, now: float) -> list[Request]:
        """What to ask the exchange for now; each is answered by `answer` or `failed`."""
        due = [(s, hole) for s, hole in self._holes.items() if not hole.asked and hole.next_try <= now]
        for s, hole in due:
            hole.asked = True
            if not hole.opened and hole.last_id is not None and hole.last_id >= hole.first_id:
                hole.opened = True
                self._enter(s, hole, hole.last_id, "open")
        return [Request(s, int(self.last[s]) + 1) for s, _ in due]

    def release(self, now: float, end: bool = False) -> Trades:
        """Everything that nothing is missing before. `end`: no frame will come any more, give up what is still open."""
        parts = [self._advance(now, end)]
        while self._give_up(end):
            parts.append(self._advance(now, end))
        self._move_watermark(end)
        trades = parts[0] if len(parts) == 1 else _concatenate(parts)
        return replace(trades, watermark=self.watermark.copy())

    def take_gaps(self) -> list[Gap]:
        """The ledger's lines since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def take_duplicates(self) -> Longs:
        counted, self.duplicates = self.duplicates, np.zeros(self.symbols, np.int64)
        return counted

    def waiting(self) -> int:
        """Trades held back."""
        return 0 if self._held is None else len(self._held)

    def _hold(self, frames: Frames) -> None:
        if len(frames):
            self.seen_ts = max(self.seen_ts, int(frames.ts.max()))
            self._held = frames if self._held is None else join([self._held, frames], self.symbols)

    def _advance(self, now: float, end: bool) -> Trades:
        """Release each symbol's unbroken run after its last id; note the hole that ends it."""
        if self._held is None:
            return self._trades(Frames.none(self.symbols), np.zeros(0, np.bool_))
        held = self._sorted(self._held)
        group = np.flatnonzero(held.symbol != np.concatenate(([NONE], held.symbol[:-1])))  # where each symbol's rows start
        before = np.concatenate(([NONE], held.id[:-1]))[: len(held)]
        before[group] = self.last[held.symbol[group]]
        self._begin_new(held, group, before, now, end)
        bad = held.id != before + 1
        breaks = np.cumsum(bad)
        breaks -= np.repeat(breaks[group] - bad[group], np.diff(np.append(group, len(held))))
        free = breaks == 0
        after_hole = np.zeros(len(held), np.bool_)
        after_hole[group] = self.broken[held.symbol[group]]
        trades = self._trades(held.rows(free), after_hole[free])
        self._held = None if free.all() else held.rows(~free)
        if len(trades):
            self.broken[trades.symbol] = False
            np.maximum.at(self.last, trades.symbol, trades.id)
            np.maximum.at(self.last_ts, trades.symbol, trades.ts)
        self._close_holes()
        for k in np.flatnonzero(bad & (breaks == 1)).tolist():
            if before[k] != NONE:
                self._note_hole(int(held.symbol[k]), int(before[k]) + 1, int(held.id[k]) - 1, now)
        return trades

    def _sorted(self, held: Frames) -> Frames:
        """By symbol and id, each id once and none that was released; the others are counted."""
        held = held.rows(np.lexsort((held.id, held.symbol)))
        again = held.id <= self.last[held.symbol]
        again[1:] |= (held.symbol[1:] == held.symbol[:-1]) & (held.id[1:] == held.id[:-1])
        if again.any():
            self.duplicates += np.bincount(held.symbol[again], minlength=self.symbols)
            held = held.rows(~again)
        return held

    def _begin_new(self, held: Frames, group: Longs, before: Longs, now: float, end: bool) -> None:
        """Let symbols without a last id begin at their smallest, once what may come before it has had its time."""
        for g in group[before[group] == NONE].tolist():
            s = held.symbol[g]
            self._since[s] = min(self._since[s], now)
            waited = self.patience is not None and now - self._since[s] >= self.patience.grace_s
            if end or waited or np.count_nonzero(held.symbol == s) >= REACH:
                before[g] = held.id[g] - 1
                self.broken[s] = True

    def _note_hole(self, symbol: int, first_id: int, last_id: int, now: float) -> None:
        hole = self._holes.get(symbol)
        if hole is None:
            wait, cause = (0.0, "recording") if self.patience is None else (self.patience.grace_s, "lost")
            self._holes[symbol] = Hole(first_id, last_id, int(self.last_ts[symbol]), cause, next_try=now + wait)
        elif hole.last_id is None:
            hole.last_id, hole.next_try = last_id, min(hole.next_try, now)

    def _join_stream(self, frames: Frames) -> None:
        """Tell, from the first frames after a connect, which ids were missed before them."""
        for s, hole in list(self._holes.items()):
            ids = frames.id[(frames.symbol == s) & (frames.id >= hole.first_id)]
            if hole.last_id is None and len(ids):
                hole.last_id = int(ids.min()) - 1
                hole.next_try = 0.0
        self._close_holes()

    def _close_holes(self) -> None:
        for s, hole in list(self._holes.items()):
            if hole.last_id is not None and self.last[s] >= hole.last_id:
                if hole.opened or (hole.last_id >= hole.first_id and hole.cause in ("disconnect", "restart")):
                    self._enter(s, hole, hole.last_id, "filled")
                del self._holes[s]

    def _give_up(self, end: bool) -> bool:
        """Declare holes unfillable whose time is over; True when that may set trades free."""
        gave_up = False
        for s, hole in list(self._holes.items()):
            if hole.last_id is None:
                continue
            if self.patience is None:
                held = 0 if self._held is None else np.count_nonzero(self._held.symbol == s)
                over = end or held >= REACH
            else:
                over = end or hole.tries >= self.patience.tries
            if over:
                missing_to = int(self._held.id[self._held.symbol == s].min()) - 1 if self._held is not None else hole.last_id
                first_missing = int(self.last[s]) + 1
                if first_missing > hole.first_id and hole.opened:
                    self._enter(s, hole, first_missing - 1, "filled")
                self._gaps.append(Gap(int(self.last_ts[s]), s, first_missing, missing_to, hole.cause, "unfillable"))
                self.last[s], self.broken[s] = missing_to, True
                del self._holes[s]
                gave_up = True
        return gave_up

    def _enter(self, symbol: int, hole: Hole, last_id: int, status: str) -> None:
        self._gaps.append(Gap(hole.ts, symbol, hole.first_id, last_id, hole.cause, status))

    def _move_watermark(self, end: bool) -> None:
        np.maximum(self.watermark, self.last_ts, out=self.watermark)
        if self.quiet_us is None or self.seen_ts == NEVER or not (self.connected or end):
            return
        quiet = self.last_ts != NEVER
        if self._held is not None:
            quiet[self._held.symbol] = False
        for s, hole in self._holes.items():
            if not (hole.last_id is None and hole.checked):
                quiet[s] = False
        self.watermark[quiet] = np.maximum(self.watermark[quiet], self.seen_ts - self.quiet_us)

    def _trades(self, frames: Frames, after_hole: Flags) -> Trades:
        columns = {name: getattr(frames, name) for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker", "count")}
        return Trades(**columns, after_hole=after_hole, watermark=self.watermark)


def _concatenate(parts: list[Trades]) -> Trades:
    """Parts of one release, one after the other: each symbol stays in id order."""
    names = ("symbol", "id", "ts", "price", "qty", "is_buyer_maker", "count", "after_hole")
    return Trades(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}, watermark=parts[-1].watermark)
