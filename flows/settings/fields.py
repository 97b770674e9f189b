"""What more than one section of pipeline.yaml holds: symbols, shares, directories, hosts."""

import re
from collections.abc import Sequence
from pathlib import Path

from flows.markets import BINANCE, MARKETS, Market, native
from flows.settings.strict_yaml import Field, shown
from flows.settings.symbols import symbol_name


class Spellings:
    """The symbols of one configuration, of the venues in it. btcusdt and BTC/USDT are read as BTCUSDT, but
    each symbol is written in one way.
    """

    def __init__(self, markets: Sequence[Market] = (BINANCE,)) -> None:
        self._markets = {market.name: market for market in markets}
        self._written: dict[str, str] = {}  # by symbol

    def symbol(self, field: Field, market: Market | None = None) -> str:
        """The name in tables of the symbol in a field; `market`: the venue under which the field stands."""
        name = self._named(field, market) if isinstance(field.content, str) else None
        if name is None or field.content != str(field.content).strip():
            raise field.expected("a symbol such as BTCUSDT (2 to 40 letters, digits and _)")
        before = self._written.setdefault(name, str(field.content))
        if before != field.content and {before, field.content} != {name, native(name)}:
            raise field.wrong(
                f"{name} is written in two ways, {shown(before)} and {shown(field.content)}: write {name} everywhere"
            )
        return name

    def _named(self, field: Field, market: Market | None) -> str | None:
        written, _, venue = str(field.content).partition(".")
        name = symbol_name(written)
        if name is None or (venue and venue not in MARKETS):
            return None
        if venue and market is not None and venue != market.name:
            raise field.wrong(f"a symbol of {venue} among those of {market.name}: list it there")
        if venue and venue not in self._markets:
            raise field.wrong(f"no source brings symbols of {venue}: add {{exchange: {venue}}} to sources")
        if not venue and market is None:
            market = self._default(field, name)
        return name + (MARKETS[venue] if venue or market is None else market).suffix

    def _default(self, field: Field, name: str) -> Market:
        """The venue of a symbol that is written without one: the only one, or Binance spot."""
        if len(self._markets) == 1:
            return next(iter(self._markets.values()))
        if BINANCE.name in self._markets:
            return BINANCE
        ways = " or ".join(name + market.suffix for market in self._markets.values())
        raise field.wrong(f"{name} may be of several venues: write {ways}")


def read_share(field: Field) -> float:
    return field.number("a number from 0 to 1", lambda share: 0 <= share <= 1)


def read_directory(field: Field, below: Path) -> Path:
    written = field.text("a directory", lambda name: name.strip() == name != "" and name.isprintable())
    try:
        return below / (Path.home() / written[2:] if written.startswith("~/") else written)
    except RuntimeError:
        raise field.wrong(
            f"this user has no home directory: write all of the path, got {shown(written)}"
        ) from None


def is_host(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9:]([A-Za-z0-9._:-]{0,252})", name) is not None
