"""A recording that cannot be read is refused in one line that names the file and the place."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.errors import UserError
from flows.replay.recordings import read, symbols_in
from flows.sandbox import messages
from tests.flows.replay.archives import (
    SYMBOLS,
    csv_rows,
    refusal,
    trades,
)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.ndjson", b"", "is empty"),
        ("blank.txt", b"\n\n  \n", "is empty"),
        ("notes.txt", b"hello\nworld\n", "line 1: expected recorded Binance trades"),
        (
            "depth.ndjson",
            b'{"e":"depthUpdate","E":1,"s":"BTCUSDT"}\n' * 3,
            "line 1: expected recorded Binance trades",
        ),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1: expected recorded"),
        ("people.csv", b"name,age,city,zip,phone,mail\nx,1,y,2,3,4\n", "line 1: expected recorded"),
        ("BTCUSDT-trades-1.csv", b"id,price,qty,quote_qty,time,is_buyer_maker\n", "holds no trades"),
        ("mine.csv", b"1,2.0,3.0,6.0,1723161255342,True,True\n", "its name does not say the symbol"),
        ("bad.parquet", b"PAR1 this is none", "cannot be read as Parquet"),
        ("bad.zip", b"PK\x03\x04 this is none", "the zip is damaged"),
        ("bad.gz", b"\x1f\x8b this is none", "cut off or damaged"),
    ],
)
def test_a_foreign_recording_is_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for attempt in (lambda: symbols_in([path]), lambda: list(read([path], SYMBOLS))):
        text = refusal(attempt)
        assert text.startswith(str(path)) and says in text


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(lambda: symbols_in([tmp_path / "none.gz"]))
    assert "directory" in refusal(lambda: symbols_in([tmp_path]))
    assert "none given" in refusal(lambda: symbols_in([]))


@pytest.mark.parametrize("name", ["r.ndjson.gz", "BTCUSDT-trades-1.csv.gz"])
def test_a_cut_off_gzip_is_found_by_the_first_look(tmp_path: Path, name: str) -> None:
    path, f = tmp_path / name, trades(40_000)
    lines = (
        messages.encode_trades("BTCUSDT", f) if "ndjson" in name else [row.encode() for row in csv_rows(f)]
    )
    path.write_bytes(gzip.compress(b"\n".join(lines))[:-2_000])
    for attempt in (lambda: symbols_in([path]), lambda: list(read([path], SYMBOLS))):
        text = refusal(attempt)
        assert str(path) in text and ("cut off" in text or "end-of-stream" in text)


@pytest.mark.parametrize("header", [False, True])
def test_a_broken_line_of_an_archive_is_named_by_its_number(tmp_path: Path, header: bool) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-09.csv"
    head = ["id,price,qty,quote_qty,time,is_buyer_maker,is_best_match"] * header
    rows = csv_rows(trades(9))
    for spoiled in ("7,abc,1", rows[6].replace(",0.", ",zero.")):
        path.write_text("\n".join([*head, *rows[:3], "", *rows[3:6], spoiled, *rows[7:]]))
        for attempt in (lambda: symbols_in([path]), lambda: list(read([path], SYMBOLS))):
            assert refusal(attempt).startswith(f"{path}: line {8 + header}: ")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_the_first_look_finds_an_archive_that_is_broken_in_the_middle(tmp_path: Path, suffix: str) -> None:
    path, f = tmp_path / f"BTCUSDT-trades-2024-08-09{suffix}", trades(60_000)
    rows = csv_rows(f)
    rows[50_000] = "garbage"
    text = "\n".join(rows).encode()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("BTCUSDT-trades-2024-08-09.csv", text)
    else:
        path.write_bytes(gzip.compress(text) if suffix == ".csv.gz" else text)
    assert refusal(lambda: symbols_in([path])).startswith(
        f"{path}: line 50001: expected 7 columns, got 1: 'garbage'"
    )


def test_the_first_look_finds_a_parquet_file_that_is_broken_in_the_middle_or_of_other_types(
    tmp_path: Path,
) -> None:
    path, f = tmp_path / "BTCUSDT-trades-1.parquet", trades(60_000)
    columns = {"id": f.id, "price": f.price, "qty": f.qty, "time": f.ts, "is_buyer_maker": f.is_buyer_maker}
    pq.write_table(pa.table(columns), path, row_group_size=5_000)
    spoiled = bytearray(path.read_bytes())
    middle = len(spoiled) // 2
    spoiled[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(spoiled)
    assert refusal(lambda: symbols_in([path])).startswith(
        f"{path}: cannot be read as Parquet: it is cut off or damaged"
    )
    pq.write_table(pa.table(columns | {"price": pa.array(["dear"] * len(f))}), path)
    assert refusal(lambda: symbols_in([path])).startswith(
        f"{path}: row 1: column price: expected a number such as 0.25, got 'dear'"
    )


def _parquet(path: Path, **columns: object) -> None:
    f = trades(20)
    pq.write_table(
        pa.table(
            {"id": f.id, "price": f.price, "qty": f.qty, "time": f.ts, "is_buyer_maker": f.is_buyer_maker}
            | columns
        ),
        path,
    )


ODD: dict[str, Callable[[Path], object]] = {
    "an integer symbol": lambda path: _parquet(path, symbol=np.arange(20)),
    "a nested symbol": lambda path: _parquet(path, symbol=[{"a": 1}] * 20),
    "a text id": lambda path: _parquet(path, id=["x"] * 20),
    "a nested price": lambda path: _parquet(path, price=[[1.0]] * 20),
    "a text time": lambda path: _parquet(path, time=["yesterday"] * 20),
    "a text flag": lambda path: _parquet(path, is_buyer_maker=["perhaps"] * 20),
    "a binary side": lambda path: _parquet(path, side=[b"\xff"] * 20),
    "its beginning only": lambda path: path.write_bytes(b"PAR1" + bytes(100)),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_parquet_is_one_line(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "BTCUSDT-trades-1.parquet"
    ODD[odd](path)
    try:
        found = [*read([path], ("BTCUSDT",))] if symbols_in([path]) else []
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:  # understood
        assert odd in ("an integer symbol", "a binary side") and not sum(map(len, found)) % 20


@pytest.mark.parametrize("flaw", ["encrypted", "method", "lzma"])
def test_a_zip_that_cannot_be_unpacked_is_one_line(tmp_path: Path, flaw: str) -> None:
    path = tmp_path / "BTCUSDT-trades-1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA if flaw == "lzma" else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-1.csv", "\n".join(csv_rows(trades(200))))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    if flaw == "encrypted":
        content[6] |= 1
        content[central + 8] |= 1
    elif flaw == "method":
        content[8] = content[central + 10] = 97
    else:
        content[80:120] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        symbols_in([path])
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)
