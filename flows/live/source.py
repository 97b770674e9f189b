"""Where live trades come from: the exchange. A recording (flows/replay/source.py) gives the dataflow the same
batches.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.errors import Interrupted, UserError
from flows.feed.asking import Page, Patience, Request
from flows.feed.feed import WAIT_S, Feed
from flows.feed.gaps import DISCONNECT, FILLED, NONE, RESTART, UNFILLABLE, Gap
from flows.feed.health import Health, Vitals, wall_us
from flows.feed.http import Budget, Limits
from flows.feed.inbox import Broken, Connected, Disconnected, Inbox, Joined, Subscribed
from flows.feed.ledger import gap_rows
from flows.feed.refusals import reason
from flows.feed.sequencer import Sequencer
from flows.feed.venue import Venue
from flows.history.history import Beginning
from flows.live.rest import Answer, Rest
from flows.live.socket import Stream, Timing
from flows.markets import CONTIGUOUS, native
from flows.retrying import is_told
from flows.runtime.fatal import guarded
from flows.runtime.recovery import FIRST_IDS, write_durably
from flows.runtime.stop import Stop
from flows.settings.model import Settings, Source
from flows.venues import venue_named
from operators.columns import Flags, Trades

log = logging.getLogger(__name__)

MOST: Final = 20_000  # messages in a batch
QUEUE: Final = 200_000  # messages between the socket and the dataflow
# between two batches: one through the dataflow costs about as much for a trade as for a hundred
SPACING_S: Final = 0.025
TRADE_SEEN, DATABASE, EXCHANGE = "trade", "database", "exchange"
# id; time, µs: that of the trade, or where the history of the database or the exchange ends
FirstId = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Options:
    """What tests scale, what simulations replace (clocks, chance, sockets and REST), and what is shared with
    those who work beside a source.
    """

    patience: Patience = field(default_factory=Patience)
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    queue: int = QUEUE
    budgets: Mapping[str, Budget] = field(default_factory=dict)  # by exchange
    vitals: Vitals | None = None
    left_open: Sequence[Gap] = ()  # holes that an earlier run left open in the ledger
    wait_s: float = WAIT_S
    spacing_s: float = SPACING_S
    now: Callable[[], float] = time.monotonic  # what the sequencer waits by
    wall_us: Callable[[], int] = wall_us  # what health and ledger say; nothing else depends on it
    chance: Callable[[], random.Random] = random.Random  # of a partition
    stream: Callable[[Venue, str, Sequence[str], Inbox, random.Random, Timing], Stream] = Stream
    rest: Callable[[Venue, str, str, Sequence[str], Answer, Limits, Budget | None], Rest] = Rest


class ExchangePartition(StatefulSourcePartition[tuple[str, Feed], dict[str, Any]]):
    """One connection to the exchange and what is needed to lose nothing of it."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        source: Source,
        codes: list[int],
        state: dict[str, Any] | None,
        stop: Stop,
        options: Options,
        beginning: Beginning | None = None,
    ) -> None:
        self._name, self._settings, self._stop, self._options = name, settings, stop, options
        symbols = settings.symbols
        self._source, self._venue = source, venue_named(source.market.name)
        self._codes = {symbols[code]: code for code in codes}
        self._native = dict(zip(settings.natives_of(source), settings.codes_of(source), strict=True))
        self._sequencer = Sequencer(len(symbols), source.quiet_us, options.patience, source.ids == CONTIGUOUS)
        self._first_ids = (
            settings.recovery.dir / f"{name}.{FIRST_IDS}" if settings.recovery.dir is not None else None
        )
        self._health = Health(symbols, np.array(codes, np.int64), options.wall_us, options.vitals)
        self._first = read_first_ids(self._first_ids)
        self._left_open = [gap for gap in options.left_open if gap.symbol in codes]
        self._opening: list[Feed] = []
        if state is not None and state.pop("opened"):
            self._sequencer.resume(state)
        elif beginning is not None:
            self._open(codes, beginning)
        # one that began after the snapshot is only here
        for symbol, (first_id, ts, origin) in self._first.items():
            if symbol in self._codes:
                self._sequencer.begin(self._codes[symbol], first_id, ts, broken=origin == TRADE_SEEN)
        self._inbox = Inbox(options.queue)
        self._rest = options.rest(
            self._venue,
            source.rest_url,
            source.stream,
            symbols,
            lambda *answer: self._inbox.put(answer),
            options.limits,
            options.budgets.get(source.exchange),
        )
        streams = [self._venue.streams(native(symbols[code]), source.stream) for code in codes]
        self._streams = {of[0]: code for of, code in zip(streams, codes, strict=True)}  # of trades
        asked_for = [stream for of in streams for stream in of]
        self._stream = options.stream(
            self._venue, source.ws_url, asked_for, self._inbox, options.chance(), options.timing
        )
        self._told = dict.fromkeys(("unreadable", "off_market", "unfillable"), 0)
        # when the last batch was taken that was not empty, s of the monotonic clock
        self._drained = -options.spacing_s
        self._rest.start()
        self._stream.start()

    @guarded
    def next_batch(self) -> Iterable[tuple[str, Feed]]:
        if self._stop:
            self.close()
            raise StopIteration
        if self._opening:
            opening, self._opening = self._opening, []
            return [(self._name, feed) for feed in opening]
        entries = self._drain()
        now = self._options.now()
        run: list[bytes] = []
        for entry in entries:
            if isinstance(entry, bytes):
                run.append(entry)
            else:
                self._arrive(run, now)
                run = []
                self._heed(entry, now)
        self._arrive(run, now)
        self._replace_dead_streams()
        begun = self._sequencer.last != NONE
        before = self._sequencer.watermark.copy()
        trades = self._sequencer.release(now)
        for request in self._sequencer.requests(now):
            self._rest.ask(request)
        self._note_first_ids(trades, begun)
        self._health.released(trades, self._sequencer.take_duplicates())
        ledger = [*self._sequencer.take_gaps(), *self._ended()]
        lost = sum(gap.trades for gap in ledger if gap.status == UNFILLABLE)
        self._tell(
            "unfillable",
            lost,
            "trades that the exchange does not give: their bars are not complete, table gaps has their ids;",
        )
        gaps = gap_rows(ledger, self._settings.symbols, self._options.wall_us())
        health = self._health.rows(len(self._inbox))
        if not (len(trades) or len(gaps) or len(health) or (trades.watermark != before).any()):
            return []
        return [(self._name, Feed(trades, gaps, health))]

    def _drain(self) -> list[Any]:
        """What has come. What comes soon after the last batch is gathered, what comes after a silence is
        taken at once.
        """
        time.sleep(max(0.0, self._drained + self._options.spacing_s - time.monotonic()))
        entries = self._inbox.drain(self._options.wait_s, MOST)
        if entries:
            self._drained = time.monotonic()
        return entries

    def _ended(self) -> list[Gap]:
        """How holes ended that an earlier run left open: by now they are filled, unless this run began behind
        them.
        """
        ended = [gap for gap in self._left_open if self._sequencer.last[gap.symbol] >= gap.last_id]
        self._left_open = [gap for gap in self._left_open if self._sequencer.last[gap.symbol] < gap.last_id]
        behind = {
            symbol: first_id for symbol, (first_id, _, origin) in self._first.items() if origin == EXCHANGE
        }
        lost = [gap.last_id < behind.get(self._settings.symbols[gap.symbol], 0) for gap in ended]
        return [
            replace(gap, status=UNFILLABLE if is_lost else FILLED)
            for gap, is_lost in zip(ended, lost, strict=True)
        ]

    def snapshot(self) -> dict[str, Any]:
        return {**self._sequencer.snapshot(), "opened": not self._opening}

    def close(self) -> None:
        self._stream.stop()
        self._rest.stop()

    def _arrive(self, run: list[bytes], now: float) -> None:
        if not run:
            return
        frames = self._venue.decode(run, self._native, self._source.stream, len(self._settings.symbols))
        self._health.arrived(frames, live=True)
        self._sequencer.feed(frames, now)
        for control in frames.controls:
            if control.get("e") == "serverShutdown":
                log.warning("%s: the exchange is about to close this connection; opening another", self._name)
                self._stream.renew()
        self._tell("unreadable", frames.unreadable, "messages that cannot be read")
        self._tell(
            "off_market",
            frames.off_market,
            "messages that are no trades of the market (their X is not MARKET)",
        )

    def _tell(self, what: str, more: int, words: str) -> None:
        """Say how many there have been so far at the 1st, 2nd, 4th, 8th …: one line each, not a flood."""
        before, self._told[what] = self._told[what], self._told[what] + more
        if is_told(before, self._told[what]):
            log.warning("%s: %d %s so far", self._name, self._told[what], words)

    def _replace_dead_streams(self) -> None:
        if dead := self._sequencer.take_dead():
            names = ", ".join(self._settings.symbols[code] for code in dead)
            log.warning(
                "%s: the exchange has trades of %s that this connection did not bring; opening another",
                self._name,
                names,
            )
            self._stream.renew()

    def _heed(
        self,
        entry: Connected | Subscribed | Joined | Disconnected | Broken | tuple[Request, Page | None],
        now: float,
    ) -> None:
        match entry:
            case Connected(again):
                self._sequencer.connect(now, DISCONNECT if again else RESTART)
                if again:
                    self._health.reconnected()
                log.info(
                    "%s: %s to %s",
                    self._name,
                    "connected again" if again else "connected",
                    self._source.ws_url,
                )
            case Subscribed(refused):
                codes = [self._streams[stream] for stream in refused if stream in self._streams]
                self._health.subscribed(codes)
                self._sequencer.subscribed(now, codes)
            case Joined(streams):
                codes = [self._streams[stream] for stream in streams if stream in self._streams]
                self._health.joined(codes)
                self._sequencer.joined(codes, now)
            case Disconnected():
                self._sequencer.disconnect(now)
            case Broken(error):
                raise UserError(
                    f"{self._name}: the connection's thread has ended ({type(error).__name__}: {reason(error)}), which should not happen: "
                    "run again, the run goes on where it stopped; please report this"
                ) from error
            case (request, page):
                self._sequencer.answer(request, page, now)

    def _open(self, codes: list[int], beginning: Beginning) -> None:
        """Begin behind the history that fills the windows, unless an earlier run has begun without one and
        left no snapshot.
        """
        decided = {(ts, origin == DATABASE) for _, ts, origin in self._first.values() if origin != TRADE_SEEN}
        if self._first and not decided:
            return
        start = beginning.find(max(decided, default=None))
        own = {self._settings.symbols[code] for code in codes}
        for symbol in own & start.first.keys():
            self._first.setdefault(
                symbol, (start.first[symbol], start.until, DATABASE if start.resumed else EXCHANGE)
            )
        self._write_first_ids()
        nothing = self._sequencer.release(0.0), gap_rows([], self._settings.symbols, 0), self._health.rows(0)
        feeds = [Feed(*nothing, bars=bars.rows(np.isin(bars.symbol, codes))) for bars in start.bars]
        if feeds and start.seconds is not None:
            feeds[-1] = replace(feeds[-1], seconds=start.seconds.rows(np.isin(start.seconds.symbol, codes)))
        self._opening = feeds

    def _write_first_ids(self) -> None:
        if self._first_ids is None:
            return
        try:
            write_durably(self._first_ids, json.dumps(self._first))
        except OSError as error:
            raise UserError(
                f"recovery: {self._first_ids}: {error.strerror}; give recovery.dir a directory that can be written"
            ) from error

    def _note_first_ids(self, trades: Trades, begun: Flags) -> None:
        """Before a symbol's first trade is released, its id is on disk: a restart before the first snapshot
        resumes there.
        """
        new = np.flatnonzero(~begun[trades.symbol])
        if not len(new):
            return
        for row in new.tolist():
            self._first.setdefault(
                self._settings.symbols[trades.symbol[row]],
                (int(trades.id[row]), int(trades.ts[row]), TRADE_SEEN),
            )
        self._write_first_ids()


class NotBegun(StatefulSourcePartition[tuple[str, Feed], dict[str, Any]]):
    """A partition that was interrupted while it looked for its beginning: it ends, and the next run finds
    what this one did.
    """

    def __init__(self, state: Any) -> None:  # None: there was none
        self._state = state

    def next_batch(self) -> Iterable[tuple[str, Feed]]:
        raise StopIteration

    def snapshot(self) -> dict[str, Any]:
        return self._state


def read_first_ids(path: Path | None) -> dict[str, FirstId]:
    """Where each symbol began, as an earlier run left it."""
    try:
        first = {} if path is None or not path.exists() else json.loads(path.read_text())
        return {
            symbol: (int(first_id), int(ts), str(origin)) for symbol, (first_id, ts, origin) in first.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"recovery: {path}: cannot be read ({error}); start anew with `pairflow run --fresh`"
        ) from None


class ExchangeSource(FixedPartitionedSource[tuple[str, Feed], dict[str, Any]]):
    """The live trades of all sources; one partition per connection, named after its venue: `binance-0`."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        options: Options | None = None,
        beginning: Beginning | None = None,
    ) -> None:
        self._settings, self._stop, self._beginning = settings, stop, beginning
        self._options = options or Options()
        self._parts = dict(connections(settings))

    def list_parts(self) -> list[str]:
        return list(self._parts)

    @guarded
    def build_part(
        self, step_id: str, for_part: str, resume_state: dict[str, Any] | None
    ) -> StatefulSourcePartition[tuple[str, Feed], dict[str, Any]]:
        source, codes = self._parts[for_part]
        before = None if resume_state is None else dict(resume_state)
        try:
            return ExchangePartition(
                for_part,
                self._settings,
                source,
                codes,
                resume_state,
                self._stop,
                self._options,
                self._beginning,
            )
        except Interrupted:
            return NotBegun(before)


def connections(settings: Settings) -> Iterator[tuple[str, tuple[Source, list[int]]]]:
    """The connections of a run: the partition's name, its source, and the codes of its symbols."""
    for source in settings.sources:
        venue, codes = venue_named(source.market.name), settings.codes_of(source)
        most = venue.streams_per_connection // len(venue.streams(native(settings.symbols[0]), source.stream))
        for i in range(-(-len(codes) // most)):
            yield f"{source.market.name}-{i}", (source, codes[i * most : (i + 1) * most])
