"""What the local exchange says as Binance spot. The look-alike of another venue overrides what differs."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from flows.feed.frames import Frames
from flows.markets import TRADE
from flows.sandbox import messages
from flows.sandbox.tape import INTERVALS_US
from flows.venues.binance.names import stream_name
from operators.columns import Longs

QUOTES: Final = ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR")
PRICES: Final = {"minPrice": "0.00000001", "maxPrice": "10000000.00000000", "tickSize": "0.00000001"}
SIZES: Final = {"minQty": "0.00000001", "maxQty": "9000000.00000000", "stepSize": "0.00000001"}


class BinanceSpot:
    """Names, paths, weights and messages."""

    root: ClassVar[str] = "/api/v3/"
    ws_root: ClassVar[str] = ""
    weights: ClassVar[Mapping[str, int]] = {
        "ping": 1,
        "time": 1,
        "exchangeInfo": 20,
        "trades": 25,
        "historicalTrades": 25,
        "aggTrades": 4,
        "klines": 2,
    }
    intervals: ClassVar[Mapping[str, int]] = INTERVALS_US

    def weight(self, endpoint: str, query: Mapping[str, str]) -> int:
        """What a request costs."""
        return self.weights[endpoint]

    def stream_name(self, symbol: str, stream: str) -> str:
        return stream_name(symbol, stream)

    def trades(
        self, symbol: str, stream: str, trades: Frames, first: Longs, last: Longs, combined: bool, us: bool
    ) -> list[bytes]:
        """Messages of a stream of trades; `first` and `last` are the ids of the trades in each."""
        if stream == TRADE:
            return messages.encode_trades(symbol, trades, combined, us)
        return messages.encode_agg_trades(symbol, trades, first, last, combined=combined, in_microseconds=us)

    def symbol_info(self, symbol: str) -> dict[str, Any]:
        """An entry of exchangeInfo."""
        quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
        return {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": symbol.removesuffix(quote),
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "isSpotTradingAllowed": True,
            "filters": [{"filterType": "PRICE_FILTER"} | PRICES, {"filterType": "LOT_SIZE"} | SIZES],
            "permissions": ["SPOT"],
        }


LOOK_ALIKE = BinanceSpot()
