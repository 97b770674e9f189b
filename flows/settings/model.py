"""The settings of a run, frozen and typed: what the rest of Pairflow reads."""

from pathlib import Path

import msgspec

from flows.markets import BINANCE, MARKETS, Market, market_of, native
from flows.settings.timeframes import timeframe_us
from operators.methods import OLS

LEAST_STALE_BARS = 3
SIMULATED = "simulated"  # a local market that speaks Binance spot's protocol


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One venue that trades come from."""

    exchange: str = BINANCE.name  # a name in flows/markets.py, or simulated
    quiet_us: int = 3_000_000
    stale_us: int = 60_000_000  # a leg without a trade for longer opens no episode of its pairs
    stream: str = BINANCE.streams[0]  # trade | aggTrade
    ids: str = BINANCE.ids  # contiguous | sparse
    ws_url: str = BINANCE.ws_url
    rest_url: str = BINANCE.rest_url

    @property
    def simulated(self) -> bool:
        return self.exchange == SIMULATED

    @property
    def market(self) -> Market:
        return BINANCE if self.simulated else MARKETS[self.exchange]


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
    options: dict[str, float] = {}  # of the pair's methods, by name (operators/methods.py)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    y: str
    x: str
    prices: str = "log"  # log | raw
    methods: tuple[str, ...] = (OLS,)
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
    metric: str  # a name in operators/metrics.py
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
    sources: tuple[Source, ...]
    # the universe: legs of the pairs and source.symbols, sorted; a symbol's code is its index here
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]  # bars.timeframes, shortest first
    pairs: tuple[Pair, ...]
    alerts: tuple[Alert, ...]
    alerts_tolerate: float
    questdb: QuestDB
    recovery: Recovery
    retention: Retention

    @property
    def source(self) -> Source:
        """The only source, or the first of several."""
        return self.sources[0]

    def codes_of(self, source: Source) -> list[int]:
        """Codes of the symbols that come from a source, rising."""
        return [code for code, symbol in enumerate(self.symbols) if market_of(symbol) is source.market]

    def natives_of(self, source: Source) -> list[str]:
        """The symbols that come from a source, as its venue writes them, in the order of their codes."""
        return [native(self.symbols[code]) for code in self.codes_of(source)]

    def source_of(self, symbol: str) -> Source:
        """The source that a symbol comes from."""
        return next(source for source in self.sources if source.market is market_of(symbol))


def stale_after(settings: Settings, timeframe: str) -> int:
    """Bars of the timeframe without a trade, the newest among them, up to which a leg is not stale."""
    return max(settings.source.stale_us // timeframe_us(timeframe), LEAST_STALE_BARS)
