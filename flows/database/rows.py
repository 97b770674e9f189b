"""What the operators give, as rows of the tables."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from flows.database.columns import Column, Rows, Symbols
from flows.settings.config import TESTED_METRICS, Settings, timeframe_us
from operators.columns import NEVER, Bars, Trades
from operators.measures import Measures
from operators.vwap import vwap
from operators.watch import Watched

SIDES: Final = ("buy", "sell")  # of the taker


class Tables:
    """The rows of trades, bars, measures and alerts, with the names that the settings give to codes."""

    def __init__(self, settings: Settings) -> None:
        self._symbols = settings.symbols
        self._timeframes = settings.timeframes
        self._lengths = np.array([timeframe_us(word) for word in settings.timeframes], np.int64)
        self._pairs = tuple(pair.name for pair in settings.pairs)
        self._methods = tuple(sorted({method for pair in settings.pairs for method in pair.methods}))
        # per timeframe, the pairs that are measured on it; and of each, its methods as codes
        self._on = {
            length: [p for p, pair in enumerate(settings.pairs) if any(w.timeframe == word for w in pair.windows)]
            for word, length in zip(settings.timeframes, self._lengths.tolist(), strict=True)
        }
        widest = max([len(pair.methods) for pair in settings.pairs], default=1)
        self._method_codes = np.zeros((len(settings.pairs), widest), np.int32)
        for p, pair in enumerate(settings.pairs):
            self._method_codes[p, : len(pair.methods)] = [self._methods.index(method) for method in pair.methods]
        self._alerts = settings.alerts
        first = {pair.name: pair.methods[0] for pair in settings.pairs}
        self._alert_methods = ["ols" if alert.metric in TESTED_METRICS else first.get(alert.subject) for alert in settings.alerts]

    def trades(self, trades: Trades) -> Rows:
        return Rows(
            "trades",
            {
                "ts": trades.ts,
                "symbol": Symbols(trades.symbol, self._symbols),
                "id": trades.id,
                "price": trades.price,
                "qty": trades.qty,
                "side": Symbols(trades.is_buyer_maker.astype(np.int32), SIDES),
            },
        )

    def bars(self, bars: Bars) -> Rows:
        timeframe = np.searchsorted(self._lengths, bars.timeframe).astype(np.int32)
        return Rows(
            "bars",
            {
                "ts": bars.ts,
                "symbol": Symbols(bars.symbol, self._symbols),
                "timeframe": Symbols(timeframe, self._timeframes),
                "open": bars.open,
                "high": bars.high,
                "low": bars.low,
                "close": bars.close,
                "volume": bars.volume,
                "quote_volume": bars.quote_volume,
                "vwap": vwap(bars.quote_volume, bars.volume, bars.low, bars.high),
                "trades": bars.trades,
                "buy_volume": bars.buy_volume,
                "complete": bars.complete,
            },
        )

    def measures(self, measures: Measures) -> list[Rows]:
        signals, tests, activity = measures.signals, measures.tests, measures.activity
        names = ("hedge_ratio", "intercept", "r2", "spread", "spread_mean", "spread_std", "deviation", "zscore", "edge_bps", "correlation")
        found = {name: getattr(signals, name) for name in names}
        tested = {name: getattr(tests, name) for name in ("adf_stat", "adf_pvalue")}
        tested["adf_lags"] = np.where(tests.adf_lags < 0, NEVER, tests.adf_lags)
        tested |= {name: getattr(tests, name) for name in ("coint_stat", "coint_pvalue", "coint_share", "half_life", "stationary")}
        appended = ("coint_pvalue_reversed", "johansen_trace", "johansen_max_eig", "shin_stat", "variance_ratio")
        tested |= {name: getattr(tests, name) for name in appended}
        moves = ("log_return", "volatility", "volatility_ratio", "volume_ratio", "volatility_gk", "imbalance")
        numbers = {name: getattr(activity, name) for name in moves}
        symbol: dict[str, Column] = {
            "ts": activity.ts,
            "symbol": Symbols(activity.symbol, self._symbols),
            "timeframe": self._timeframe(measures.timeframe, len(activity.ts)),
        }
        return [
            Rows(
                "signals",
                self._pair_keys(measures.timeframe, signals.pair, signals.method, signals.ts)
                | found
                | {"complete": signals.incomplete == 0, "hedge_ratio_se": signals.hedge_ratio_se, "innovation_z": signals.innovation_z}
                | {"stale": signals.stale},
            ),
            Rows("cointegration", self._pair_keys(measures.timeframe, tests.pair, tests.method, tests.ts) | tested),
            Rows("activity", symbol | numbers),
        ]

    def alerts(self, watched: Watched) -> Rows:
        of = [self._alerts[k] for k in watched.alert.tolist()]
        return Rows(
            "alerts",
            {
                "ts": watched.ts,
                "rule": symbols([alert.rule for alert in of]),
                "subject": symbols([alert.subject for alert in of]),
                "timeframe": symbols([alert.timeframe for alert in of]),
                "priority": symbols([alert.priority for alert in of]),
                "metric": symbols([alert.metric for alert in of]),
                "value": watched.value,
                "threshold": np.array([alert.threshold for alert in of], np.float64),
                "active": watched.active,
                "episode": watched.episode,
                "coint_pvalue": watched.coint_pvalue,
                "complete": watched.complete,
                "edge_bps": watched.edge_bps,
                "side": symbols([alert.side for alert in of]),
                "method": symbols([self._alert_methods[k] for k in watched.alert.tolist()]),
                "stale": watched.stale,
            },
        )

    def _pair_keys(self, timeframe: int, pair: np.ndarray, method: np.ndarray, ts: np.ndarray) -> dict[str, Column]:
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
