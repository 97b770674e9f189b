"""Converts rows of a table of trades, of any format, to `Frames`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from flows.errors import UserError
from flows.feed.frames import Frames, sound
from flows.markets import MARKETS
from flows.replay import cells
from flows.replay.cells import CellError
from flows.replay.files import File, Part
from flows.settings.symbols import LONGEST, symbol_name
from operators.columns import UNKNOWN, Codes

T = TypeVar("T")


def frames(file: File, part: Part, codes: Mapping[str, int], symbols: int, counted: int) -> Frames:
    """The trades of a part; `codes` are of so many `symbols`.

    Without ids in the file, rows are numbered behind the `counted` ones before.
    """
    n = len(part)
    column = _Columns(file, part)
    symbol = _symbols(file, column, codes, n)
    ids = (
        column.read("id", cells.whole_numbers)
        if "id" in part.columns
        else np.arange(counted, counted + n, dtype=np.int64)
    )
    ts = column.read("time", cells.times)
    count = np.ones(n, np.int64)
    if "first" in part.columns and "last" in part.columns:
        first, last = column.read("first", cells.whole_numbers), column.read("last", cells.whole_numbers)
        count = np.where((last >= first) & (last - first < 2**62), last - first + 1, 0)
    found = sound(
        symbol,
        symbols,
        id=ids,
        ts=ts,
        price=column.read("price", cells.numbers),
        qty=column.read("qty", cells.numbers),
        is_buyer_maker=_is_buyer_maker(column, part),
        count=count,
        event_ts=ts,
    )
    return replace(found, foreign=found.foreign + part.foreign, unreadable=found.unreadable + part.unreadable)


def _is_buyer_maker(column: "_Columns", part: Part) -> Any:
    """Whether the taker sold; UNKNOWN in every row if the table does not say it."""
    if "is_buyer_maker" in part.columns:
        return column.read("is_buyer_maker", cells.flags)
    if "side" in part.columns:
        return column.read("side", cells.sells)
    return np.full(len(part), UNKNOWN, np.int8)


def symbols(file: File, part: Part) -> list[str]:
    """The symbols in a part, by Pairflow's names."""
    if file.symbol is not None:
        return [file.symbol]
    return sorted({_name(text) for text in _Columns(file, part).words("symbol")[1]})


def _symbols(file: File, column: "_Columns", codes: Mapping[str, int], n: int) -> Codes:
    if file.symbol is not None:
        return np.full(n, codes.get(file.symbol, -1), np.int32)
    indices, texts = column.words("symbol")
    return np.array([codes.get(_name(text), -1) for text in texts] or [-1], np.int32)[indices]


def _name(text: str) -> str:
    """Pairflow's name of a symbol, with its venue if the text has one (`BTCUSDT.usdm`).

    Other text, such as `BTC/USDT:USDT` (a swap), is kept; no configuration can have it as a symbol.
    """
    base, _, venue = text.partition(".")
    if venue.lower() in MARKETS and (name := symbol_name(base)):
        return name + MARKETS[venue.lower()].suffix
    return symbol_name(text) or "".join(c for c in text.upper() if c.isprintable())[:LONGEST]


class _Columns:
    """Converts the columns of a part. The error of a cell is one line: file, line, column, value."""

    def __init__(self, file: File, part: Part) -> None:
        self._file = file
        self._part = part

    def read(self, name: str, convert: Callable[[pa.Array], T]) -> T:
        try:
            return convert(self._part.columns[name])
        except CellError as e:
            raise UserError(
                f"{self._file.path}: {self._part.where(e.row)}: column {self._part.names.get(name, name)}: "
                f"{e}"
            ) from e
        except pa.ArrowException as e:
            kind = self._part.columns[name].type
            raise UserError(
                f"{self._file.path}: column {self._part.names.get(name, name)}: holds {kind}, which is not "
                "understood here"
            ) from e

    def words(self, name: str) -> tuple[Codes, list[str]]:
        return self.read(name, _words)


def _words(column: pa.Array) -> tuple[Codes, list[str]]:
    expected = "a symbol such as BTCUSDT"
    indices, texts = cells.words(column, expected)
    if "" in texts and (empty := indices == texts.index("")).any():
        raise CellError(int(np.argmax(empty)), None, expected)
    return indices, texts
