"""Recorded websocket frames: one a line, with or without a receive time before it, or in JSON arrays."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from flows.feed.frames import Frames
from flows.markets import AGG_TRADE, TRADE
from flows.replay.files import File, Layout
from flows.replay.json_scan import scan
from flows.replay.unpack import blocks
from flows.settings.symbols import symbol_name
from flows.venues import venue_named

PEEKED: Final = 1_000  # frames that say when a recording begins: its first lines may be out of order

# JSON may write letters beyond ASCII as \uXXXX
_NAME: Final = rb'"s"\s*:\s*"((?:[^"\\]{1,160}+|\\u[0-9a-fA-F]{4}){1,40})"'
_EVENT = re.compile(rb'"e"\s*:\s*"(trade|aggTrade)"[^{}]*?' + _NAME)
_EVENT_BEHIND = re.compile(_NAME + rb'[^{}]*?"e"\s*:\s*"(trade|aggTrade)"')  # another order of keys
_WRITTEN = re.compile(_NAME)
# What a logger writes before a message: a time, its brackets and separators, a level; also the mark of a file
# that was put behind another.
STAMP: Final = re.compile(rb'^(?:\[[^\[\]{}"]{1,60}\]|[^\[\]{}"]){1,100}?(?=[\[{])')


@dataclass(frozen=True, slots=True)
class FrameLines(Layout):
    """A frame a line."""

    newline: bytes
    skip: int  # lines before the first frame


@dataclass(frozen=True, slots=True)
class FrameObjects(Layout):
    """Frames in JSON arrays or behind each other: whole objects within `depth` brackets."""

    depth: int
    skip: int  # bytes before the JSON


class Spellings(dict[str, int]):
    """Codes of symbols by every spelling met: `btcusdt` and `BTCUSDT` are one. Its length is the number of
    symbols.
    """

    def __init__(self, codes: Mapping[str, int]) -> None:
        super().__init__(codes)
        self._codes = codes

    def learn(self, names: set[str]) -> bool:
        """Enter new spellings. Returns whether one of them is of a known symbol."""
        new = {name: self._codes.get(symbol_name(name) or name, -1) for name in names - self.keys()}
        self.update(new)
        return any(code >= 0 for code in new.values())


def streams_in(text: bytes) -> tuple[str, ...]:
    """Which of trade and aggTrade a text holds frames of."""
    events = {event.decode() for event, _ in _events(text)}
    return tuple(stream for stream in (TRADE, AGG_TRADE) if stream in events)


def _events(text: bytes) -> set[tuple[bytes, bytes]]:
    return set(_EVENT.findall(text)) or {(event, name) for name, event in _EVENT_BEHIND.findall(text)}


def names_in(text: bytes, stream: str) -> set[str]:
    """The symbols of the frames of a stream, as they are written."""
    return {name for event, raw in _events(text) if event.decode() == stream and (name := _unescaped(raw))}


def _unescaped(raw: bytes) -> str:
    try:
        return msgspec.json.decode(b'"' + raw + b'"', type=str)
    except (msgspec.MsgspecError, ValueError):
        return ""


def look_at_frames(
    file: File, layout: FrameLines | FrameObjects, stream: str, codes: dict[str, int]
) -> Iterator[tuple[Frames, int]]:
    """The same as `read_frames` for a first look: symbols are entered into `codes` as they come."""
    for lines, position in _whole(file, layout):
        frames = _decoded(file, lines, Spellings(codes), len(codes), stream)
        if frames.foreign:
            needle = f'"{stream}"'.encode()
            names = {
                symbol_name(name) or name
                for name in names_in(b"\n".join([line for line in lines if needle in line]), stream)
            }
            if new := sorted(names - codes.keys()):
                codes.update({name: len(codes) + k for k, name in enumerate(new)})
                frames = _decoded(file, lines, Spellings(codes), len(codes), stream)
        yield frames, position


def read_frames(
    file: File, layout: FrameLines | FrameObjects, codes: Mapping[str, int], symbols: int, stream: str
) -> Iterator[tuple[Frames, int]]:
    """The trades of a stream, and counts of all other messages and lines; `codes` are of so many `symbols`."""
    spellings = Spellings(codes)
    for frames, position in _whole(file, layout):
        yield _decoded(file, frames, spellings, symbols, stream), position


def _whole(file: File, layout: FrameLines | FrameObjects) -> Iterator[tuple[list[bytes], int]]:
    if isinstance(layout, FrameLines):
        for block, _, position in blocks(file.path, layout.newline, layout.skip):
            yield block.splitlines(), position
    else:
        for found in scan(file.path, layout.depth, layout.skip):
            yield found.rows, found.position


def _decoded(file: File, lines: Sequence[bytes], spellings: Spellings, symbols: int, stream: str) -> Frames:
    decode = venue_named(file.market.name).decode
    needle = f'"{stream}"'.encode()
    ours = [line if line[0] == 123 else STAMP.sub(b"", line) for line in lines if needle in line]
    frames = decode(ours, spellings, stream, symbols)
    if frames.foreign and spellings.learn(
        {_unescaped(raw) for line in ours for raw in _WRITTEN.findall(line)}
    ):
        frames = decode(ours, spellings, stream, symbols)
    if len(ours) != len(lines):
        others = [line.strip() for line in lines if needle not in line]
        sound_others = sum(
            line.endswith(b"}") and (line.startswith(b"{") or bool(STAMP.match(line))) for line in others
        )
        junk = sum(1 for line in others if line) - sound_others
        frames = replace(frames, foreign=frames.foreign + sound_others, unreadable=frames.unreadable + junk)
    return frames
