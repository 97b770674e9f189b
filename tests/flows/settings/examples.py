"""Configurations for the tests to decode."""

from pathlib import Path

from flows.settings.decoding import decode
from flows.settings.model import Alert, Settings, Window

ROOT = Path(__file__).parents[3]
SHORTEST = "pairs: [[BTCUSDT, ETHUSDT]]\n"
EXAMPLE = """\
source:
  exchange: binance              # binance | simulated
  quiet: 3s
  stream: trade                  # trade | aggTrade
  ws_url: wss://data-stream.binance.vision
  rest_url: https://api.binance.com
  symbols: [BNBUSDT, SOLUSDT]    # beyond the legs of the pairs
bars: {timeframes: [1s, 5s, 10s, 30s, 1m, 5m]}
defaults:                        # for every pair; each can override them
  timeframes: [1s, 1m]
  prices: log                    # log | raw
  hedge: {method: ols, window: {1s: 1800, 1m: 1440}}
  zscore: {window: {1s: 300, 1m: 240}}
  correlation: {window: {1s: 120, 1m: 20}, of: returns}
  adf: {window: {1s: 1800, 1m: 1440}, every: {1s: 60, 1m: 15}, lags: aic}
  costs: {fee_bps: 10, slippage_bps: 1}
pairs:
  - [BTCUSDT, ETHUSDT]
  - {legs: [BNBUSDT, SOLUSDT], hedge: {method: [ols]}}
alerts:
  - {name: z high,         metric: zscore, above: 2,  exit: 1,  priority: medium}
  - {name: z extreme low,  metric: zscore, below: -3, exit: -2, priority: high}
  - {name: breakdown, metric: correlation, below: 0.5, priority: medium}
  - {name: btc,       metric: price,       symbol: BTCUSDT, above: 100000, priority: low}
  - {name: volume,    metric: volume_ratio, above: 5, priority: low}
questdb: {embedded: true, dir: .pairflow/questdb, http_port: 9000, pg_port: 8812}
recovery: {dir: .pairflow/recovery, every: 1s}
retention: {trades: 7d, bars: 365d, signals: 365d}
alerts_tolerate: 0.01            # share of incomplete bars in a window above which no alert episode opens
"""
WINDOWS = (
    Window(timeframe="1s", hedge=1800, zscore=300, correlation=120, adf=1800, adf_every=60),
    Window(timeframe="1m", hedge=1440, zscore=240, correlation=20, adf=1440, adf_every=15),
)


def of(text: str) -> Settings:
    return decode(text, "pipeline.yaml")


def alert(
    rule: str,
    metric: str,
    subject: str,
    timeframe: str,
    side: str,
    threshold: float,
    exit: float,
    priority: str,
    stationary: bool = False,
) -> Alert:
    return Alert(
        rule=rule,
        metric=metric,
        subject=subject,
        timeframe=timeframe,
        side=side,
        threshold=threshold,
        exit=exit,
        priority=priority,
        only_stationary=stationary,
    )
