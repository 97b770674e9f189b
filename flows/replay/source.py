"""A recording as a source of the dataflow: batches like those of the exchange, in event time."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.feed.feed import WAIT_S, Feed
from flows.feed.frames import REASONS, Frames
from flows.feed.health import Health, wall_us
from flows.markets import CONTIGUOUS
from flows.replay.ids import CONFLICT, DUPLICATE, ORDER
from flows.replay.sequence import IdSequence
from flows.runtime.fatal import guarded
from flows.runtime.stop import Stop
from flows.settings.model import Settings
from flows.settings.timeframes import timeframe_us
from operators.columns import NEVER, SECOND_US

# How many 1s bars, of all symbols, a batch may close: after a pause of a month it would be millions.
BARS_AT_ONCE: Final = 20_000


@dataclass(slots=True)
class Summary:
    """What of a recording was left out and why, and the bars that its end cuts off."""

    reasons: Counter[str] = field(default_factory=Counter)  # trades that were left out
    foreign: int = 0  # valid messages and rows of other symbols and other events
    off_market: int = 0  # trades outside the market, such as liquidations: their X is not MARKET
    unreadable: int = 0  # lines
    unfinished: Counter[str] = field(default_factory=Counter)  # bars, by timeframe
    advice: str | None = None  # what the ids of the trades suggest

    def count(self, frames: Frames) -> None:
        """Add the counts of these frames."""
        self.reasons += frames.reasons
        self.foreign += frames.foreign
        self.off_market += frames.off_market
        self.unreadable += frames.unreadable

    def left_out(self) -> str:
        """What was left out, in words and brackets; empty if nothing was."""
        rejected = [
            f"{self.reasons[reason]:,} {reason}" for reason in (*REASONS, ORDER) if self.reasons[reason]
        ]
        n = sum(self.reasons[reason] for reason in (*REASONS, ORDER))
        told = [f"{n:,} rejected for an impossible value: {', '.join(rejected)}"] * bool(n)
        told += [f"{self.reasons[DUPLICATE]:,} duplicates"] * bool(self.reasons[DUPLICATE])
        told += [f"{self.reasons[CONFLICT]:,} with the id of another trade"] * bool(self.reasons[CONFLICT])
        told += [f"{self.foreign:,} foreign (other symbols or events)"] * bool(self.foreign)
        told += [f"{self.off_market:,} not of the market (X is not MARKET)"] * bool(self.off_market)
        told += [f"{self.unreadable:,} unreadable lines"] * bool(self.unreadable)
        return f" (left out: {'; '.join(told)})" if told else ""

    def cut_off(self) -> str | None:
        """A line about the bars that the end of the recording cuts off."""
        each = ", ".join(f"{count} of {word}" for word, count in self.unfinished.items() if count)
        return (
            f"left out, bars that are unfinished at the recordings' end: {self.unfinished.total()} ({each})"
            if each
            else None
        )


class RecordingPartition(StatefulSourcePartition[tuple[str, Feed], None]):
    """Recorded trades in event time: as fast as possible, or at `speed` times the speed of the market."""

    def __init__(
        self,
        settings: Settings,
        recording: Iterator[Frames],
        stop: Stop,
        speed: float | None,
        summary: Summary,
    ) -> None:
        self._settings, self._recording, self._stop, self._speed, self._summary = (
            settings,
            recording,
            stop,
            speed,
            summary,
        )
        n = len(settings.symbols)
        sources = [settings.source_of(symbol) for symbol in settings.symbols]
        self._sequence = IdSequence(
            settings.symbols,
            np.array([source.quiet_us for source in sources]),
            np.array([source.ids == CONTIGUOUS for source in sources]),
        )
        self._health = Health(settings.symbols, np.arange(n), wall_us)
        self._nothing = Frames.none(n), np.zeros(n, np.int64)
        self._step_us = max(BARS_AT_ONCE // n, 1) * SECOND_US
        self._clock = NEVER  # the market time that all symbols have reached
        # with `speed`: the monotonic clock and the market time at the first trade
        self._began: tuple[float, int] | None = None
        self._pending: Frames | None = None
        self._ended = False

    @guarded
    def next_batch(self) -> Iterable[tuple[str, Feed]]:
        if self._stop or self._ended:
            raise StopIteration
        nothing, no_duplicates = self._nothing
        frames = self._due()
        if frames is None:
            self._ended, frames = True, nothing
            self._conclude()
        self._health.arrived(frames, live=False)
        self._summary.count(frames)
        trades, gaps = self._sequence.take(frames)
        self._health.released(trades, no_duplicates)
        return [("recording", Feed(trades, gaps, self._health.rows(0)))]

    def _due(self) -> Frames | None:
        """The next trades, within a limited span of market time; None at the end.

        If there is no trade in this span, market time moves on nevertheless.
        """
        frames = self._pending if self._pending is not None else next(self._recording, None)
        self._pending = None
        if frames is None or not len(frames):
            return frames
        reached = np.maximum(np.maximum.accumulate(frames.ts), self._clock)
        limit = (int(reached[0]) if self._clock == NEVER else self._clock) + self._step_us
        if self._speed is not None:
            limit = min(limit, self._market_us(int(reached[0])))
        due = int(np.searchsorted(reached, limit, side="right"))
        if due == 0:
            self._pending = frames
            self._clock = max(self._clock, limit)
            self._sequence.pass_time(self._clock)
            self._wait(int(reached[0]))
            return self._nothing[0]
        self._clock = int(reached[due - 1])
        if due < len(frames):
            self._pending = frames.rows(slice(due, None)).uncounted()
        return frames.rows(slice(0, due))

    def _market_us(self, next_us: int) -> int:
        """The current market time, in µs."""
        assert self._speed is not None
        if self._began is None:
            self._began = time.monotonic(), next_us
        began, first_us = self._began
        return first_us + int((time.monotonic() - began) * self._speed * SECOND_US)

    def _wait(self, until_us: int) -> None:
        if self._speed is not None:
            time.sleep(
                min(WAIT_S, max(0.0, (until_us - self._market_us(until_us)) / self._speed / SECOND_US))
            )

    def _conclude(self) -> None:
        words = self._settings.timeframes
        unfinished = self._sequence.unfinished(
            np.array([timeframe_us(word) for word in words], np.int64)
        ).tolist()
        self._summary.unfinished = Counter(dict(zip(words, unfinished, strict=True)))
        self._summary.advice = self._sequence.ids_that_jump()

    def snapshot(self) -> None:
        return None


class RecordingSource(FixedPartitionedSource[tuple[str, Feed], None]):
    """A source of one partition with the trades of a recording, in order (recordings.py).

    It keeps no position: a replay always begins at the beginning.
    """

    def __init__(
        self, settings: Settings, recording: Iterable[Frames], stop: Stop, speed: float | None = None
    ) -> None:
        self._settings, self._recording, self._stop, self._speed = settings, recording, stop, speed
        self.summary = Summary()

    def list_parts(self) -> list[str]:
        return ["recording"]

    @guarded
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> RecordingPartition:
        return RecordingPartition(
            self._settings, iter(self._recording), self._stop, self._speed, self.summary
        )
