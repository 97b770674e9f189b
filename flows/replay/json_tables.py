"""Trades as JSON objects, as REST clients and loggers save them.

Each is on its own line, or they are in arrays, also inside other objects. Their keys may have many names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from flows.errors import UserError
from flows.replay.files import File, Layout, Part
from flows.replay.frame_files import STAMP
from flows.replay.json_scan import scan
from flows.replay.names import NAMES
from flows.replay.unpack import blocks, line_at

_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_STRUCTURE: Final = b" \t\r\n,[]"

# The symbol of all trades in the object around them: `{"symbol":"BTCUSDT","trades":[…]}`
_SYMBOL = re.compile(
    rb'"(?:' + "|".join(NAMES["symbol"]).encode() + rb')"\s*:\s*("(?:[^"\\]|\\.){1,80}")', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class JsonLines(Layout):
    """One object on each line."""

    names: dict[str, str]  # Pairflow's name of a key to the file's
    newline: bytes
    skip: int  # lines before the first object


@dataclass(frozen=True, slots=True)
class JsonObjects(Layout):
    """Objects inside `depth` brackets."""

    names: dict[str, str]  # Pairflow's name of a key to the file's
    depth: int
    skip: int  # bytes before the JSON
    around: bool  # the symbol is in the object around the trades


class _Rows:
    """Decodes objects with these keys into columns."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = tuple(names)
        keys = [(ours, Any, msgspec.field(default=None, name=theirs)) for ours, theirs in names.items()]
        row = msgspec.defstruct("Row", keys, gc=False)
        self._all: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]
        self._one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)

    def decode(self, texts: Sequence[bytes]) -> list[Any]:
        """The row of each text; None where it is not a JSON object."""
        try:
            rows = self._all.decode(b"[" + b",".join(texts) + b"]")
            if len(rows) == len(texts):  # else two texts are halves of one object, or a text holds two
                return rows
        except _BROKEN:
            pass
        return [self._decoded(text) for text in texts]

    def _decoded(self, text: bytes) -> Any:
        try:
            return self._one.decode(text)
        except _BROKEN:
            return None

    def columns(self, rows: Sequence[Any]) -> dict[str, pa.Array]:
        return {name: _array([getattr(row, name) for row in rows]) for name in self._names}


def _array(values: list[Any]) -> pa.Array:
    """JSON values as a column: with their type if they have the same, else as text."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) <= 1:
        try:
            return pa.array(values)
        except pa.ArrowException:  # a whole number beyond 64 bits
            pass
    return pa.array(
        [None if value is None else value if isinstance(value, str) else repr(value) for value in values],
        pa.string(),
    )


def is_other(row: Any) -> bool:
    """Whether a decoded object is no trade: it has neither a price nor a quantity."""
    return row.price is None and row.qty is None


def json_line_parts(file: File, layout: JsonLines) -> Iterator[Part]:
    """The trades of a file with one object on each line.

    Lines that are not JSON are counted as unreadable, other messages as foreign.
    """
    decoder = _Rows(layout.names)
    for block, before, position in blocks(file.path, layout.newline, layout.skip):
        numbers, texts = [], []
        for number, line in enumerate(block.splitlines()):
            if line and not line.isspace() and line[:1] != b"#":
                numbers.append(number)
                texts.append(line if line[0] == 123 else STAMP.sub(b"", line))
        decoded = decoder.decode(texts)
        good = [k for k, row in enumerate(decoded) if row is not None and not is_other(row)]
        unreadable = sum(row is None for row in decoded)
        where = partial(_line, file.path, layout.newline, before, [numbers[k] for k in good])
        columns = decoder.columns([decoded[k] for k in good])
        yield Part(columns, position, where, layout.names, len(decoded) - len(good) - unreadable, unreadable)


def _line(path: Path, newline: bytes, before: int, numbers: Sequence[int], row: int) -> str:
    return f"line {line_at(path, before, newline) + numbers[row]}"


def json_object_parts(file: File, layout: JsonObjects) -> Iterator[Part]:
    """The trades of a file of arrays of objects."""
    decoder = _Rows(layout.names)
    symbol: str | None = None
    for found in scan(file.path, layout.depth, layout.skip):
        decoded = decoder.decode(found.rows)
        if None in decoded:
            k = decoded.index(None)
            raise UserError(
                f"{file.path}: trade {found.first + k + 1:,}: is not JSON: "
                f"{found.rows[k][:60].decode('utf-8', 'replace')!r}"
            )
        good = [k for k, row in enumerate(decoded) if not is_other(row)]
        columns = decoder.columns([decoded[k] for k in good])
        if layout.around:
            around: list[str | None] = []
            for before in found.before:
                if before.strip(_STRUCTURE):
                    symbol = _symbol_around(before)
                around.append(symbol)
            columns["symbol"] = pa.array([around[k] for k in good], pa.string())
        # other messages between two pages of trades, such as an error
        others = 0 if layout.depth > 1 else sum(b"{" in before for before in found.before)
        where = partial(_trade, [found.first + k for k in good])
        yield Part(columns, found.position, where, layout.names, len(decoded) - len(good) + others)


def _trade(numbers: Sequence[int], row: int) -> str:
    return f"trade {numbers[row] + 1:,}"


def _symbol_around(text: bytes) -> str | None:
    """The symbol that the text names at the beginning of an object, behind the end of the one before."""
    found = _SYMBOL.search(text, text.rfind(b"}") + 1)
    try:
        return msgspec.json.decode(found[1], type=str) if found else None
    except _BROKEN:
        return None


def names_symbol(text: bytes) -> bool:
    """Whether the text before the first trade names the symbol."""
    return _symbol_around(text) is not None
