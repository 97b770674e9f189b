"""The file of an export: its name decides the format, and it appears only once it is complete.

| the name of the file | what is written |
|---|---|
| ends in `.csv`, or names no format (`bars`, `bars.2024-08-09`), or is a device or a pipe | CSV |
| ends in `.csv.gz`, `.csv.bz2`, `.csv.xz` or `.csv.zst` (also without `.csv`) | compressed CSV |
| ends in `.parquet`, or names no format and --format is parquet | Parquet |
| ends in anything else, such as `.xlsx` or `.json` | nothing: it is refused |
"""

import contextlib
import errno
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from flows.errors import UserError

STDOUT: Final = "-"
FORMATS: Final = ("csv", "parquet")
COMPRESSIONS: Final = ("gz", "bz2", "xz", "zst")
# An ending that begins with a letter names a format; the ends of `bars.2024-08-09` and `v1.2` do not.
ENDING: Final = re.compile(r"\.([A-Za-z][A-Za-z0-9_]*)$")
OFFERED: Final = ".csv, .csv.gz, .csv.bz2, .csv.xz, .csv.zst or .parquet"
GZIP_LEVEL: Final = 6  # the default of gzip; Python's default, 9, takes three times as long to save 1 %


def format_of(out: str | Path, wanted: str | None = None) -> tuple[str, str | None]:
    """Format (csv or parquet) and compression (one of COMPRESSIONS, or None) of the file.

    The name decides; `wanted` does where the name says nothing. Raises UserError where they contradict each
    other.
    """
    if wanted is not None and wanted not in FORMATS:
        raise UserError(f"export: --format {wanted}: choose one of {', '.join(FORMATS)}")
    if str(out) == STDOUT:
        if wanted == "parquet":
            raise UserError("export: Parquet cannot be written to the terminal: name a file with -o FILE")
        return "csv", None
    name = Path(out).name
    ending, rest = _split(name)
    compression = ending if ending in COMPRESSIONS else None
    if compression:
        ending, _ = _split(rest)
    if ending is not None and ending not in FORMATS:
        raise UserError(
            f"export: {out}: a file that ends in .{ending} cannot be written: name one that ends in {OFFERED}"
        )
    if ending and wanted and ending != wanted:
        raise UserError(
            f"export: {out}: its name says {ending} and --format says {wanted}: change one of them"
        )
    chosen = ending or wanted or "csv"
    if compression and chosen == "parquet":
        raise UserError(f"export: {out}: Parquet has its own compression: name a file that ends in .parquet")
    return chosen, compression


def _split(name: str) -> tuple[str | None, str]:
    """The ending that names a format, in lower case, and the name before it; a hidden file has no ending."""
    match = ENDING.search(name)
    return (match[1].lower(), name[: match.start()]) if match and match.start() else (None, name)


@contextlib.contextmanager
def opened(out: str | Path, format: str, compression: str | None) -> Iterator[Any]:
    """Open what to write to: text for CSV, bytes for Parquet.

    A file gets its name when the block has ended without an error.
    """
    if str(out) == STDOUT:
        with _terminal() as target:
            yield target
        return
    path = Path(out)
    try:
        if path.exists() and not path.is_file():
            if path.is_dir():
                raise IsADirectoryError(0, "it is a directory")
            with path.open("wb") as device, _layered(device, format, compression) as target:
                yield target  # /dev/null, a named pipe: nothing to rename
            return
        handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
    except OSError as error:
        raise UserError(
            f"export: {path} cannot be written ({error.strerror}): name another file with -o FILE"
        ) from None
    try:
        with os.fdopen(handle, "wb") as file, _layered(file, format, compression) as target:
            yield target
        Path(fresh).chmod(0o666 & ~_umask())
        Path(fresh).replace(path)
    except BaseException as error:
        Path(fresh).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"export: {path} cannot be written ({error.strerror or error}): nothing was kept"
            ) from None
        raise


@contextlib.contextmanager
def _terminal() -> Iterator[Any]:
    """Standard output as UTF-8 in every locale: redirected to a file, it writes what `-o FILE` would."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = None  # else Python fails again at exit, when it flushes the rest
        raise UserError(
            f"export: standard output cannot be written ({error.strerror or error}): name a file with -o FILE"
        ) from None


@contextlib.contextmanager
def _layered(file: IO[bytes], format: str, compression: str | None) -> Iterator[Any]:
    """Add compression and text encoding to a file of bytes. The same rows always give the same bytes."""
    with contextlib.ExitStack() as layers:
        target: Any = layers.enter_context(_compressed(file, compression)) if compression else file
        if format == "csv":
            target = layers.enter_context(io.TextIOWrapper(target, encoding="utf-8", newline=""))
        yield target


def _compressed(file: IO[bytes], compression: str) -> Any:
    import bz2
    import gzip
    import lzma

    import pyarrow as pa

    if compression == "gz":
        # without name and time, so that the same rows give the same bytes
        return gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0)
    if compression == "bz2":
        return bz2.BZ2File(file, "wb")
    if compression == "xz":
        return lzma.LZMAFile(file, "wb")
    return pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
