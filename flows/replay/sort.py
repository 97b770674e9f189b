"""Sorts trades in bounded memory: parts are sorted, written to temporary files, and merged.

First each symbol's trades are sorted by id, so that equal ids are neighbours and each time can be compared
with those around it (ids.py). Then the symbols are merged by time. The temporary files have no name, so the
operating system removes them when the process ends, however it ends.
"""

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from flows.errors import UserError
from flows.feed.frames import TIME
from flows.replay.ids import ORDER, ById
from flows.replay.merge import Kind, Stream, merged
from flows.replay.packed import ROW, Packed, by_content, by_time, join, select, turn
from operators.columns import Longs

RUN: Final = 1 << 18  # trades sorted in memory at once: 14 MB
IN_MEMORY: Final = RUN * ROW.itemsize  # bytes: a smaller temporary file stays in memory
BUFFERED: Final = 8 << 20  # bytes that a merge reads from all its parts together
LEAST_READ: Final = 1 << 11  # trades that it reads at least from each
PACKED: Final = Kind(select, join)
COPIES: Final = 2  # how often all trades are on the disk at the same time, at most


class Spill:
    """Rows in the order in which they were appended: in memory, and once they are many in an unnamed file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # lives as long as this object
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(directory))  # noqa: SIM115
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: Packed) -> None:
        try:
            self._file.write(np.ascontiguousarray(rows).view(np.uint8).data)
        except OSError as error:
            raise cannot_sort(self.directory, error) from error
        self._rows += len(rows)

    def read(self, start: int, stop: int) -> Packed:
        try:
            self._file.seek(start * ROW.itemsize)
            return np.frombuffer(self._file.read((stop - start) * ROW.itemsize), ROW)
        except OSError as error:
            raise cannot_sort(self.directory, error) from error

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()  # if the sort was not finished


class Sorter:
    """Takes trades in any order, and returns them in Pairflow's: each symbol by id, the symbols by time.

    `numbered`: replaces their ids by 1, 2, 3 … in the order of time, price, quantity and side. Codes index
    `symbols`.
    """

    def __init__(self, symbols: Sequence[str], directory: Path, numbered: bool = False) -> None:
        self._symbols, self._numbered = symbols, numbered
        self._unsorted: list[Packed] = []
        self._waiting = 0
        self._runs: list[Longs] = []  # for each run: where each symbol begins, and the end
        self._file, self._ordered = Spill(directory), Spill(directory)
        self._begin = np.zeros(len(symbols) + 1, np.int64)  # where each symbol begins in `_ordered`
        self.left_out: Counter[str] = Counter()  # trades that were left out, by reason
        self.rejected = np.zeros(len(symbols), np.int64)  # those of them with a wrong time or id, by symbol
        self.first_us, self.last_us = np.iinfo(np.int64).max, np.iinfo(np.int64).min

    def __len__(self) -> int:
        """The number of trades that are in order, once `order` has run."""
        return len(self._ordered)

    def add(self, rows: Packed) -> None:
        """Take more trades."""
        self._unsorted.append(rows)
        self._waiting += len(rows)
        while self._waiting >= RUN:
            whole = join(self._unsorted)
            self._write_run(whole[:RUN])
            self._unsorted = [whole[RUN:].copy()]
            self._waiting = len(whole) - RUN

    def order(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Sort each symbol's trades, after all were added. `progress` gets the trades done, and in all."""
        if self._waiting:
            self._write_run(join(self._unsorted))
        self._unsorted = []
        done, total = 0, len(self._file)
        for code in range(len(self._symbols)):
            begin = len(self._ordered)
            for rows in self._kept(code):
                if len(rows):
                    self.first_us, self.last_us = (
                        min(self.first_us, int(rows["ts"].min())),
                        max(self.last_us, int(rows["ts"].max())),
                    )
                self._ordered.append(rows)
                progress(done + len(self._ordered) - begin, total)
            self._begin[code + 1 :] = len(self._ordered)
            done += int(sum(run[code + 1] - run[code] for run in self._runs))
        self._file.close()

    def in_turn(self) -> Iterator[Packed]:
        """The trades in order, in parts. Works once: it removes the temporary files."""
        codes = np.flatnonzero(np.diff(self._begin))
        block = max(BUFFERED // ROW.itemsize // max(len(codes), 1), LEAST_READ)
        streams = []
        for code in codes.tolist():
            first = self._ordered.read(int(self._begin[code]), int(self._begin[code]) + 1)
            streams.append(Stream(int(first["ts"][0]), self._by_time(code, block)))
        try:
            for rows, reached in merged(streams, PACKED):
                order = turn(rows["symbol"], rows["id"], reached)
                yield rows if order is None else select(rows, order)
        finally:
            self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._file.close()
        self._ordered.close()

    def _write_run(self, rows: Packed) -> None:
        rows = by_time(rows) if self._numbered else by_content(rows)
        self._runs.append(
            len(self._file) + np.searchsorted(rows["symbol"], np.arange(len(self._symbols) + 1))
        )
        self._file.append(rows)

    def _kept(self, code: int) -> Iterator[Packed]:
        """One symbol's trades by id, without those that are left out."""
        runs = [(int(run[code]), int(run[code + 1])) for run in self._runs if run[code + 1] > run[code]]
        block = max(BUFFERED // ROW.itemsize // max(len(runs), 1), LEAST_READ)
        key = "ts" if self._numbered else "id"
        streams = [Stream(0, _blocks(self._file, start, stop, block, key)) for start, stop in runs]
        parts = (_tied(rows, self._numbered) for rows, _ in merged(streams, PACKED))
        if self._numbered:
            yield from _numbered(parts)
            return
        by_id = ById(self._symbols[code])
        yield from by_id.checked(parts)
        self.left_out += by_id.left_out
        self.rejected[code] = by_id.left_out[TIME] + by_id.left_out[ORDER]

    def _by_time(self, code: int, block: int) -> Generator[tuple[Packed, Longs], None, None]:
        reached = np.iinfo(np.int64).min
        for rows, ts in _blocks(
            self._ordered, int(self._begin[code]), int(self._begin[code + 1]), block, "ts"
        ):
            newest = np.maximum(np.maximum.accumulate(ts), reached)
            reached = int(newest[-1])
            yield rows, newest


def _blocks(
    file: Spill, start: int, stop: int, block: int, key: str
) -> Generator[tuple[Packed, Longs], None, None]:
    for begin in range(start, stop, block):
        rows = file.read(begin, min(begin + block, stop))
        yield rows, np.ascontiguousarray(rows[key])


def _tied(rows: Packed, numbered: bool) -> Packed:
    return by_time(rows) if numbered else by_content(rows)


def _numbered(parts: Iterator[Packed]) -> Iterator[Packed]:
    count = 0
    for part in parts:
        rows = part.copy()
        rows["id"] = np.arange(count + 1, count + len(rows) + 1)
        count += len(rows)
        yield rows


def room(near: Path | None) -> Path:
    """The directory for temporary files: TMPDIR if it is set, else next to the database, else the system's.

    The system's directory comes last because it may be in memory.
    """
    if near is not None and not any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        there = next((path for path in (near, *near.parents) if path.is_dir()), None)
        if there is not None and os.access(there, os.W_OK):
            return there
    return Path(tempfile.gettempdir())


def refuse_without_room(directory: Path, trades: int) -> None:
    """Raise UserError if there is not enough space to sort so many trades."""
    needed, free = COPIES * trades * ROW.itemsize, shutil.disk_usage(directory).free
    if trades > RUN and needed > free:
        raise UserError(
            f"replay: the trades are not in order; sorting them takes {needed / 1e9:,.1f} GB in "
            f"{directory}, {free / 1e9:,.1f} GB are free: "
            "set TMPDIR to a directory with more room"
        )


def cannot_sort(directory: Path, error: OSError) -> UserError:
    """The error of a temporary file that cannot be written or read."""
    why = "no space is left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return UserError(
        f"replay: sorting the trades in {directory}: {why}: set TMPDIR to a directory that has room"
    )
