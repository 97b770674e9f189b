"""Tables of trades as text: Binance's archives without a header, and any table with one.

The delimiter is a comma, a semicolon, a tab or a vertical bar.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv

from flows.errors import UserError
from flows.markets import AGG_TRADE, TRADE
from flows.replay.files import File, Layout, Part, foreign
from flows.replay.names import columns_of, known_columns, symbol_of, with_sides
from flows.replay.unpack import BLOCK, BOM, LONGEST_LINE, blocks, line_at

DELIMITERS: Final = (b",", b";", b"\t", b"|")
# Binance's archives without a header: the index of the first boolean, and their columns (the last may be
# absent).
HEADERLESS: Final = {
    5: ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match"),
    6: (
        "agg_trade_id",
        "price",
        "quantity",
        "first_trade_id",
        "last_trade_id",
        "transact_time",
        "is_buyer_maker",
        "is_best_match",
    ),
}
LONGEST_HEADER: Final = 1 << 16  # bytes

# a comment, a URL, or the line with which Excel names the delimiter
_PREAMBLE = re.compile(rb"\s*(?:#|//|https?:|sep=)", re.IGNORECASE)
_NUMBER = re.compile(rb"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_PLAIN: Final = {
    "id": pa.int64(),
    "first": pa.int64(),
    "last": pa.int64(),
    "time": pa.int64(),
    "price": pa.float64(),
    "qty": pa.float64(),
    "is_buyer_maker": pa.bool_(),
}
_WORDS: Final = pa.dictionary(pa.int32(), pa.string())
_FEW_WORDS: Final = ("side", "symbol", "is_buyer_maker")


@dataclass(frozen=True, slots=True)
class Csv(Layout):
    """A table of text."""

    names: dict[str, str]  # Pairflow's name of a column to the file's
    places: dict[str, int]  # Pairflow's name of a column to its index
    width: int  # columns in all
    delimiter: bytes
    skip: int  # lines before the first row
    newline: bytes = b"\n"
    # the line that names the columns; it may appear again where files were concatenated
    header: bytes = b""


def preamble(start: bytes) -> int:
    """How many lines at the beginning are comments, URLs or blank."""
    lines = start.splitlines()
    return next(
        (number for number, line in enumerate(lines) if line.strip() and not _PREAMBLE.match(line)),
        len(lines),
    )


def is_table(line: bytes) -> bool:
    """Whether a line can be the first of a table."""
    if len(line) > LONGEST_HEADER:
        return False
    return bool(_headerless(line, 0)) or any(
        len(known_columns(_cells(line, delimiter))) > 1 for delimiter in DELIMITERS
    )


def peek_csv(path: Path, start: bytes) -> File:
    """Describe a table by its beginning. Refuses anything else, and quotes its first line."""
    skip = preamble(start)
    lines = [line for line in start.splitlines()[skip:] if line.strip()]
    if not lines:
        raise UserError(f"{path}: is empty: give a file that holds recorded trades")
    if not is_table(lines[0]):
        raise foreign(path, skip + 1, lines[0])
    layout = _headerless(lines[0], skip) or _with_header(path, lines[0], skip)
    if layout.header and len(lines) == 1:
        raise UserError(f"{path}: holds no trades: only a header")
    layout = replace(layout, newline=b"\n" if b"\n" in start else b"\r")
    aggregate = "first" in layout.names
    symbol = None if "symbol" in layout.names else symbol_of(path, aggregate)
    return File(
        path,
        layout,
        (AGG_TRADE if aggregate else TRADE,),
        symbol,
        "id" in layout.names,
        with_sides(layout.names),
    )


def _cells(line: bytes, delimiter: bytes) -> list[str]:
    return [cell.strip().strip(b'"').strip().decode("utf-8", "replace") for cell in line.split(delimiter)]


def _headerless(line: bytes, skip: int) -> Csv | None:
    """One of Binance's archives, or None. The place of the booleans in the first row shows which."""
    for delimiter in DELIMITERS:
        cells = _cells(line, delimiter)
        place = next((place for place, cell in enumerate(cells) if cell.casefold() in ("true", "false")), -1)
        columns = HEADERLESS.get(place, ())[: len(cells)]
        if columns and len(columns) == len(cells):
            return _table(columns, known_columns(columns), delimiter, skip)
    return None


def _with_header(path: Path, line: bytes, skip: int) -> Csv:
    delimiter = max(DELIMITERS, key=lambda delimiter: len(known_columns(_cells(line, delimiter))))
    columns = _cells(line, delimiter)
    if any(_NUMBER.fullmatch(cell.encode()) for cell in columns):
        raise foreign(path, skip + 1, line)
    names = columns_of(f"{path}: line {skip + 1}", columns)
    return replace(_table(columns, names, delimiter, skip + 1), header=line.strip())


def _table(columns: Sequence[str], names: dict[str, str], delimiter: bytes, skip: int) -> Csv:
    return Csv(
        names, {ours: columns.index(theirs) for ours, theirs in names.items()}, len(columns), delimiter, skip
    )


def csv_parts(file: File, layout: Csv) -> Iterator[Part]:
    """The rows of a table, a block at a time.

    Columns are parsed as numbers if all cells of the block can be, which is fast; else as text.
    """
    plainly = True
    for number, (block, before, position) in enumerate(blocks(file.path, layout.newline, layout.skip)):
        lines = _Lines(file.path, layout, block, before)
        table = lines.parsed(_PLAIN) if plainly else None
        if table is None:
            # only this block has odd cells; if it is the first one, probably all have
            plainly = plainly and number > 0
            table = lines.parsed_as_text()
        if table is not None:
            yield Part(
                {ours: table.column(str(place)) for ours, place in layout.places.items()},
                position,
                lines.where,
                layout.names,
            )


class _Lines:
    """A block of lines of a table."""

    def __init__(self, path: Path, layout: Csv, block: bytes, before: int) -> None:
        self._path = path
        self._layout = layout
        self._block = block
        self._before = before  # unpacked bytes of the file before it

    def where(self, row: int) -> str:
        return f"line {self._first() + self._rows()[row][0]}"

    def _first(self) -> int:
        return line_at(self._path, self._before, self._layout.newline)

    def _rows(self) -> list[tuple[int, bytes]]:
        """The lines that are rows, with their numbers from 0; no blank lines, comments, repeated headers."""
        lines = ((number, line.removeprefix(BOM)) for number, line in enumerate(self._block.splitlines()))
        return [
            (number, line)
            for number, line in lines
            if (text := line.strip()) and text[:1] != b"#" and text != self._layout.header
        ]

    def parsed_as_text(self) -> pa.Table | None:
        """The table with every cell as text, or None if it has no row."""
        rows = self._rows()
        if not rows:
            return None
        table = self.parsed({}, b"\n".join([line for _, line in rows]))
        if table is None:
            raise self._refused(rows)
        return table

    def parsed(self, types: Mapping[str, pa.DataType], block: bytes | None = None) -> pa.Table | None:
        """The table, or None if a cell is of another type, or a row has another number of cells."""
        layout = self._layout
        kinds = {
            ours: types.get(ours, _WORDS if ours in _FEW_WORDS else pa.string()) for ours in layout.places
        }
        block = self._block if block is None else block
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(block),
                read_options=pa.csv.ReadOptions(
                    column_names=[str(place) for place in range(layout.width)],
                    use_threads=False,
                    block_size=LONGEST_LINE + BLOCK,
                ),
                parse_options=pa.csv.ParseOptions(delimiter=layout.delimiter.decode()),
                convert_options=pa.csv.ConvertOptions(
                    column_types={str(place): kinds[ours] for ours, place in layout.places.items()},
                    include_columns=[str(place) for place in layout.places.values()],
                ),
            )
        except pa.ArrowException:
            return None
        # a quotation mark that is not closed takes the lines behind it into its cell
        if b'"' in block and len(table) != len(self._rows()):
            return None
        return table

    def _refused(self, rows: list[tuple[int, bytes]]) -> UserError:
        first, width, delimiter = self._first(), self._layout.width, self._layout.delimiter.decode()
        for number, line in rows:
            where = f"{self._path}: line {first + number}"
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                return UserError(f"{where}: is not text in UTF-8: {line[:60]!r}")
            if line.count(b'"') % 2:
                return UserError(f"{where}: a quotation mark is not closed: {text[:60]!r}")
            if (cells := len(re.sub(r'"[^"]*"', "", text).split(delimiter))) != width:
                return UserError(f"{where}: expected {width} columns, got {cells}: {text[:60]!r}")
        return UserError(
            f"{self._path}: line {first + rows[0][0]} and what follows cannot be read as a table of {width} "
            "columns"
        )
