"""What one recording turned out to be, and the columns that its readers bring."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flows.errors import UserError


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bytes of a recording are laid out. Each format adds what its reader must know."""


@dataclass(frozen=True, slots=True)
class File:
    """What one recording turned out to be."""

    path: Path
    layout: Layout
    streams: tuple[str, ...]  # what its beginning holds of trade, aggTrade
    symbol: str | None = None  # of a table without a symbol column
    # False: it has no column of ids, and the ids in its frames count its rows in the order of the file
    ids: bool = True
    sides: bool = True  # False: nothing in it says who took a trade
    first_us: int = 0  # the earliest trade at its beginning

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table of trades, before their cells are understood."""

    columns: Mapping[str, pa.Array]  # by our names
    position: int  # in the file, in bytes
    where: Callable[[int], str]  # a row (from 0) as its user finds it: `line 17`
    names: Mapping[str, str] = field(default_factory=dict)  # ours to the file's
    foreign: int = 0  # sound messages between the rows that are no trades
    unreadable: int = 0  # lines that are no message

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


def foreign(path: Path, number: int, line: bytes) -> UserError:
    """A file that holds something else than trades, by the line that says so."""
    shown = line[:60].decode("utf-8", "replace").strip()
    return UserError(
        f"{path}: line {number}: expected recorded Binance trades (frames or JSON, CSV with a header, "
        f"Parquet, Feather), got {shown!r}"
    )
