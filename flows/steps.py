"""The steps of the dataflow: operators built from the settings, and their kernels compiled before the first
trade.
"""

import pickle
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import numpy as np
from bytewax.operators import StatefulBatchLogic

from flows.database.columns import Rows
from flows.database.sink import PARTITION
from flows.feed.feed import Feed
from flows.history.history import States
from flows.runtime.fatal import guarded
from flows.runtime.interrupts import step_at_work
from flows.settings.model import Pair, Settings, stale_after
from flows.settings.timeframes import timeframe_us
from operators.bars import BarBuilder
from operators.columns import Bars, Trades
from operators.measures import Measurer, PairSpec
from operators.methods import OLS
from operators.metrics import METRICS, PAIR, SIDES
from operators.results import Measures
from operators.watch import AlertSpec, Watch

WARM_UP_BARS = 100


class Operator(Protocol):
    """What operators/ has: `update` takes what comes and returns what follows; the object pickles, and takes
    over an older one's state.
    """

    def update(self, upstream: Any, /) -> Any: ...

    def resume(self, before: Any, /) -> None: ...


class Stateful(StatefulBatchLogic[Any, Any, bytes]):
    """An operator as a step, built from the first item of its key. Its snapshot is its pickle: a copy, and
    one blob for the store.

    A resumed operator is built from the settings of today and takes over the state of before.
    """

    def __init__(self, build: Callable[[Any], Operator], snapshot: bytes | None) -> None:
        self._build, self._snapshot = build, snapshot
        self._operator: Operator | None = None

    @guarded
    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        if self._operator is None:
            self._operator = self._build(values[0])
            if self._snapshot is not None:
                self._operator.resume(pickle.loads(self._snapshot))
                self._snapshot = None
        with step_at_work():
            return [self._operator.update(value) for value in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        return (
            pickle.dumps(self._operator, pickle.HIGHEST_PROTOCOL)
            if self._snapshot is None
            else self._snapshot
        )


def stateful(build: Callable[[Any], Operator]) -> Callable[[bytes | None], Stateful]:
    return lambda snapshot: Stateful(build, snapshot)


class FeedBars:
    """Bars from the trades of a feed; before the first ones, those of its history."""

    def __init__(self, builder: BarBuilder) -> None:
        self._builder = builder

    def update(self, feed: Feed, /) -> Bars:
        if feed.seconds is not None:
            self._builder.seed(feed.seconds)
        return self._builder.update(feed.trades) if feed.bars is None else feed.bars

    def resume(self, before: "FeedBars", /) -> None:
        self._builder = before._builder


def bar_builder(settings: Settings) -> FeedBars:
    return FeedBars(
        BarBuilder.of(len(settings.symbols), [timeframe_us(word) for word in settings.timeframes])
    )


def words(settings: Settings) -> dict[int, str]:
    """The timeframes' words by their lengths in µs."""
    return {timeframe_us(word): word for word in settings.timeframes}


def split(settings: Settings) -> Callable[[tuple[str, Bars]], Iterable[tuple[str, Bars]]]:
    """Bars of one timeframe at a time, keyed by its word."""
    word = words(settings)
    return lambda keyed: [
        (word[n], keyed[1].rows(keyed[1].timeframe == n)) for n in np.unique(keyed[1].timeframe).tolist()
    ]


def rows_of(convert: Callable[[Any], Iterable[Rows]]) -> Callable[[tuple[str, Any]], list[tuple[str, Rows]]]:
    """Rows for the sink's partition, empty ones left out."""
    return guarded(lambda keyed: [(PARTITION, rows) for rows in convert(keyed[1]) if len(rows)])


def measurer(settings: Settings) -> Callable[[Bars], Measurer]:
    def build(bars: Bars) -> Measurer:
        length = int(bars.timeframe[0])
        word = words(settings)[length]
        return Measurer(
            len(settings.symbols), length, pair_specs(settings, word), stale_after(settings, word)
        )

    return build


def watch(settings: Settings, states: Callable[[], States] = dict) -> Callable[[Measures], Watch]:
    def build(measures: Measures) -> Watch:
        word = words(settings)[measures.timeframe]
        pairs = {name: k for k, name in enumerate(pair.name for pair in settings.pairs if on(pair, word))}
        codes = {symbol: code for code, symbol in enumerate(settings.symbols)}
        tested = {pair.name: pair.methods.index(OLS) for pair in settings.pairs if OLS in pair.methods}
        specs = [
            AlertSpec(
                alert=k,
                metric=alert.metric,
                subject=pairs[alert.subject]
                if METRICS[alert.metric].subject == PAIR
                else codes[alert.subject],
                side=SIDES[alert.side],
                threshold=alert.threshold,
                exit=alert.exit,
                only_stationary=alert.only_stationary,
                tested=tested.get(alert.subject, 0),
            )
            for k, alert in enumerate(settings.alerts)
            if alert.timeframe == word
        ]
        built = Watch(measures.timeframe, specs, len(pairs), len(settings.symbols), settings.alerts_tolerate)
        stored = states()
        for k, spec in enumerate(specs):
            alert = settings.alerts[spec.alert]
            if (state := stored.get((alert.rule, alert.subject, alert.timeframe))) is not None:
                built.preset(k, *state)
        return built

    return build


def pair_specs(settings: Settings, timeframe: str) -> list[PairSpec]:
    """The pairs that are measured on a timeframe, in the order of the settings."""
    codes = {symbol: code for code, symbol in enumerate(settings.symbols)}
    return [
        PairSpec(
            y=codes[pair.y],
            x=codes[pair.x],
            log_prices=pair.prices == "log",
            methods=pair.methods,
            hedge=window.hedge,
            zscore=window.zscore,
            correlation=window.correlation,
            correlation_of_returns=pair.correlation_of == "returns",
            adf=window.adf,
            adf_every=window.adf_every,
            adf_lags=pair.adf_lags,
            fee_bps=pair.costs.fee_bps,
            slippage_bps=pair.costs.slippage_bps,
            options=window.options,
        )
        for pair in settings.pairs
        for window in pair.windows
        if window.timeframe == timeframe
    ]


def on(pair: Pair, timeframe: str) -> bool:
    """Whether the pair is measured on the timeframe."""
    return any(window.timeframe == timeframe for window in pair.windows)


def warm_up(settings: Settings) -> None:
    """Compile the kernels on a made-up market, before the first real trade comes: numba keeps them for the
    next start.
    """
    few = _of_short_windows(settings)
    n = len(settings.symbols)
    symbol = np.tile(np.arange(n, dtype=np.int32), WARM_UP_BARS)
    one, no = np.ones(len(symbol), np.int64), np.zeros(len(symbol), np.bool_)
    price = np.exp(np.random.default_rng(1).normal(0.0, 0.01, len(symbol)))
    for length in words(settings):
        ts = np.repeat(np.arange(1, WARM_UP_BARS + 1) * length, n)
        builder = BarBuilder.of(n, [length])
        bars = builder.update(Trades(symbol, ts, ts, price, price, no, one, no, np.full(n, ts[-1] + length)))
        builder.seed(bars)
        for _, of_timeframe in split(settings)(("", bars)):
            measures = measurer(few)(of_timeframe).update(of_timeframe)
            watch(few)(measures).update(measures)


def _of_short_windows(settings: Settings) -> Settings:
    """The settings with windows that a few bars fill."""
    replaced = msgspec.structs.replace
    w = WARM_UP_BARS // 2
    pairs = [
        replaced(
            pair,
            windows=tuple(
                replaced(each, hedge=w, zscore=w, correlation=w, adf=w, adf_every=1) for each in pair.windows
            ),
        )
        for pair in settings.pairs
    ]
    return replaced(settings, pairs=tuple(pairs))
