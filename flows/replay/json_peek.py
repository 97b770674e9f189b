"""Finds out what a JSON file holds: frames or other objects, one on each line or inside brackets."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from flows.feed.frames import STREAMS
from flows.markets import AGG_TRADE, TRADE
from flows.replay.files import File, Layout, foreign
from flows.replay.frame_files import STAMP, FrameLines, FrameObjects, streams_in
from flows.replay.json_scan import brackets, objects
from flows.replay.json_tables import JsonLines, JsonObjects, names_symbol
from flows.replay.names import columns_of, known_columns, symbol_of, with_sides
from flows.replay.unpack import BLOCK, take

TRIED: Final = 1_000  # the first trade must be among so many lines, or objects inside the same brackets
DEEPEST: Final = 6  # the most brackets around a trade
LONGEST_TRADE: Final = 10_000  # bytes that are kept of a line at the end of a block

_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def peek_json(path: Path, start: bytes, skip: int, stream: IO[bytes]) -> File:
    """Describe a JSON file. `start` is its beginning, after `skip` other lines; `stream` continues it."""
    newline = b"\n" if b"\n" in start else b"\r"
    before = sum(map(len, start.splitlines(keepends=True)[:skip]))
    near: list[str] = []  # the keys of an object that is almost a trade
    text, taken = start[before:], b""
    file = _by_line(path, text, newline, skip, near) or _by_brackets(path, text, before, near)
    while file is None:
        taken = take(path, stream, BLOCK)
        if not taken:
            break
        text = text.rpartition(newline)[2][-LONGEST_TRADE:] + taken
        file = _by_line(path, text, newline, skip, near)
    if file is None and near:
        columns_of(str(path), near, "key")
    if file is None:
        raise foreign(path, skip + 1, start[before:].lstrip().split(newline, 1)[0])
    return file


def _by_line(path: Path, text: bytes, newline: bytes, skip: int, near: list[str]) -> File | None:
    tried = 0
    for line in text.splitlines():
        if not line.strip():
            continue
        trade = _trade(STAMP.sub(b"", line), near)
        if trade is True:
            return _frames(path, FrameLines(newline, skip), text)
        if isinstance(trade, dict):
            return _table(path, JsonLines(trade, newline, skip), trade, False)
        if (tried := tried + 1) == TRIED and not streams_in(text):
            break
    return None


def _by_brackets(path: Path, text: bytes, before: int, near: list[str]) -> File | None:
    found = brackets(text)
    for depth in range(DEEPEST + 1):
        starts, ends = objects(text, found, depth)
        for a, b in zip(starts[:TRIED].tolist(), ends[:TRIED].tolist(), strict=True):
            trade = _trade(text[a:b], near)
            if trade is True:
                return _frames(path, FrameObjects(depth, before), text)
            if isinstance(trade, dict):
                around = "symbol" not in trade and names_symbol(text[:a])
                return _table(path, JsonObjects(trade, depth, before, around), trade, around)
    return None


def _trade(text: bytes, near: list[str]) -> bool | dict[str, str]:
    """True for a frame of a trade; for another trade its keys by Pairflow's names; else False."""
    try:
        value: Any = msgspec.json.decode(text)
    except _BROKEN:
        return False
    if not isinstance(value, dict):
        return False
    event = value.get("data", value)
    if isinstance(event, dict) and event.get("e") in STREAMS and isinstance(event.get("s"), str):
        return True
    names = known_columns(list(value))
    if {"time", "price", "qty"} <= names.keys():
        return columns_of("", list(value), "key")
    if not near and len(names) > 1 and names.keys() & {"price", "qty"}:
        near += list(value)
    return False


def _frames(path: Path, layout: Layout, text: bytes) -> File:
    return File(path, layout, streams_in(text))


def _table(path: Path, layout: Layout, names: Mapping[str, str], around: bool) -> File:
    aggregate = "first" in names
    symbol = None if around or "symbol" in names else symbol_of(path, aggregate)
    return File(path, layout, (AGG_TRADE if aggregate else TRADE,), symbol, "id" in names, with_sides(names))
