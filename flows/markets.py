"""The venues whose trades Pairflow reads: the one list of them, with the facts that configuration needs.

A venue is a market of an exchange with addresses of its own. `flows/venues/<name>/` has the code that speaks
its protocol; CONTRIBUTING.md says how to add one. Everything here is data, so that reading a configuration
imports no venue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TRADE: Final = "trade"  # single trades
AGG_TRADE: Final = "aggTrade"  # the trades that one order makes at one price
CONTIGUOUS: Final = "contiguous"  # each id is the one before + 1: a jump is a hole
SPARSE: Final = "sparse"  # ids only grow: a jump means nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A venue as pipeline.yaml sees it. The first of `streams` and `ids` are its defaults."""

    name: str  # `exchange:` in pipeline.yaml, and the suffix of its symbols in tables
    title: str
    ws_url: str
    rest_url: str
    streams: tuple[str, ...]
    ids: str
    suffixed: bool = True

    @property
    def suffix(self) -> str:
        """What a symbol of it has behind its name in tables: `.usdm`."""
        return f".{self.name}" if self.suffixed else ""


BINANCE: Final = Market(
    name="binance",
    title="Binance spot",
    ws_url="wss://data-stream.binance.vision",
    rest_url="https://api.binance.com",
    streams=(TRADE, AGG_TRADE),
    ids=CONTIGUOUS,
    suffixed=False,  # symbols of Binance spot were in tables before there was a second venue
)

MARKETS: Final[Mapping[str, Market]] = {market.name: market for market in (BINANCE,)}


def market_of(symbol: str) -> Market:
    """The venue of a symbol as tables have it.

    >>> market_of("BTCUSDT").name
    'binance'
    """
    return MARKETS.get(symbol.rpartition(".")[2], BINANCE)


def native(symbol: str) -> str:
    """A symbol of a table as its venue writes it.

    >>> native("BTCUSDT.usdm"), native("BTCUSDT_250328")
    ('BTCUSDT', 'BTCUSDT_250328')
    """
    return symbol.partition(".")[0]
