"""Are our bars the exchange's? Those that stand in the database are held against its own klines, and what
differs is entered in `audits`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flows.database.columns import Column, Rows
from flows.database.connection import Endpoint
from flows.database.retention import newest
from flows.database.rows import symbols
from flows.database.writer import Writer
from flows.feed.health import Vitals
from flows.feed.venue import Venue, VenueApi
from flows.history.history import stored_bars
from flows.markets import native
from flows.retrying import backoff, is_told
from flows.settings.model import Settings, Source
from flows.settings.timeframes import timeframe_us
from flows.venues import venue_named
from flows.watchers.beside import Beside, named
from operators.candles import FIELDS, Candles, without_holes
from operators.columns import MINUTE_US

log = logging.getLogger(__name__)

PREFERRED_US: Final = (
    MINUTE_US  # bars of a minute are audited where there are any; else the shortest that can be
)
EXACT: Final = frozenset({"open", "high", "low", "close", "trades"})
RELATIVE: Final = 1e-9  # our sums are floats, theirs decimals
LAST_PLACE: Final = 1e-8  # of their decimals
FOREVER: Final = 2**62


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of the wall clock, and counts; tests scale them."""

    look_s: float = 2.0  # between two looks for new bars
    # after each request, of weight 2: audits then leave nine tenths of the exchange's budget to others
    spacing_s: float = 0.2
    # how often a bar must differ before it is said to: the exchange's REST may lag behind its streams
    tries: int = 5
    again_s: float = 1.0  # until the second try; doubled for each that follows
    longest_s: float = 60.0
    back: int = 5  # bars before the newest one that the first look takes in


@dataclass(slots=True)
class _Turn:
    """Where the audit of a symbol is. Bars before `since` are done with; those before `until` are being asked
    for again.
    """

    since: int
    until: int = FOREVER
    tries: int = 0
    waits: int = 0  # in a row, for an exchange that did not answer or does not tell these bars yet
    due: float = -np.inf


def differences(ours: Candles, theirs: Candles) -> npt.NDArray[np.bool_]:
    """Where two lots of equally many bars differ: a row for each bar, a column for each of FIELDS. NaN
    differs from everything.
    """
    found = np.ones((len(ours["ts"]), len(FIELDS)), np.bool_)
    for k, name in enumerate(FIELDS):
        our, their = ours[name], theirs[name]
        found[:, k] = (
            our != their if name in EXACT else ~(np.abs(our - their) <= RELATIVE * np.abs(their) + LAST_PLACE)
        )
    return found


def audited_timeframe(settings: Settings, venue: Venue) -> str | None:
    """None where the venue has no candles as long as any of our bars."""
    common = [word for word in settings.timeframes if timeframe_us(word) in venue.candles.values()]
    return next((word for word in common if timeframe_us(word) == PREFERRED_US), next(iter(common), None))


class Auditor(Beside):
    """Compares the bars in the database with the candles of one source, whatever the clock says. A bar that
    says itself that it is incomplete is left out.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        endpoint: Endpoint,
        api: VenueApi,
        vitals: Vitals,
        pace: Pace | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(named("audit", settings, source), endpoint, api)
        self._codes = {settings.symbols[code]: code for code in settings.codes_of(source)}
        self._vitals, self._pace, self._now = vitals, pace or Pace(), now
        self._venue = venue_named(source.market.name)
        # With the candle before the first and the one after the last, these fill one answer.
        self._most = self._venue.candles_page - 2
        self._timeframe = audited_timeframe(settings, self._venue)
        self._us = timeframe_us(self._timeframe) if self._timeframe else 0
        self._turns: dict[str, _Turn] = {}
        self._mismatches = 0

    def _round(self) -> float:
        if self._timeframe is None:
            log.info(
                "%s: none: the exchange has no klines as long as our bars; add one of %s to bars.timeframes",
                self._name,
                ", ".join(self._venue.candles),
            )
            self._ended.wait()
            return 0.0
        connection = self._connection()
        if not self._turns:
            last = newest(connection, "bars")
            if last is None:
                return self._pace.look_s
            since = last - last % self._us - self._pace.back * self._us
            self._turns = {symbol: _Turn(since) for symbol in self._codes}
        due = {symbol: turn for symbol, turn in self._turns.items() if turn.due <= self._now()}
        for symbol in self._with_news(connection, due):
            if self._ended.is_set():
                break
            self._audit(connection, symbol, due[symbol])
        return self._pace.look_s

    def _with_news(self, connection: Any, due: dict[str, _Turn]) -> list[str]:
        """The symbols that have bars which are not audited."""
        if not due:
            return []
        found = connection.execute(
            "SELECT symbol, max(ts)::LONG FROM bars WHERE timeframe = %s AND ts >= %s::LONG::TIMESTAMP",
            (self._timeframe, min(turn.since for turn in due.values())),
        ).fetchall()
        last = dict(found)
        return [symbol for symbol, turn in due.items() if last.get(symbol, -1) >= turn.since]

    def _audit(self, connection: Any, symbol: str, turn: _Turn) -> None:
        ours = stored_bars(connection, symbol, self._timeframe or "", turn.since, turn.until, self._most)
        if not len(ours["ts"]):
            return
        end = int(ours["ts"][-1]) + self._us
        ours = {name: column[ours["complete"]] for name, column in ours.items()}
        if len(ours["ts"]):
            first, last = int(ours["ts"][0]), int(ours["ts"][-1])
            question = partial(
                self._api.klines, native(symbol), self._us, first - self._us, last + 2 * self._us
            )
            told = self._asked(question, f"klines of {symbol}")
            self._ended.wait(self._pace.spacing_s)
            # Only a bar with a later kline behind it is one that the exchange is done with.
            known = (
                ours["ts"] < told["ts"][-1]
                if told is not None and len(told["ts"])
                else np.zeros(len(ours["ts"]), np.bool_)
            )
            if not known.any():
                turn.due = self._now() + backoff(turn.waits, self._pace.again_s, self._pace.longest_s)
                turn.waits += 1
                return
            turn.waits = 0
            if not known.all():
                ours = {name: column[known] for name, column in ours.items()}
                end = int(ours["ts"][-1]) + self._us
            theirs = _aligned(ours, told, self._us)
            differs = differences(ours, theirs)
            wrong = np.logical_or.reduce(differs, axis=1)
            turn.tries += 1
            if wrong.any() and turn.tries < self._pace.tries:
                turn.until = end
                turn.due = self._now() + backoff(turn.tries - 1, self._pace.again_s, self._pace.longest_s)
                return
            if wrong.any():
                self._enter(symbol, ours, theirs, differs)
            self._vitals.audited(self._codes[symbol], wrong.tolist())
        turn.since, turn.until, turn.tries, turn.due = end, FOREVER, 0, -np.inf

    def _enter(self, symbol: str, ours: Candles, theirs: Candles, differs: npt.NDArray[np.bool_]) -> None:
        bar, field = np.nonzero(differs)
        values = [
            np.array(
                [bars[FIELDS[f]][b] for b, f in zip(bar.tolist(), field.tolist(), strict=True)], np.float64
            )
            for bars in (ours, theirs)
        ]
        columns: dict[str, Column] = {
            "ts": ours["ts"][bar],
            "symbol": symbols([symbol] * len(bar)),
            "timeframe": symbols([self._timeframe or ""] * len(bar)),
            "field": symbols([FIELDS[f] for f in field.tolist()]),
            "ours": values[0],
            "theirs": values[1],
        }
        writer = Writer(self._endpoint, log=log.warning, stop=self._ended)
        try:
            writer.write([Rows("audits", columns)])
            writer.flush()
        finally:
            writer.close()
        before, self._mismatches = self._mismatches, self._mismatches + len(np.unique(bar))
        if is_told(before, self._mismatches):
            at = np.datetime64(int(ours["ts"][bar[0]]), "us").astype("datetime64[s]")
            log.warning(
                "%s: bars that differ from the exchange's, so far %d; now %s %s %sZ: %s is %s, its kline says %s; see table audits",
                self._name,
                self._mismatches,
                symbol,
                self._timeframe,
                at,
                FIELDS[int(field[0])],
                values[0][0],
                values[1][0],
            )


def _aligned(ours: Candles, told: Candles, us: int) -> Candles:
    """Their klines at the times of our bars: one that is absent had no trade; NaN where the first one told is
    later.
    """
    told = without_holes(told, us, None)
    at = (ours["ts"] - told["ts"][0]) // us
    before = at < 0
    return {name: np.where(before, np.nan, told[name][np.maximum(at, 0)]) for name in FIELDS}
