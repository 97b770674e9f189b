"""The description of one recording, and the columns that its reader returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flows.errors import UserError
from flows.markets import BINANCE, Market, market_of, native


@dataclass(frozen=True, slots=True)
class Layout:
    """The format of a recording. Each format adds what its reader needs."""


@dataclass(frozen=True, slots=True)
class File:
    """One recording: its format, and what it holds."""

    path: Path
    layout: Layout
    streams: tuple[str, ...]  # which of trade and aggTrade its beginning holds
    symbol: str | None = None  # the symbol of all trades, if the table has no symbol column
    # False: it has no column of ids; its frames then have row numbers as ids
    ids: bool = True
    sides: bool = True  # False: it does not say who took a trade
    first_us: int = 0  # the earliest trade at its beginning
    market: Market = BINANCE  # the venue of its symbols

    def in_tables(self, name: str) -> str:
        """A symbol in this file as tables have it."""
        return name if "." in name else name + self.market.suffix

    def codes(self, codes: Mapping[str, int]) -> dict[str, int]:
        """Codes by the names that the file may give to the symbols of these codes."""
        own = {native(name): code for name, code in codes.items() if market_of(name) is self.market}
        return {**codes, **own} if self.market.suffix else {**own, **codes}

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table of trades, before their cells are converted."""

    columns: Mapping[str, pa.Array]  # by Pairflow's names
    position: int  # in the file, in bytes
    where: Callable[[int], str]  # where the user finds a row (counted from 0): `line 17`
    names: Mapping[str, str] = field(default_factory=dict)  # Pairflow's names to the file's
    foreign: int = 0  # valid messages between the rows that are no trades
    unreadable: int = 0  # lines that are no messages

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


def foreign(path: Path, number: int, line: bytes) -> UserError:
    """The error of a file that holds something other than trades, with the line that shows it."""
    shown = line[:60].decode("utf-8", "replace").strip()
    return UserError(
        f"{path}: line {number}: expected recorded Binance trades (frames or JSON, CSV with a header, "
        f"Parquet, Feather), got {shown!r}"
    )
