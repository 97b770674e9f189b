"""Finds the objects in JSON that is not one object on each line, a block at a time.

The objects may be in an array, in pages of arrays, and inside other objects.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from flows.errors import UserError
from flows.replay.unpack import LONGEST_LINE, opened, take
from operators.columns import Flags, Longs

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_OPEN, _CLOSE, _QUOTE = 1, 2, 3
_STRUCTURE: Final = np.zeros(256, np.uint8)
_STRUCTURE[[ord("{"), ord("[")]] = _OPEN
_STRUCTURE[[ord("}"), ord("]")]] = _CLOSE
_STRUCTURE[ord('"')] = _QUOTE


@dataclass(frozen=True, slots=True)
class Brackets:
    """The brackets of a text that are not inside its strings."""

    at: Longs  # where each is
    depth: Longs  # how many are open before an opening one, and after a closing one
    opening: Flags


def brackets(text: bytes, depth: int = 0) -> Brackets:
    """The brackets of a text that begins outside of strings and inside `depth` brackets."""
    if b"\\" in text:
        text = _ESCAPE.sub(b"__", text)
    kinds = _STRUCTURE[np.frombuffer(text, np.uint8)]
    at = np.flatnonzero(kinds)
    kinds = kinds[at]
    outside = (np.cumsum(kinds == _QUOTE) % 2 == 0) & (kinds != _QUOTE)
    at, kinds = at[outside], kinds[outside]
    opening = kinds == _OPEN
    after = depth + np.cumsum(np.where(opening, 1, -1))
    return Brackets(at, np.where(opening, after - 1, after), opening)


def objects(text: bytes, found: Brackets, depth: int) -> tuple[Longs, Longs]:
    """Where the complete objects inside exactly `depth` brackets begin and end."""
    here = found.depth == depth
    at, opening = found.at[here], found.opening[here]
    if len(at) and not opening[0]:
        at, opening = at[1:], opening[1:]
    at = at[: len(at) // 2 * 2]
    starts, ends = at[::2], at[1::2] + 1
    braces = np.frombuffer(text, np.uint8)[starts] == ord("{")
    return starts[braces], ends[braces]


@dataclass(frozen=True, slots=True)
class Found:
    """Objects of a block of JSON."""

    rows: list[bytes]
    before: list[bytes]  # the text between each and the one before it
    first: int  # how many came before these, from the beginning of the file on
    position: int  # in the file, in bytes


def scan(path: Path, depth: int, skip: int) -> Iterator[Found]:
    """The objects of a file inside exactly `depth` brackets. `skip`: bytes before the JSON begins."""
    with opened(path) as (stream, raw):
        take(path, stream, skip)
        rest, within, count = b"", 0, 0
        while block := take(path, stream):
            text = rest + block
            found = brackets(text, within)
            if len(found.depth) and found.depth.min() < 0:
                raise UserError(
                    f"{path}: the JSON is damaged after trade {count:,}: a closing bracket "
                    "without an opening one: repair it"
                )
            starts, ends = objects(text, found, depth)
            if len(starts):
                bounds = np.concatenate(([0], ends[:-1]))
                rows = [text[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
                between = [text[a:b] for a, b in zip(bounds.tolist(), starts.tolist(), strict=True)]
                yield Found(rows, between, count, raw.tell())
                count += len(rows)
                rest, within = text[ends[-1] :], depth
            elif len(text) > LONGEST_LINE:
                raise UserError(
                    f"{path}: after trade {count:,}: more than {LONGEST_LINE >> 20} MB without a trade: "
                    "expected an array of them"
                )
            else:
                rest = text
        left = brackets(rest, within)
        open_at_end = within + int(np.where(left.opening, 1, -1).sum())
        if open_at_end:
            raise UserError(
                f"{path}: the JSON is cut off or damaged after trade {count:,}: its brackets do not close: "
                "fetch or repair it"
            )
