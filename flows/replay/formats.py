"""Recordings in any format as `Frames`. The content of a file decides its format, not its name.

    file           formats                                     what it returns
    frame_files    websocket frames, one a line or in arrays   Frames, from the decoder of the live feed
    csv_tables     archives and tables of text                 Parts: columns by Pairflow's names (names.py),
    json_tables    objects with other keys                     converted by the same rules (cells.py),
    arrow_files    Parquet, Feather                            which become Frames in tables.py

All of them may be compressed (unpack.py). `peek` finds the format, `looked` reads a file for the first look,
`frames_of` reads its trades.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from flows.errors import UserError
from flows.feed.frames import Frames
from flows.markets import BINANCE, Market
from flows.replay import tables
from flows.replay.arrow_files import Arrow, arrow_parts, kind_of, peek_arrow
from flows.replay.csv_tables import Csv, csv_parts, is_table, peek_csv, preamble
from flows.replay.files import File, Part
from flows.replay.frame_files import PEEKED, FrameLines, FrameObjects, look_at_frames, read_frames
from flows.replay.json_peek import peek_json
from flows.replay.json_tables import JsonLines, JsonObjects, json_line_parts, json_object_parts
from flows.replay.unpack import BLOCK, one_line, opened, take


def peek(path: Path, market: Market = BINANCE) -> File:
    """Describe a venue's recording by its beginning. Raises UserError, with what it holds, if that is no
    trades.
    """
    file = replace(_format(path), market=market)
    firsts = []
    for stream in file.streams:
        first = next((frames for frames, _ in looked(file, stream, {}) if len(frames)), None)
        if first is not None:
            firsts.append(int(first.ts[:PEEKED].min()))
    if not firsts:
        raise UserError(f"{path}: holds no trade: every row has an impossible price, quantity or time")
    return replace(file, first_us=min(firsts))


def _format(path: Path) -> File:
    try:
        regular = path.is_file() or not path.exists()
    except (OSError, ValueError) as e:
        raise UserError(
            f"{one_line(path)}: cannot be read: {e.strerror if isinstance(e, OSError) else e}"
        ) from e
    if not regular and not path.is_dir():
        raise UserError(f"{path}: is not a regular file: save its content to one first")
    with opened(path) as (stream, raw):
        start = take(path, stream, BLOCK)
        if kind := kind_of(start):
            return peek_arrow(path, kind, stream is not raw)
        if not start.strip():
            raise UserError(f"{path}: is empty: give a file that holds recorded trades")
        skip = preamble(start)
        line = next(iter(start.splitlines()[skip:]), b"").strip()
        if line[:1] in (b"{", b"[") or (b"{" in start and not is_table(line)):
            return peek_json(path, start, skip, stream)
    return peek_csv(path, start)


def looked(file: File, stream: str, codes: dict[str, int]) -> Iterator[tuple[Frames, int]]:
    """A part of the file's trades after the other, with the position in the file. Adds symbols to the empty
    `codes`.

    For the first look: of tables all trades, of websocket frames only the first or last ones of each block.
    """
    own: dict[str, int] = {}
    parts = (
        look_at_frames(file, file.layout, stream, own)
        if isinstance(file.layout, FrameLines | FrameObjects)
        else _look_at_tables(file, own)
    )
    for found in parts:
        codes.update({file.in_tables(name): code for name, code in own.items()})
        yield found


def _look_at_tables(file: File, codes: dict[str, int]) -> Iterator[tuple[Frames, int]]:
    counted = 0
    for part in _parts(file):
        for name in tables.symbols(file, part):
            codes.setdefault(name, len(codes))
        yield tables.frames(file, part, codes, len(codes), counted), part.position
        counted += len(part)


def frames_of(file: File, codes: Mapping[str, int], stream: str) -> Iterator[tuple[Frames, int]]:
    """The trades of a file in the file's order, in batches of about 10,000, with the position in the file."""
    own = file.codes(codes)
    if isinstance(file.layout, FrameLines | FrameObjects):
        yield from read_frames(file, file.layout, own, len(codes), stream)
        return
    counted = 0
    for part in _parts(file):
        yield tables.frames(file, part, own, len(codes), counted), part.position
        counted += len(part)


def _parts(file: File) -> Iterator[Part]:
    match file.layout:
        case Csv():
            return csv_parts(file, file.layout)
        case JsonLines():
            return json_line_parts(file, file.layout)
        case JsonObjects():
            return json_object_parts(file, file.layout)
        case Arrow():
            return arrow_parts(file, file.layout)
    raise TypeError(file.layout)
