"""Recorded trades as a source: what a set of recordings holds, and its trades in batches."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.binance.messages import AGG_TRADE, TRADE, Frames
from flows.errors import UserError
from flows.replay.files import File
from flows.replay.formats import frames_of, looked, peek
from flows.replay.merge import merged, plausible_only

Progress = Callable[[int, int], None]  # bytes read so far, bytes in all


@dataclass(frozen=True, slots=True)
class Look:
    """What a set of recordings holds."""

    files: tuple[File, ...]  # in the order of their first trades
    symbols: tuple[str, ...]  # sorted
    stream: str  # trade | aggTrade
    first_us: int
    last_us: int


def symbols_in(paths: Sequence[Path], progress: Progress | None = None) -> Look:
    """Go through the recordings once, from end to end: what symbols, what stream, when it begins and ends.

    Finds a truncated, foreign or broken file before anything is done with the others. About 150 MB of unpacked frames a second, and
    twice that of tables, whose every row is read.
    """
    files, stream = _peek_all(paths)
    symbols: set[str] = set()
    firsts: list[int] = []
    lasts: list[int] = []
    done = 0
    total = sum(file.size for file in files)
    for file in files:
        codes: dict[str, int] = {}
        for frames, position in plausible_only(looked(file, stream, codes)):
            if len(frames):
                firsts.append(int(frames.ts.min()))
                lasts.append(int(frames.ts.max()))
            if progress:
                progress(done + position, total)
        symbols |= codes.keys()
        done += file.size
    if progress:
        progress(total, total)
    if not firsts:
        raise UserError(f"{files[0].path}: holds no trade: every one has a price, a quantity or a time that cannot be one")
    return Look(files, tuple(sorted(symbols)), stream, min(firsts), max(lasts))


def read(
    paths: Sequence[Path], symbols: tuple[str, ...] | None = None, progress: Progress | None = None, stream: str | None = None
) -> Iterator[Frames]:
    """The trades of the recordings, as they were recorded, in batches of about 10,000.

    Files may be given in any order: one begins when the others have reached its first trade, and files that overlap in time (a day of
    each of two symbols) are merged by time, keeping the order within each. `symbols` are those whose codes are 0, 1, … (default: all of
    the recordings, sorted); trades of others are counted as foreign. `stream` picks one of trade and aggTrade where a recording holds both.
    """
    files, found = _peek_all(paths)
    stream = stream or found
    if symbols is None:
        symbols = symbols_in(paths).symbols
    codes = {name: code for code, name in enumerate(symbols)}
    total = sum(file.size for file in files)
    positions = dict.fromkeys(range(len(files)), 0)

    def batches(k: int) -> Generator[Frames, None, None]:
        for frames, position in plausible_only(frames_of(files[k], codes, stream)):
            positions[k] = position
            yield frames
        positions[k] = files[k].size

    for frames in merged([file.first_us for file in files], batches, len(symbols)):
        if progress:
            progress(sum(positions.values()), total)
        yield frames
    if progress:
        progress(total, total)


def _peek_all(paths: Sequence[Path]) -> tuple[tuple[File, ...], str]:
    if not paths:
        raise UserError("recordings: none given: name one or more files of recorded trades")
    files = tuple(sorted((peek(Path(path)) for path in paths), key=lambda file: (file.first_us, file.path.name)))
    common = [stream for stream in (TRADE, AGG_TRADE) if all(stream in file.streams for file in files)]
    if not common:
        a = next(file for file in files if TRADE not in file.streams)
        b = next(file for file in files if AGG_TRADE not in file.streams)
        raise UserError(f"{a.path}: holds aggregate trades, but {b.path.name} single ones: give files of one kind")
    return files, common[0]
