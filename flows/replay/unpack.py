"""Reads the bytes of a recording: decompresses them, and converts UTF-16 to UTF-8.

It knows gzip, bzip2, xz, zstd, lz4 and a zip of one file.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, cast

import pyarrow as pa

from flows.errors import UserError

BLOCK: Final = 3 << 19  # bytes taken at once: about 10,000 frames
LONGEST_LINE: Final = 16 << 20  # bytes of the longest line or JSON value
NESTED: Final = 3  # compressions inside one another, such as a zip of a .csv.gz
BOM: Final = codecs.BOM_UTF8

_DAMAGED: Final = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    pa.ArrowException,
)
_ZIP: Final = b"PK\x03\x04"


def one_line(text: object, longest: int = 200) -> str:
    return " ".join(str(text).split())[:longest]


def _gzip(packed: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=packed))


def _bzip2(packed: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], bz2.BZ2File(packed))


def _xz(packed: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.LZMAFile(packed))


def _arrow(codec: str) -> Callable[[IO[bytes]], IO[bytes]]:
    return lambda packed: cast(IO[bytes], io.BufferedReader(_Arrow(packed, codec), BLOCK))


_UNPACKERS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {  # by a file's first bytes
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\xfd7zXZ": _xz,
    b"]\x00\x00": _xz,
    b"\x28\xb5\x2f\xfd": _arrow("zstd"),
    b"\x04\x22\x4d\x18": _arrow("lz4"),
}


class _Arrow(io.RawIOBase):
    """The decompressed bytes of a codec that pyarrow has, but Python 3.11 does not."""

    def __init__(self, packed: IO[bytes], codec: str) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(packed, "r"), codec)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._stream.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)


class _Utf8(io.RawIOBase):
    """Text of another encoding as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._stream.read(BLOCK)
            self._ready = self._decoder.decode(block, final=not block).encode()
            if not block:
                break
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


class opened:
    """Opens a recording: a stream of its decompressed bytes, and the file, whose `tell` is the position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack = ExitStack()

    def __enter__(self) -> tuple[IO[bytes], IO[bytes]]:
        with self.stack as stack:
            try:
                raw = stack.enter_context(self.path.open("rb"))
            except OSError as e:
                raise UserError(f"{self.path}: cannot be read: {e.strerror or e}") from e
            stream: IO[bytes] = raw
            for _ in range(NESTED):
                head = self._head(stream)
                unpack = next(
                    (unpack for magic, unpack in _UNPACKERS.items() if head.startswith(magic)), None
                )
                if unpack:
                    stream = stack.enter_context(_peekable(unpack(stream)))
                elif head.startswith(_ZIP):
                    stream = stack.enter_context(_peekable(self._only_member(stream, stack)))
                else:
                    break
            self.stack = stack.pop_all()
        return self._text(stream), raw

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _head(self, stream: IO[bytes]) -> bytes:
        try:
            return cast(io.BufferedReader, stream).peek(8)[:8]
        except (*_DAMAGED, OSError) as e:
            raise damaged(self.path, stream, e) from e

    def _only_member(self, stream: IO[bytes], stack: ExitStack) -> IO[bytes]:
        if not stream.seekable():
            raise UserError(f"{self.path}: is a zip within another archive: unpack it first")
        try:
            archive = stack.enter_context(zipfile.ZipFile(stream))
            members = [
                name
                for name in archive.namelist()
                if not name.endswith("/") and not name.startswith("__MACOSX/")
            ]
            if len(members) != 1:
                raise UserError(f"{self.path}: holds {len(members)} files: expected a zip with one file")
            return archive.open(members[0])
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as e:
            raise UserError(
                f"{self.path}: the zip is damaged or cut off ({one_line(e)}): fetch it again"
            ) from e
        except RuntimeError as e:
            raise UserError(f"{self.path}: the zip cannot be opened ({one_line(e)}): unpack it first") from e

    def _text(self, stream: IO[bytes]) -> IO[bytes]:
        head = self._head(stream)
        if head.startswith(BOM):
            stream.read(len(BOM))
        elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and head[2:4] != b"\0\0":
            return cast(IO[bytes], io.BufferedReader(_Utf8(stream, "utf-16"), BLOCK))
        elif len(head) >= 4 and head[1] == head[3] == 0 and head[0] and head[2]:
            return cast(IO[bytes], io.BufferedReader(_Utf8(stream, "utf-16-le"), BLOCK))
        return stream


def _peekable(stream: IO[bytes]) -> IO[bytes]:
    return (
        stream
        if hasattr(stream, "peek") and not isinstance(stream, zipfile.ZipExtFile)
        else io.BufferedReader(cast(Any, stream), BLOCK)
    )


def damaged(path: Path, stream: IO[bytes], e: BaseException) -> UserError:
    """The error of a recording that cannot be read or decompressed."""
    if isinstance(e, OSError) and e.errno:
        return UserError(f"{path}: cannot be read: {e.strerror or e}")
    try:
        where = f"after {stream.tell():,} unpacked bytes"
    except (OSError, ValueError, AttributeError):
        where = "on the way"
    return UserError(
        f"{path}: the compressed recording is cut off or damaged {where}: fetch or repair it (gzip -t says "
        "the same)"
    )


def take(path: Path, stream: IO[bytes], size: int = BLOCK) -> bytes:
    try:
        return stream.read(size)
    except (*_DAMAGED, OSError) as e:
        raise damaged(path, stream, e) from e


def blocks(path: Path, newline: bytes = b"\n", skip: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Complete lines, a block at a time, with the decompressed bytes before, and the position in the file.

    Leaves out the first `skip` lines, which must be in the first block.
    """
    with opened(path) as (stream, raw):
        rest, before, first = b"", 0, True
        while block := take(path, stream):
            end = block.rfind(newline) + 1
            if end:
                whole = b"".join((rest, memoryview(block)[:end]))
                dropped = _beginning(whole, newline, skip) if first else 0
                yield whole[dropped:] if dropped else whole, before + dropped, raw.tell()
                before, rest, first = before + len(whole), block[end:], False
            elif len(rest) > LONGEST_LINE:
                line = line_at(path, before, newline)
                raise UserError(
                    f"{path}: line {line}: is longer than {LONGEST_LINE >> 20} MB: "
                    "expected one trade on each line"
                )
            else:
                rest += block
        dropped = _beginning(rest, newline, skip) if first else 0
        if rest[dropped:]:
            yield rest[dropped:], before + dropped, raw.tell()


def _beginning(text: bytes, newline: bytes, lines: int) -> int:
    """The length of the first `lines` lines of a text."""
    return len(text) - len(text.split(newline, lines)[-1]) if lines else 0


def line_at(path: Path, before: int, newline: bytes) -> int:
    """The number (from 1) of the line that begins behind so many decompressed bytes.

    Reads the file again, as only an error message needs the number.
    """
    number = 1
    with opened(path) as (stream, _):
        while before and (block := take(path, stream, min(before, BLOCK))):
            number += block.count(newline)
            before -= len(block)
    return number
