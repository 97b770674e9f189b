"""The file of an export: its name decides the format, and it never exists half-written."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from flows.database.export_file import format_of, opened
from flows.errors import UserError

OFFERED = ".csv, .csv.gz, .csv.bz2, .csv.xz, .csv.zst or .parquet"


@pytest.mark.parametrize(
    ("name", "wanted", "format", "compression"),
    [
        ("-", None, "csv", None),
        ("bars.csv", None, "csv", None),
        ("BARS.CSV.GZ", None, "csv", "gz"),
        ("bars.csv.bz2", "csv", "csv", "bz2"),
        ("bars.gz", None, "csv", "gz"),
        ("out/of.json/bars.csv.xz", None, "csv", "xz"),
        ("a.b.csv.zst", None, "csv", "zst"),
        ("bars", None, "csv", None),
        ("bars", "parquet", "parquet", None),
        ("bars.2024-08-09", None, "csv", None),
        ("v1.2", "parquet", "parquet", None),
        (".csv", "parquet", "parquet", None),  # a hidden file that is called csv
        ("bars.parquet", None, "parquet", None),
        ("bars.Parquet", "parquet", "parquet", None),
        ("/dev/null", None, "csv", None),
    ],
)
def test_a_name_says_the_format(name: str, wanted: str | None, format: str, compression: str | None) -> None:
    assert format_of(name, wanted) == (format, compression)


@pytest.mark.parametrize(
    ("name", "wanted", "why"),
    [
        (
            "bars.xlsx",
            None,
            f"bars.xlsx: a file that ends in .xlsx cannot be written: name one that ends in {OFFERED}",
        ),
        (
            "bars.xlsx",
            "csv",
            f"bars.xlsx: a file that ends in .xlsx cannot be written: name one that ends in {OFFERED}",
        ),
        (
            "bars.json.gz",
            None,
            f"bars.json.gz: a file that ends in .json cannot be written: name one that ends in {OFFERED}",
        ),
        (
            "bars.csv.zip",
            None,
            f"bars.csv.zip: a file that ends in .zip cannot be written: name one that ends in {OFFERED}",
        ),
        (
            "bars.parquet",
            "csv",
            "bars.parquet: its name says parquet and --format says csv: change one of them",
        ),
        (
            "bars.csv.gz",
            "parquet",
            "bars.csv.gz: its name says csv and --format says parquet: change one of them",
        ),
        (
            "bars.parquet.gz",
            None,
            "bars.parquet.gz: Parquet has its own compression: name a file that ends in .parquet",
        ),
        ("bars.gz", "parquet", "bars.gz: Parquet has its own compression: name a file that ends in .parquet"),
    ],
)
def test_a_name_that_cannot_be_kept_is_refused(name: str, wanted: str | None, why: str) -> None:
    with pytest.raises(UserError) as refused:
        format_of(name, wanted)
    assert str(refused.value) == f"export: {why}"


TEXT = "ts,symbol\n1,Ünï\n"
UNPACK: dict[str, Any] = {
    "": lambda packed: packed,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda packed: pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read(),
}


@pytest.mark.parametrize("ending", UNPACK)
def test_a_compressed_file_holds_the_same_text_and_the_same_bytes_each_time(
    tmp_path: Path, ending: str
) -> None:
    for name in ("one", "two"):
        path = tmp_path / f"{name}.csv{ending}"
        with opened(path, *format_of(path)) as target:
            target.write(TEXT)
            target.write("2,x\n" * 100_000)
    path = tmp_path / f"one.csv{ending}"
    assert UNPACK[ending](path.read_bytes()).decode() == TEXT + "2,x\n" * 100_000
    assert path.read_bytes() == (tmp_path / f"two.csv{ending}").read_bytes()
    if ending not in ("", ".zst"):  # pandas needs another package to read zst
        assert pd.read_csv(path)["symbol"][0] == "Ünï"
    if ending:
        assert path.stat().st_size < 10_000


@pytest.mark.parametrize("ending", UNPACK)
def test_what_is_not_written_to_its_end_leaves_the_file_of_before(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"bars.csv{ending}"
    path.write_text("of yesterday")
    with pytest.raises(KeyboardInterrupt), opened(path, *format_of(path)) as target:
        target.write(TEXT)
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(path.name, "of yesterday")]


@pytest.mark.parametrize("ending", UNPACK)
def test_a_device_that_is_full_is_one_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"full.csv{ending}"
    path.symlink_to("/dev/full")
    with (
        pytest.raises(UserError, match=r"^export: .* cannot be written \(No space left on device\): "),
        opened(path, *format_of(path)) as to,
    ):
        to.write(os.urandom(1 << 20).hex())


def test_a_pipe_is_written_as_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gz"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with opened(path, *format_of(path)) as target:
        target.write(TEXT)
    reader.join()
    assert gzip.decompress(read[0]).decode() == TEXT


def test_standard_output_is_utf_8_whatever_the_locale_is(monkeypatch: pytest.MonkeyPatch) -> None:
    to = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(to, encoding="ascii"))
    with opened("-", *format_of("-")) as target:
        target.write(TEXT)
    assert to.getvalue().decode() == TEXT


def test_a_file_is_as_the_umask_wants_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with opened(tmp_path / "bars.csv", "csv", None) as target:
            target.write(TEXT)
    finally:
        os.umask(before)
    assert (tmp_path / "bars.csv").stat().st_mode & 0o777 == 0o640
