"""The results of the operators as rows of the tables."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.settings.model import Settings
from flows.settings.timeframes import timeframe_us
from operators.columns import RESUMED, Bars, Trades
from operators.metrics import METRICS
from operators.results import Measures, Watched
from operators.vwap import vwap

TAKERS: Final = ("buy", "sell")  # the taker's side by the code of `is_buyer_maker`
# columns of the table alerts that come from the settings
OF_RULE: Final = ("rule", "subject", "timeframe", "priority", "metric", "side")


class Tables:
    """Makes the rows of trades, bars, measures and alerts; the settings give the codes their names."""

    def __init__(self, settings: Settings) -> None:
        self._symbols = settings.symbols
        self._timeframes = settings.timeframes
        self._lengths = np.array([timeframe_us(word) for word in settings.timeframes], np.int64)
        self._pairs = tuple(pair.name for pair in settings.pairs)
        self._methods = tuple(sorted({method for pair in settings.pairs for method in pair.methods}))
        # for each timeframe the pairs that are measured on it; for each pair the codes of its methods
        self._on = {
            length: [
                p for p, pair in enumerate(settings.pairs) if any(w.timeframe == word for w in pair.windows)
            ]
            for word, length in zip(settings.timeframes, self._lengths.tolist(), strict=True)
        }
        widest = max([len(pair.methods) for pair in settings.pairs], default=1)
        self._method_codes = np.zeros((len(settings.pairs), widest), np.int32)
        for p, pair in enumerate(settings.pairs):
            self._method_codes[p, : len(pair.methods)] = [
                self._methods.index(method) for method in pair.methods
            ]
        self._alerts = settings.alerts
        first = {pair.name: pair.methods[0] for pair in settings.pairs}
        self._alert_methods = [
            METRICS[alert.metric].method or first.get(alert.subject) for alert in settings.alerts
        ]

    def trades(self, trades: Trades) -> Rows:
        side = Symbols(trades.is_buyer_maker.astype(np.int32), TAKERS)
        return Rows.of(
            "trades", {"ts": trades.ts, "symbol": Symbols(trades.symbol, self._symbols), "side": side}, trades
        )

    def bars(self, bars: Bars) -> Rows:
        timeframe = np.searchsorted(self._lengths, bars.timeframe).astype(np.int32)
        keys = self._symbol_keys(bars.symbol, Symbols(timeframe, self._timeframes), bars.ts)
        return Rows.of(
            "bars", keys | {"vwap": vwap(bars.quote_volume, bars.volume, bars.low, bars.high)}, bars
        )

    def measures(self, measures: Measures) -> list[Rows]:
        """The rows of signals, cointegration and activity, unless the database has them (RESUMED)."""
        if measures.bars.stage == RESUMED:
            return []
        signals, tests, activity, length = (
            measures.signals,
            measures.tests,
            measures.activity,
            measures.timeframe,
        )
        return [
            Rows.of("signals", self._pair_keys(length, signals.pair, signals.method, signals.ts), signals),
            Rows.of("cointegration", self._pair_keys(length, tests.pair, tests.method, tests.ts), tests),
            Rows.of(
                "activity",
                self._symbol_keys(activity.symbol, self._timeframe(length, len(activity.ts)), activity.ts),
                activity,
            ),
        ]

    def alerts(self, watched: Watched) -> Rows:
        of = [self._alerts[k] for k in watched.alert.tolist()]
        keys: dict[str, Column] = {name: symbols([getattr(alert, name) for alert in of]) for name in OF_RULE}
        keys |= {
            "ts": watched.ts,
            "threshold": np.array([alert.threshold for alert in of], np.float64),
            "method": symbols([self._alert_methods[k] for k in watched.alert.tolist()]),
        }
        return Rows.of("alerts", keys, watched)

    def _symbol_keys(self, symbol: np.ndarray, timeframe: Symbols, ts: np.ndarray) -> dict[str, Column]:
        return {"ts": ts, "symbol": Symbols(symbol, self._symbols), "timeframe": timeframe}

    def _pair_keys(
        self, timeframe: int, pair: np.ndarray, method: np.ndarray, ts: np.ndarray
    ) -> dict[str, Column]:
        of = np.array(self._on[timeframe], np.int32)[pair]
        return {
            "ts": ts,
            "pair": Symbols(of, self._pairs),
            "timeframe": self._timeframe(timeframe, len(ts)),
            "method": Symbols(self._method_codes[of, method], self._methods),
        }

    def _timeframe(self, length: int, n: int) -> Symbols:
        return Symbols(np.full(n, np.searchsorted(self._lengths, length), np.int32), self._timeframes)


def symbols(words: Sequence[str | None]) -> Symbols:
    """A SYMBOL column of these words; None is NULL."""
    names = sorted({word for word in words if word is not None})
    codes = {word: code for code, word in enumerate(names)} | {None: -1}
    return Symbols(np.array([codes[word] for word in words], np.int32), tuple(names))
