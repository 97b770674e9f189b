"""pipeline.yaml to frozen, typed settings; every mistake is one line that says where it is and what was expected."""

from pathlib import Path

import msgspec


class Source(msgspec.Struct, frozen=True, kw_only=True):
    exchange: str = "binance"  # binance | simulated
    quiet_us: int = 3_000_000
    stream: str = "trade"  # trade | aggTrade
    ws_url: str = "wss://data-stream.binance.vision"
    rest_url: str = "https://data-api.binance.vision"


class Costs(msgspec.Struct, frozen=True):
    fee_bps: float = 10.0
    slippage_bps: float = 1.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One pair's settings on one timeframe; windows are counted in bars."""

    timeframe: str
    hedge: int
    zscore: int
    correlation: int
    adf: int
    adf_every: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    y: str
    x: str
    prices: str = "log"  # log | raw
    methods: tuple[str, ...] = ("ols",)
    correlation_of: str = "returns"  # returns | prices
    adf_lags: str | int = "aic"
    costs: Costs = Costs()
    windows: tuple[Window, ...]  # one per timeframe, shortest first

    @property
    def name(self) -> str:
        return f"{self.y}-{self.x}"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert rule on one subject and timeframe: rules in YAML are expanded to these."""

    rule: str
    metric: str  # zscore | correlation | adf_pvalue | coint_pvalue | price | volume_ratio | volatility_ratio | staleness
    subject: str  # the pair's name, or the symbol
    timeframe: str
    side: str  # above | below | outside
    threshold: float
    exit: float
    priority: str  # high | medium | low
    only_stationary: bool = False


class QuestDB(msgspec.Struct, frozen=True, kw_only=True):
    embedded: bool = True
    host: str = "127.0.0.1"
    dir: Path = Path(".pairflow/questdb")
    http_port: int = 9000
    pg_port: int = 8812


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    dir: Path | None = Path(".pairflow/recovery")  # None: no recovery store
    every_us: int = 1_000_000


class Retention(msgspec.Struct, frozen=True):
    trades: str = "7d"
    bars: str = "365d"
    signals: str = "365d"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    source: Source
    symbols: tuple[str, ...]  # the universe: legs of the pairs and source.symbols, sorted; a symbol's code is its index here
    timeframes: tuple[str, ...]  # bars.timeframes, shortest first
    pairs: tuple[Pair, ...]
    alerts: tuple[Alert, ...]
    alerts_tolerate: float
    questdb: QuestDB
    recovery: Recovery
    retention: Retention
