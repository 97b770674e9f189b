"""Where a pipeline without a recovery store begins: the bars before that time, from the database or the
exchange, and each symbol's next id.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from flows.errors import Interrupted, UserError
from flows.feed.gaps import OPEN, Gap
from flows.feed.refusals import Failed, Refused
from flows.feed.venue import VenueApi, length_for
from flows.markets import native
from flows.retrying import backoff
from flows.settings.model import Settings, Source, stale_after
from flows.settings.timeframes import timeframe_us
from flows.venues import venue_named
from operators.activity import LONG_WINDOW
from operators.candles import FIELDS, Candles, merged, resampled, unbroken, without_holes
from operators.coint_share import TESTS
from operators.columns import RESUMED, SECOND_US, WARM, WARMING, Bars

log = logging.getLogger(__name__)

SETTLED_S: Final = 5  # the exchange's newest candles may still miss trades that its stream has told
SETTLE_S: Final = 10.0
REMADE_S: Final = 30  # of what the database has, before its newest bars
# a database whose newest bars are older is not gone on with: their trades would take minutes of request
# budget
RESUMABLE_S: Final = 3_600
SAY_EVERY: Final = 10  # symbols
TRIES: Final = 5
MOST: Final = 1_000_000_000  # bars: all of them
PAUSE_S: Final = 1.0  # doubled for each try after
LOOK_S: Final = 0.05  # how often a search looks whether it is to end

Say = Callable[[str], None]
# (rule, subject, timeframe) to active, episode, value
States = Mapping[tuple[str, str, str], tuple[bool, int, float]]


@dataclass(frozen=True, slots=True)
class Start:
    """What a pipeline begins with.

    `resumed`: the database goes up to there. `until` is a whole second (µs since the epoch); `first` has for
    each symbol the id of its first trade from then on; `seconds` are 1 s bars that end there and reach back
    to the opening of every bar in progress; `bars` all the closed ones of the settings' timeframes, stage by
    stage; `states` those of the alerts, where the database's rows end there.
    """

    until: int = 0
    resumed: bool = False
    first: Mapping[str, int] = field(default_factory=dict)
    seconds: Bars | None = None
    bars: tuple[Bars, ...] = ()
    states: States = field(default_factory=dict)


def rows_needed(settings: Settings, timeframe: str) -> int:
    """Bars of the timeframe that everything measured on it looks back to, the tests behind `coint_share`
    included.
    """
    windows = [window for pair in settings.pairs for window in pair.windows if window.timeframe == timeframe]
    known_stale = stale_after(settings, timeframe) + 1
    return max(
        [
            LONG_WINDOW + 1,
            known_stale,
            *(max(w.hedge, w.zscore, w.correlation + 1, w.adf + TESTS * w.adf_every) for w in windows),
        ]
    )


def left_open(settings: Settings, endpoint: Endpoint) -> tuple[Gap, ...]:
    """Holes that stand as open in the ledger: an earlier run died before it could say how they ended."""
    codes = {symbol: code for code, symbol in enumerate(settings.symbols)}
    with connect(endpoint) as connection:
        found = connection.execute(
            "SELECT ts::LONG, symbol, first_id, last_id, cause, trades FROM gaps WHERE status = %s ORDER BY ts",
            (OPEN,),
        ).fetchall()
    return tuple(
        Gap(ts, codes[symbol], first_id, last_id, cause, OPEN, trades)
        for ts, symbol, first_id, last_id, cause, trades in found
        if symbol in codes
    )


class Beginning:
    """Finds the start once, however many partitions ask for it. `apis` has that of each source by its
    exchange; `stopping`: whether the search is to end.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        apis: Mapping[str, VenueApi],
        say: Say,
        stopping: Callable[[], bool] = bool,
    ) -> None:
        self._settings, self._endpoint, self._apis, self._say = settings, endpoint, apis, say
        self._stopping = stopping
        self._venues = {source.exchange: venue_named(source.market.name) for source in settings.sources}
        self._start: Start | None = None

    @property
    def states(self) -> States:
        """Those of the alerts at the start, where it was found in the database."""
        return self._start.states if self._start is not None else {}

    def find(self, decided: tuple[int, bool] | None = None) -> Start:
        """The start; `decided`: `until` and `resumed` of an earlier run that left no snapshot."""
        if self._start is None:
            self._start = self._searched(decided)
        return self._start

    def _searched(self, decided: tuple[int, bool] | None) -> Start:
        """The start, found on a thread of its own: no request and no query that is under way keeps a signal
        waiting.
        """
        found: list[Start | BaseException] = []

        def search() -> None:
            try:
                found.append(self._found(decided))
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=search, name="history", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_S)
            if self._stopping():
                self._say = lambda _: None
                raise Interrupted
        (start,) = found
        if isinstance(start, BaseException):
            raise start
        return start

    def _found(self, decided: tuple[int, bool] | None) -> Start:
        until, resumed = self._beginning() if decided is None else decided
        first = {symbol: self._first_id(symbol, until, resumed) for symbol in self._settings.symbols}
        known = {symbol: id_ for symbol, id_ in first.items() if id_ is not None}
        if not known:
            return Start()
        at = np.datetime64(until, "us").astype("datetime64[s]")
        self._say(
            f"history: {'going on where the database ends,' if resumed else 'from the exchange, up to'} {at}Z"
        )
        seconds: list[Bars] = []
        stages: tuple[list[Bars], list[Bars]] = [], []
        for number, symbol in enumerate(known, start=1):
            self._assemble(symbol, until, seconds, stages)
            if number % SAY_EVERY == 0 or number == len(known):
                self._say(f"history: bars of {number} of {len(known)} symbols")
        bars = tuple(
            self._joined(found, stage)
            for found, stage in zip(stages, (WARMING, RESUMED if resumed else WARM), strict=True)
        )
        return Start(
            until,
            resumed,
            known,
            self._joined(seconds, WARMING),
            bars,
            self._alert_states(until) if resumed else {},
        )

    # the beginning

    def _beginning(self) -> tuple[int, bool]:
        """A while before the database's newest bars end, if that is not long ago; else a time that the
        exchange's candles have reached.
        """
        now = self._ask(self._settings.source, lambda api: api.clock_us())
        # Bars in progress are made of candles that end where the start is.
        step = max(min(venue.candles.values()) for venue in self._venues.values())
        shortest = self._settings.timeframes[0]
        with suppress(UserError):  # a suspended table shows what it shows
            # an earlier run's last rows may be acknowledged, but not visible yet
            settle(self._endpoint, SETTLE_S)
        with connect(self._endpoint) as connection:
            found = connection.execute(
                "SELECT symbol, min(ts)::LONG, max(ts)::LONG FROM bars WHERE timeframe = %s AND ts >= %s::LONG::TIMESTAMP AND ts < %s::LONG::TIMESTAMP",
                (shortest, now - RESUMABLE_S * SECOND_US, now),
            ).fetchall()
        known = [(first, last) for symbol, first, last in found if symbol in self._settings.symbols]
        if not known:
            return (now - SETTLED_S * SECOND_US) // step * step, False
        # What was measured on the newest bars may not have been written when the run before ended: all of it
        # is made again.
        begun, end = max(first for first, _ in known), min(last for _, last in known)
        until = max(end - REMADE_S * SECOND_US, min(begun, end)) + timeframe_us(shortest)
        return until // step * step, True

    def _first_id(self, symbol: str, until: int, resumed: bool) -> int | None:
        if resumed:
            with connect(self._endpoint) as connection:
                found = connection.execute(
                    "SELECT max(id) FROM trades WHERE symbol = %s AND ts < %s::LONG::TIMESTAMP AND ts >= %s::LONG::TIMESTAMP",
                    (symbol, until, until - RESUMABLE_S * SECOND_US),
                ).fetchone()
            if found and found[0] is not None:
                return int(found[0]) + 1
        source = self._settings.source_of(symbol)
        return self._ask(source, lambda api: api.first_id_from(source.stream, native(symbol), until))

    def _alert_states(self, until: int) -> States:
        with connect(self._endpoint) as connection:
            found = connection.execute(
                "SELECT rule, subject, timeframe, active, episode, value FROM alerts WHERE ts <= %s::LONG::TIMESTAMP "
                "AND ts > %s::LONG::TIMESTAMP LATEST ON ts PARTITION BY rule, subject, timeframe",
                (until, until - 2 * RESUMABLE_S * SECOND_US),
            ).fetchall()
        return {
            (rule, subject, timeframe): (active, int(episode or 0), np.nan if value is None else value)
            for rule, subject, timeframe, active, episode, value in found
        }

    def _ask(self, source: Source, question: Callable[[VenueApi], Any]) -> Any:
        """The answer, asked for again when there is none: a restart in a storm is no reason to give up."""
        api = self._apis[source.exchange]
        for attempt in range(TRIES):
            try:
                return question(api)
            except Failed as error:
                if attempt == TRIES - 1 or isinstance(error, Refused):
                    raise UserError(
                        f"exchange: {api.base_url}: no history to begin with: {error}; {error.advice}"
                    ) from None
                log.warning("%s: %s; asking again", api.base_url, error)
                api.pause(backoff(attempt, PAUSE_S))
        return None

    # its bars

    def _assemble(
        self, symbol: str, until: int, seconds: list[Bars], stages: tuple[list[Bars], list[Bars]]
    ) -> None:
        """Add the symbol's bars: of each timeframe twice what its windows need, the first half to fill them."""
        code, source = self._settings.symbols.index(symbol), self._settings.source_of(symbol)
        venue = self._venues[source.exchange]
        words = {timeframe_us(word): word for word in self._settings.timeframes}
        needed = {us: rows_needed(self._settings, word) for us, word in words.items()}
        ends = {us: until - until % us for us in words}
        starts = {us: ends[us] - 2 * needed[us] * us for us in words}
        seeds_from = min(ends.values())
        seed_word, seed = min(venue.candles.items(), key=lambda candle: candle[1])
        words.setdefault(seed, seed_word)
        starts[seed] = min(starts.get(seed, seeds_from), seeds_from)
        ends[seed] = until
        with connect(self._endpoint) as connection:
            stored = {
                us: stored_bars(connection, symbol, word, starts[us], ends[us]) for us, word in words.items()
            }
        # Timeframes of which the database lacks bars, and the candles that they are made of (None: there are
        # none)
        lacking = {
            us: length_for(venue, us) for us in words if len(stored[us]["ts"]) * us < ends[us] - starts[us]
        }
        told: dict[int, Candles] = {}  # by their length, as far back as any timeframe lacks bars
        for length in {length for length in lacking.values() if length is not None}:
            earliest = min(starts[us] for us, of in lacking.items() if of == length)
            told[length] = self._ask(source, partial(_klines, native(symbol), length, earliest, until))
        for us in words:
            found, base = stored[us], lacking.get(us)
            if base is not None:
                found = merged(resampled(told[base], base, us, starts[us], ends[us]), found)
            elif us in lacking:
                found = unbroken(found, us, ends[us])
            found = without_holes(found, us, ends[us])
            if us == seed:
                seeds = {name: column[found["ts"] >= seeds_from] for name, column in found.items()}
                seconds.append(_bars(code, us, seeds))
            if us in needed:
                split = int(np.searchsorted(found["ts"], ends[us] - needed[us] * us))
                stages[0].append(_bars(code, us, {name: column[:split] for name, column in found.items()}))
                stages[1].append(_bars(code, us, {name: column[split:] for name, column in found.items()}))

    def _joined(self, parts: list[Bars], stage: int) -> Bars:
        names = [name for name in Bars.__slots__ if name not in ("watermark", "stage")]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Bars(**columns, watermark=np.zeros(len(self._settings.symbols), np.int64), stage=stage)


def stored_bars(
    connection: Any, symbol: str, timeframe: str, start: int, end: int, most: int = MOST
) -> Candles:
    """The database's bars that open within [start, end) and whether each is `complete`, the first `most` of
    them.
    """
    rows = connection.execute(
        f"SELECT ts::LONG, {', '.join(FIELDS)}, complete FROM bars WHERE symbol = %s AND timeframe = %s "
        "AND ts >= %s::LONG::TIMESTAMP AND ts < %s::LONG::TIMESTAMP ORDER BY ts LIMIT %s",
        (symbol, timeframe, start, end, most),
    ).fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [()] * (len(FIELDS) + 2)
    types = [np.int64, *(np.int64 if name == "trades" else np.float64 for name in FIELDS), np.bool_]
    return {
        name: np.array(column, kind)
        for name, column, kind in zip(("ts", *FIELDS, "complete"), columns, types, strict=True)
    }


def _klines(symbol: str, length: int, start: int, end: int, api: VenueApi) -> Candles:
    return api.klines(symbol, length, start, end)


def _bars(code: int, timeframe: int, columns: Candles) -> Bars:
    n = len(columns["ts"])
    named: dict[str, Any] = {**columns}
    return Bars(np.full(n, code, np.int32), np.full(n, timeframe), **named, watermark=np.zeros(0, np.int64))
