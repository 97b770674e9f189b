"""Recorded trades: what a set of recordings holds, and its trades in Pairflow's order.

The trades of a symbol are in the order of their ids, and the symbols are merged by time. So the order of the
rows, the number of files and their formats do not matter: the same trades always come in the same order.
Recordings that are in this order already are read directly; all others are sorted first (sort.py).
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from flows.errors import UserError
from flows.feed.frames import Frames, join
from flows.markets import AGG_TRADE, BINANCE, MARKETS, TRADE, Market
from flows.replay.facts import AHEAD_US, SLACK_US, Facts, Span, disorder, possible
from flows.replay.files import File
from flows.replay.formats import frames_of, looked, peek
from flows.replay.merge import Kind, Stream, merged
from flows.replay.packed import grouped, pack, turn, unpack
from flows.replay.sort import Sorter, refuse_without_room, room
from operators.columns import Longs

Progress = Callable[[int, int], None]  # called with the bytes read so far, and all bytes

BATCH: Final = 10_000  # trades of a batch, about


@dataclass(frozen=True, slots=True)
class Look:
    """What a set of recordings holds."""

    files: tuple[File, ...]  # in the order of their first trades
    facts: tuple[Facts, ...]  # of each file
    symbols: tuple[str, ...]  # sorted
    streams: tuple[str, ...]  # of each file: trade | aggTrade
    latest_us: int  # a later trade would be in the future, and is rejected

    @property
    def stream(self) -> str:
        """That of a recording of one venue; of several, that of the first file."""
        return self.streams[0]

    def stream_of(self, market: Market) -> str | None:
        """The stream of the files of a venue; None where none of them is."""
        of = zip(self.files, self.streams, strict=True)
        return next((stream for file, stream in of if file.market is market), None)

    @property
    def ids(self) -> bool:
        """Whether the trades have ids."""
        return self.files[0].ids

    @property
    def first_us(self) -> int:
        return min(span.first_us for span in self._spans())

    @property
    def last_us(self) -> int:
        return max(span.last_us for span in self._spans())

    def trades(self, symbols: Sequence[str]) -> int:
        """The number of rows of these symbols, duplicates included."""
        return sum(span.trades for facts in self.facts for span in facts.of(symbols).values())

    def disorder(self, symbols: Sequence[str]) -> str | None:
        """Why the trades of these symbols have to be sorted first, in words; None if they are in order."""
        if not self.ids:
            return "they have no ids"
        return disorder(
            {_name(file, self.files): facts for file, facts in zip(self.files, self.facts, strict=True)},
            symbols,
        )

    def _spans(self) -> Iterator[Span]:
        return (span for facts in self.facts for span in facts.spans.values())


def symbols_in(
    paths: Sequence[Path],
    progress: Progress | None = None,
    stream: str | None = None,
    market: Market | None = None,
) -> Look:
    """Read the recordings once, from beginning to end, for their symbols, stream, times and order.

    A truncated, foreign or damaged file is found before anything is done with the others. `stream` chooses
    between trade and aggTrade if a recording holds both. `market` is the venue of files whose names have none
    (default: Binance spot).
    """
    files, found = _peek_all(paths, market or BINANCE)
    streams = tuple(stream or found[file.market] for file in files)
    latest_us, done, total = time.time_ns() // 1_000 + AHEAD_US, 0, sum(file.size for file in files)
    all_facts = []
    for file, of in zip(files, streams, strict=True):
        codes: dict[str, int] = {}
        facts = Facts()
        for frames, position in possible(looked(file, of, codes), latest_us):
            facts.add(frames, tuple(codes))
            if progress:
                progress(done + position, total)
        all_facts.append(facts)
        done += file.size
    if progress:
        progress(total, total)
    symbols = sorted({name for facts in all_facts for name in facts.spans})
    if not symbols:
        raise UserError(
            f"{files[0].path}: holds no trade: every row has an impossible price, quantity or time"
        )
    return Look(files, tuple(all_facts), tuple(symbols), streams, latest_us)


class Recording:
    """The trades of the recordings, in order; can be iterated once.

    If they have to be sorted, that happens here, so that errors are found before the replay begins. `symbols`
    have the codes 0, 1, …; trades of other symbols are counted as foreign. Each batch is a `Frames` of about
    10,000 rows, in which the ids of each symbol rise. The batches also count what was left out: `rejected`,
    `foreign`, `unreadable`, and `reasons`, which includes duplicates and conflicts (ids.py).
    """

    def __init__(
        self,
        look: Look,
        symbols: Sequence[str],
        near: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
        sorting: Progress | None = None,
        reading: Progress | None = None,
    ) -> None:
        self.look, self.symbols = look, tuple(symbols)
        self._codes = {name: code for code, name in enumerate(self.symbols)}
        self._left = Frames.none(len(self.symbols))  # counts that no batch has yet
        self._positions = [0] * len(look.files)
        self._reading = reading
        self.first_us, self.last_us = look.first_us, look.last_us
        self._sorter: Sorter | None = None
        if why := look.disorder(self.symbols):
            self._sort(why, room(near), say, sorting)

    def __iter__(self) -> Iterator[Frames]:
        waiting: list[Frames] = []
        for part in self._in_order() if self._sorter is None else self._sorted(self._sorter):
            waiting.append(part)
            if sum(map(len, waiting)) >= BATCH:
                yield self._batch(waiting)
                waiting = []
        yield self._batch(waiting)

    def _batch(self, parts: list[Frames]) -> Frames:
        left, self._left = self._left, Frames.none(len(self.symbols))
        return join([*parts, left], len(self.symbols))

    def _sorted(self, sorter: Sorter) -> Iterator[Frames]:
        done = 0
        for part in sorter.in_turn():
            yield unpack(part, len(self.symbols))
            done += len(part)
            if self._reading:
                self._reading(done, len(sorter))

    def _in_order(self) -> Iterator[Frames]:
        spans = [facts.of(self.symbols).values() for facts in self.look.facts]
        opens_at = [min((span.first_us for span in of), default=0) for of in spans]
        streams = [Stream(first_us, self._by_time(k), SLACK_US) for k, first_us in enumerate(opens_at)]
        for frames, reached in merged(
            streams, Kind(Frames.rows, lambda parts: join(parts, len(self.symbols)))
        ):
            order = turn(frames.symbol, frames.id, reached)
            yield frames if order is None else frames.rows(order)

    def _by_time(self, k: int) -> Generator[tuple[Frames, Longs], None, None]:
        """One file's trades, each with the newest time of its symbol so far."""
        newest = np.full(len(self.symbols), np.iinfo(np.int64).min)
        for frames in self._read(k, self._reading):
            yield frames, _reached(frames, newest)

    def _read(self, k: int, progress: Progress | None, times: int = 1) -> Iterator[Frames]:
        """One file's trades; other messages are counted.

        Reports the progress of all files, as a part of `times` as much work.
        """
        file, total = self.look.files[k], sum(each.size for each in self.look.files)
        for frames, position in possible(
            frames_of(file, self._codes, self.look.streams[k]), self.look.latest_us
        ):
            self._left = join([self._left, frames.rows(slice(0, 0))], len(self.symbols))  # its counts
            self._positions[k] = position
            if progress:
                progress(sum(self._positions), times * total)
            yield frames.uncounted()
        self._positions[k] = file.size
        if progress:
            progress(sum(self._positions), times * total)

    def _sort(self, why: str, directory: Path, say: Callable[[str], None], progress: Progress | None) -> None:
        trades = self.look.trades(self.symbols)
        refuse_without_room(directory, trades)
        say(f"not in order ({why}): sorting {trades:,} trades first")
        sorter = Sorter(self.symbols, directory, numbered=not self.look.ids)
        for k in range(len(self.look.files)):
            for frames in self._read(k, progress, 2):
                sorter.add(pack(frames))
        size = sum(self._positions)
        sorter.order(
            lambda done, total: progress(size + size * done // max(total, 1), 2 * size) if progress else None
        )
        left = replace(Frames.none(len(self.symbols)), rejected=sorter.rejected, reasons=sorter.left_out)
        self._left = join([self._left, left], len(self.symbols))
        if len(sorter):
            self.first_us, self.last_us = sorter.first_us, sorter.last_us
        self._sorter = sorter


def read(
    paths: Sequence[Path],
    symbols: tuple[str, ...] | None = None,
    progress: Progress | None = None,
    stream: str | None = None,
) -> Iterator[Frames]:
    """The trades of the recordings in order, in batches of about 10,000.

    `symbols` as in Recording; by default all, sorted.
    """
    look = symbols_in(paths, None, stream)
    yield from Recording(look, look.symbols if symbols is None else symbols, reading=progress)


def _reached(frames: Frames, newest: Longs) -> Longs:
    """(n,) the newest time of the symbol up to each trade. Updates `newest` (symbols,)."""
    order = grouped(frames.symbol)
    symbol, ts = frames.symbol[order], frames.ts[order]
    start = np.flatnonzero(np.concatenate(([True], symbol[1:] != symbol[:-1])))[: len(frames)].tolist()
    reached = np.empty(len(frames), np.int64)
    for a, b in pairwise([*start, len(ts)]):
        reached[order[a:b]] = np.maximum(np.maximum.accumulate(ts[a:b]), newest[symbol[a]])
        newest[symbol[a]] = reached[order[b - 1]]
    return reached


def market_in(name: str) -> Market | None:
    """The venue that a file's name has between its dots: `2025-01-01.usdm.jsonl.gz`."""
    words = set(name.lower().split(".")[1:])
    return next((market for market in MARKETS.values() if market.name in words), None)


def _peek_all(paths: Sequence[Path], market: Market) -> tuple[tuple[File, ...], dict[Market, str]]:
    """The files in the order of their first trades, and the stream of each venue."""
    if not paths:
        raise UserError("recordings: none given: name one or more files of recorded trades")
    peeked = [peek(Path(path), market_in(Path(path).name) or market) for path in paths]
    files = tuple(sorted(peeked, key=lambda file: (file.first_us, file.path.name)))
    streams = {
        market: _common([file for file in files if file.market is market])
        for market in dict.fromkeys(file.market for file in files)
    }
    without = [file for file in files if not file.ids]
    if without and len(without) < len(files):
        other = next(file for file in files if file not in without)
        raise UserError(
            f"{without[0].path}: its trades have no ids, but those of {other.path.name} do: replay them "
            "separately"
        )
    for file in without:
        if sum(file.path.samefile(other.path) for other in files) > 1:
            raise UserError(
                f"{file.path}: is given twice, and its trades have no ids that would say so: name it once"
            )
    return files, streams


def _common(files: Sequence[File]) -> str:
    """The stream that all these files hold."""
    common = [stream for stream in (TRADE, AGG_TRADE) if all(stream in file.streams for file in files)]
    if not common:
        a = next(file for file in files if TRADE not in file.streams)
        b = next(file for file in files if AGG_TRADE not in file.streams)
        raise UserError(
            f"{a.path}: holds aggregate trades, but {b.path.name} single ones: give files of one kind"
        )
    return common[0]


def _name(file: File, files: Sequence[File]) -> str:
    """The file's name, or its path if another file has the same name."""
    return (
        file.path.name if sum(other.path.name == file.path.name for other in files) == 1 else str(file.path)
    )
