"""One run of the whole pipeline in virtual time, from one seed.

First the exchange and the database fail in many ways, and the process crashes. Then nothing goes wrong any
more, and the pipeline must catch up.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.database.columns import Rows
from flows.database.sink import PARTITION, QuestDBSink
from flows.feed.asking import Patience
from flows.feed.feed import Feed
from flows.feed.gaps import NONE, UNFILLABLE
from flows.feed.ledger import gap_rows
from flows.live.source import ExchangeSource, Options
from flows.pipeline import pipeline
from flows.runtime.recovery import FIRST_IDS
from flows.runtime.stop import Stop
from flows.settings.decoding import load
from flows.settings.model import Settings
from operators.columns import NEVER, SECOND_US, Trades
from tests.simulation.clock import Clock
from tests.simulation.database import Database, Illness, Row, Server, SimulatedWriter, as_tuples, transport
from tests.simulation.exchange import Exchange, Market, SimulatedRest, Socket, Weather, first_ids
from tests.simulation.loop import Loop

CONFIGURATION = """
source: {quiet: 3s, symbols: [SOLUSDT]}
bars: {timeframes: [1s, 5s]}
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    timeframes: [1s, 5s]
    hedge: {window: 20}
    zscore: {window: 10}
    correlation: {window: {1s: 8, 5s: 5}}
    adf: {window: 30, every: {1s: 3, 5s: 1}}
  - legs: [ETHUSDT, SOLUSDT]
    timeframes: [1s]
    hedge: {window: 20}
    zscore: {window: 12}
    correlation: {window: 5, of: prices}
    adf: {window: 30, every: 4}
alerts:
  - {name: z, metric: zscore, outside: 1.5, exit: 0.5, priority: medium, timeframes: [1s]}
  - {name: together, metric: correlation, below: 0.5, priority: low, timeframes: [1s]}
  - {name: stale, metric: staleness, above: 5s, symbols: [SOLUSDT], priority: low}
  - {name: root, metric: adf_pvalue, below: 0.2, exit: 0.5, priority: low, timeframes: [1s]}
alerts_tolerate: 0.2
"""
# Limits are scaled down, so that runs reach them.
SMALL = {
    "flows.feed.sequencer.REACH": 150,
    "flows.feed.sequencer.HELD": 300,
    "flows.venues.binance.venue.Binance.page": 100,
    "flows.database.writer.REQUEST_ROWS": 300,
}
HELD_EACH = 150  # = max(REACH, HELD // 3 symbols)
REQUEST_S = 2.0
EPOCH_S = 1.0
PATIENCE = Patience(backoff_cap_s=2.0, tries=3, lag_s=60.0)
LATEST_S = 0.9  # a message arrives at most so much later than one that was sent at the same time
CATCH_UP_S = 90.0
CALM_TAIL_S = 8.0  # the end of the market, in which the socket works, so that the last trades arrive


class Crash(BaseException):
    """The process ends at once. Not an Exception, so that no `except Exception` catches it."""


class Crashes:
    """When and where the process dies. `here(place)` is called between any two actions of the process."""

    def __init__(self, clock: Clock, chance: Random, every: float, until: float) -> None:
        self._clock, self._chance, self._every, self._until = clock, chance, every, until
        self._place: str | None = None
        self._steps = 0
        self._at = math.inf
        self.count = 0
        self.restarted()

    def restarted(self) -> None:
        """Plan the next crash. Some come at once, in the same epoch as the last one."""
        chance = self._chance
        if self._every == math.inf:
            return
        self._at = self._clock.now + (
            chance.uniform(0, 1.5) if chance.random() < 0.35 else chance.expovariate(1 / self._every)
        )
        self._place = chance.choice(
            (None, None, "posting", "applied", "sleeping", "snapshot", "acknowledged", "told")
        )
        self._steps = chance.randint(0, 20)

    def here(self, place: str) -> None:
        now = self._clock.now
        if now < self._at or now >= self._until:
            return
        self._steps -= 1
        if self._place == place or self._steps < (0 if self._place is None else -200):
            self._at = math.inf
            self.count += 1
            raise Crash(place)


class Line:
    """The process of the pipeline: its runs, its recovery store, and what must hold after each step."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        market: Market,
        crashes: Crashes,
        server: Server,
        options: Options,
    ):
        self._settings, self._clock, self._market, self._crashes, self._server = (
            settings,
            clock,
            market,
            crashes,
            server,
        )
        self._options = options
        self.committed: list[tuple[bytes, np.ndarray]] = []  # snapshots, and the last released ids in them
        self.loop: Loop | None = None
        self.begun: dict[str, int] = {}  # the first ids that are stored durably
        assert settings.recovery.dir is not None
        self._first_ids = settings.recovery.dir / f"binance-0.{FIRST_IDS}"
        symbols = len(settings.symbols)
        self.closed = np.full(symbols, NEVER)  # the newest watermark of all runs
        self.given_up: set[tuple[int, int]] = set()

    @property
    def _partition(self) -> Any:
        assert self.loop is not None
        return next(iter(self.loop.sources.values()))

    def start(self) -> None:
        if self.committed and self._crashes.count and self._server.chance.random() < 0.2:
            del self.committed[1:]  # as if the last commit had not reached the disk
        snapshot, self._last = (
            self.committed[0] if self.committed else (None, np.full(len(self._settings.symbols), NONE))
        )
        self._last = self._last.copy()
        self._watermark = np.full(len(self._settings.symbols), NEVER)
        self._unacknowledged: list[Rows] = []
        self._writer = SimulatedWriter(self._server, REQUEST_S)
        source = ExchangeSource(self._settings, Stop(), self._options)
        self.loop = Loop(
            pipeline(self._settings, source, QuestDBSink(lambda: self._writer)), snapshot, self._see
        )
        for symbol, first_id in self._durable().items():
            code = self._settings.symbols.index(symbol)
            if self._last[code] == NONE:
                self._last[code] = first_id - 1
        self._epoch_began = self._clock.now

    def stop(self) -> None:
        if self.loop is not None:
            self._partition.close()
            self.loop = None

    def turn(self) -> None:
        assert self.loop is not None
        self.loop.turn()
        self._crashes.here("turned")
        if self._clock.now - self._epoch_began >= EPOCH_S:
            last = self._last.copy()
            snapshot = self.loop.snapshot()
            self._acknowledged()
            self._crashes.here("acknowledged")
            self.committed = [(snapshot, last), *self.committed[:1]]
            self._epoch_began = self._clock.now
            self._crashes.here("committed")
        self._bounded()

    # what must hold

    def _see(self, step_id: str, items: list[Any]) -> None:
        if step_id == "snapshot":
            self._crashes.here("snapshot")
            return
        if step_id == "pairflow.bars":
            for _, feed in items:
                self._released(feed.trades)
        self._crashes.here(step_id)
        if step_id == "pairflow.questdb":
            self._unacknowledged += [rows for _, rows in items]

    def _released(self, trades: Trades) -> None:
        assert (trades.watermark >= self._watermark).all(), "a watermark went back"
        for s, id_, ts, after_hole in zip(
            trades.symbol.tolist(),
            trades.id.tolist(),
            trades.ts.tolist(),
            trades.after_hole.tolist(),
            strict=True,
        ):
            symbol = self._settings.symbols[s]
            durable = self.begun if symbol in self.begun else self._durable()
            assert symbol in durable, (
                f"{symbol}: its first trade was released before its first id was durable"
            )
            if self._last[s] == NONE:
                assert id_ == durable[symbol], (
                    f"{symbol}: begins with {id_}, but {durable[symbol]} is durable"
                )
            else:
                assert id_ > self._last[s], f"{symbol}: {id_} came after {self._last[s]}"
                skipped = set(range(self._last[s] + 1, id_))
                unreal = skipped - self._market.void[s]
                assert unreal <= self._market.denied[s], (
                    f"{symbol}: {min(unreal - self._market.denied[s])} was passed over"
                )
                assert after_hole == bool(unreal) or id_ == durable[symbol], (
                    f"{symbol}: {id_} after {self._last[s]}: after_hole={after_hole}"
                )
            assert ts >= self._watermark[s], (
                f"{symbol}: {id_} of {ts} came behind the watermark {self._watermark[s]}"
            )
            self._last[s] = id_
        self._watermark = trades.watermark
        np.maximum(self.closed, self._watermark, out=self.closed)

    def _durable(self) -> dict[str, int]:
        durable = first_ids(self._first_ids.read_text()) if self._first_ids.exists() else {}
        assert self.begun.items() <= durable.items(), f"a first id changed: {self.begun} is now {durable}"
        self.begun = durable
        return durable

    def _acknowledged(self) -> None:
        for rows in self._unacknowledged:
            assert self._server.database.holds(rows), (
                f"table {rows.table}: rows were acknowledged that the database does not hold"
            )
        self._unacknowledged = []
        assert self._writer.waiting == 0

    def _bounded(self) -> None:
        partition = self._partition
        held = partition._sequencer.waiting()
        assert (
            held
            <= len(self._settings.symbols)
            * (2 * HELD_EACH + SMALL["flows.venues.binance.venue.Binance.page"])
            + self._options.queue
        ), f"{held} trades held"
        assert self._writer.waiting < SMALL["flows.database.writer.REQUEST_ROWS"], (
            f"{self._writer.waiting} rows wait"
        )
        assert len(partition._inbox) <= self._options.queue + 20, (
            f"{len(partition._inbox)} messages in the inbox"
        )  # 20 more: messages about links and from REST

    def check(self, table: str, row: Row) -> None:
        """What must hold for every row that the database takes."""
        if table == "trades":
            ts, symbol, id_, price, qty, side = row
            assert self._market.made.get((symbol, id_)) == (ts, price, qty, side), (
                f"the exchange made no trade {row}"
            )
        elif table == "bars":
            ts, symbol, timeframe = row[:3]
            end = ts + int(timeframe[:-1]) * SECOND_US
            assert end <= self.closed[self._settings.symbols.index(symbol)], (
                f"a bar that is not closed: {row}"
            )
        elif table == "gaps":
            symbol, first_id, last_id, status = row[1], row[2], row[3], row[6]
            if status == UNFILLABLE:
                s = self._settings.symbols.index(symbol)
                real = set(range(first_id, last_id + 1)) - self._market.denied[s] - self._market.void[s]
                assert not real, f"{symbol}: {min(real)} exists, the ledger says unfillable"


class _Once(StatefulSourcePartition[tuple[str, Feed], None]):
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def next_batch(self) -> Sequence[tuple[str, Feed]]:
        return [("all", self._feed)]

    def snapshot(self) -> None:
        return None


class _All(FixedPartitionedSource[tuple[str, Feed], None]):
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def list_parts(self) -> list[str]:
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Once:
        return _Once(self._feed)


class _Store(StatefulSinkPartition[Rows, None]):
    def __init__(self, database: Database) -> None:
        self._database = database

    def write_batch(self, values: list[Rows]) -> None:
        for rows in values:
            self._database.apply(rows.table, as_tuples(rows))

    def snapshot(self) -> None:
        return None


class _Stores(FixedPartitionedSink[Rows, None]):
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_parts(self) -> list[str]:
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Store:
        return _Store(self._database)


def uninterrupted(settings: Settings, market: Market, begun: dict[str, int]) -> Database:
    """R: the tables of an uninterrupted run. It gets the same trades in one batch, without a sequencer."""
    frames = market.frames
    first = np.array([begun.get(symbol, np.iinfo(np.int64).max) for symbol in settings.symbols])
    frames = frames.rows((frames.id >= first[frames.symbol]) & (frames.price > 0))
    after_hole = np.zeros(len(frames), np.bool_)
    watermark = np.full(len(settings.symbols), NEVER)
    for s, symbol in enumerate(settings.symbols):
        of = np.flatnonzero(frames.symbol == s)
        if not len(of):
            continue
        before = np.concatenate(([frames.id[of[0]] - 1], frames.id[of][:-1]))
        after_hole[of] = [
            bool(market.denied[s] & set(range(a + 1, b)))
            for a, b in zip(before.tolist(), frames.id[of].tolist(), strict=True)
        ]
        after_hole[of[0]] = True
        watermark[s] = max(int(frames.ts[of].max()), int(market.frames.ts.max()) - settings.source.quiet_us)
        assert symbol in begun
    columns = {
        name: getattr(frames, name)
        for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker", "count")
    }
    nothing = gap_rows([], settings.symbols, 0)
    database = Database()
    feed = Feed(Trades(**columns, after_hole=after_hole, watermark=watermark), nothing, nothing)
    Loop(pipeline(settings, _All(feed), _Stores(database)), None, lambda step_id, items: None).turn()
    return database


def settings_of(directory: Path) -> Settings:
    path = directory / "pipeline.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {})


def _sometimes(chance: Random, share: float, *values: float, otherwise: float = 0.0) -> float:
    """One of the values in that share of all seeds. Runs without a fault matter as much as runs with it."""
    return chance.choice(values) if chance.random() < share else otherwise


def weather_of(chance: Random, until: float) -> tuple[Weather, float]:
    """What goes wrong between Pairflow and the exchange in this run, and the `settle_s` that fits it."""
    settle_s = chance.choice((1.0, 1.0, 3.0))
    weather = Weather(
        until=until,
        loss=_sometimes(chance, 0.6, 0.01, 0.1, 0.4),
        double=_sometimes(chance, 0.5, 0.02, 0.3),
        garbage=_sometimes(chance, 0.2, 0.02),
        jitter_s=_sometimes(chance, 0.6, 0.05, 0.3),
        reorder_s=_sometimes(chance, 0.5, 0.1, 0.5),
        drop_every=_sometimes(chance, 0.6, 8, 25, otherwise=math.inf),
        drop_s=chance.choice((0.5, 4, 10)),
        silence_every=_sometimes(chance, 0.3, 20, otherwise=math.inf),
        stall_every=_sometimes(chance, 0.3, 15, otherwise=math.inf),
        stall_s=chance.choice((1, 6)),
        shutdown_every=_sometimes(chance, 0.3, 8, 20, otherwise=math.inf),
        rest_s=chance.choice((0.05, 0.5)),
        lag_s=_sometimes(chance, 0.6, 0.3, 0.9) * settle_s,
        failure=_sometimes(chance, 0.5, 0.1, 0.5),
        refusal=_sometimes(chance, 0.4, 0.05, 0.2),
        outage_every=_sometimes(chance, 0.3, 15, otherwise=math.inf),
        outage_s=8,
    )
    assert weather.latency_s + weather.jitter_s + weather.reorder_s <= LATEST_S
    return weather, settle_s


def illness_of(chance: Random, until: float) -> Illness:
    """What goes wrong with the database in this run."""
    return Illness(
        until=until,
        lost_answer=_sometimes(chance, 0.5, 0.05, 0.2),
        partly=_sometimes(chance, 0.5, 0.05, 0.2),
        hang=_sometimes(chance, 0.4, 0.02, 0.1),
        hangs_up=_sometimes(chance, 0.3, 0.1),
        away_every=_sometimes(chance, 0.4, 10, 25, otherwise=math.inf),
        away_s=chance.choice((2, 8)),
    )


class Simulation:
    """The run of one seed."""

    def __init__(self, seed: int, settings: Settings, directory: Path) -> None:
        self.seed = seed
        self.settings = msgspec.structs.replace(
            settings, recovery=msgspec.structs.replace(settings.recovery, dir=directory)
        )
        self.clock = clock = Clock()
        chance = self._chance("plan")
        self.seconds = chance.choice((20, 45, 75))
        self.calm_at = chance.uniform(0.4, 1) * (self.seconds - CALM_TAIL_S)
        weather, settle_s = weather_of(chance, self.calm_at)
        lossy_us = settings.source.quiet_us - int(LATEST_S * SECOND_US)
        denied, void = chance.random() < 0.3, chance.random() < 0.3
        self.market = Market(
            self._chance("market"), settings.symbols, self.seconds, denied, void, together_us=SECOND_US
        )
        crash_every = _sometimes(chance, 0.6, 5, 15, otherwise=math.inf)
        self.crashes = Crashes(clock, self._chance("crashes"), crash_every, self.calm_at)
        self.exchange = Exchange(
            clock, self._chance("exchange"), self.market, weather, lossy_us, self.crashes.here
        )
        self.database = Database()
        illness = illness_of(chance, self.calm_at)
        self.server = Server(clock, self._chance("database"), self.database, illness, self.crashes.here)
        patience = replace(PATIENCE, settle_s=settle_s, grace_s=chance.choice((0.2, 0.5)))
        queue = chance.choice((100, 400, 10_000))
        offset_us = self._chance("wall clock").choice(
            (0, -1_300_000, 3_600 * SECOND_US, -3_600 * SECOND_US)
        )  # a wrong clock of the machine
        options = Options(
            patience=patience,
            queue=queue,
            wait_s=0.0,
            spacing_s=0.0,
            now=lambda: clock.now,
            wall_us=lambda: clock.market_us() + offset_us,
            chance=lambda: self._chance("partition"),
            stream=lambda venue, url, streams, inbox, *_: Socket(self.exchange, inbox),  # type: ignore[arg-type, return-value]
            rest=lambda venue, url, stream, symbols, answer, *_: SimulatedRest(
                self.exchange, self.settings.symbols, answer
            ),  # type: ignore[arg-type, return-value]
        )
        self.line = Line(self.settings, clock, self.market, self.crashes, self.server, options)
        self.database.check = self.line.check
        self.turn_s = chance.choice((0.05, 0.15, 0.4))
        self.pause_share = _sometimes(chance, 0.3, 0.01)
        clock.note(
            f"{weather}\n{illness}\n{patience}\ncalm from {self.calm_at:.1f} s on; crashes every {crash_every} s"
        )

    def _chance(self, of: str) -> Random:
        return Random(f"{self.seed} {of}")

    def run(self) -> None:
        """Raise AssertionError as soon as something is wrong."""
        with pytest.MonkeyPatch.context() as patch:
            self._replace(patch)
            chance = self._chance("turns")
            self.clock.advance(chance.uniform(0, 2))
            while self.clock.now < self.seconds:
                self._live(chance)
            self._catch_up(chance)

    def _replace(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in SMALL.items():
            patch.setattr(name, value)
        patch.setattr(
            "flows.database.sink.time",
            SimpleNamespace(monotonic=lambda: self.clock.now, sleep=self.clock.advance),
        )
        patch.setattr("flows.database.writer.http", transport(self.server))

    def _live(self, chance: Random) -> None:
        """One turn of the process, or its crash and the time until it is started again."""
        try:
            if self.line.loop is None:
                self.line.start()
            self.line.turn()
            pause = self.clock.now < self.calm_at and chance.random() < self.pause_share
            self.clock.advance(chance.uniform(0.5, 4) if pause else chance.expovariate(1 / self.turn_s))
        except Crash as crash:
            down_s = min(
                chance.choice((0, chance.uniform(0, 1), chance.uniform(0, 10))), self.calm_at - self.clock.now
            )
            self.clock.note(f"crash ({crash}), down for {down_s:.1f} s")
            self.line.stop()
            self.clock.advance(down_s)
            self.crashes.restarted()

    def _catch_up(self, chance: Random) -> None:
        """Without faults the tables must become equal to those of an uninterrupted run, and stay so."""
        begun: dict[str, int] | None = None
        equal = 0
        difference: str | None = ""
        while equal < 3:
            assert self.clock.now < self.seconds + CATCH_UP_S, (
                f"not caught up {CATCH_UP_S:g} s after the market's end: {difference}"
            )
            until = self.clock.now + 1
            while self.clock.now < until:
                self._live(chance)
            if begun != self.line.begun:
                begun = self.line.begun
                expected = uninterrupted(self.settings, self.market, begun)
            difference = self.database.difference(expected)
            equal = equal + 1 if difference is None else 0
        self.line.stop()
