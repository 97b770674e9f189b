import gzip
import io
import zipfile
from pathlib import Path

import pytest

from flows.replay import unpack
from tests.flows.replay.reading import read, refusal
from tests.flows.replay.shapes import PACKINGS

TEXT = "ts,symbol,id,price,qty,side\n" + "\n".join(
    f"{1_735_689_600_000 + k},BTCUSDT,{k},{k + 0.25},1,buy" for k in range(30_000)
)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_recording_is_read_whatever_it_is_packed_in(tmp_path: Path, packing: str) -> None:
    found = read(tmp_path / "trades", PACKINGS[packing](TEXT.encode()))
    assert found.price.tolist() == [k + 0.25 for k in range(30_000)]


@pytest.mark.parametrize("packing", [packing for packing in PACKINGS if packing])
@pytest.mark.parametrize("left", [0.999, 0.5, 0.001])
def test_a_recording_that_is_cut_off_is_refused(tmp_path: Path, packing: str, left: float) -> None:
    packed = PACKINGS[packing](TEXT.encode())
    says = refusal(tmp_path / "trades", packed[: int(len(packed) * left)])
    assert "cut off or damaged" in says or "damaged or cut off" in says


def test_joined_archives_are_read_to_their_end(tmp_path: Path) -> None:
    for packing in (".gz", ".bz2", ".xz", ".zst"):
        packed = b"".join(PACKINGS[packing](part.encode()) for part in (TEXT[:400_000], TEXT[400_000:]))
        assert len(read(tmp_path / "trades", packed)) == 30_000


def test_a_zip_of_several_files_and_one_within_another_archive_are_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    assert refusal(tmp_path / "two.zip", sink.getvalue()) == "holds 2 files: expected a zip with one file"
    parquet = gzip.compress(b"PAR1" + bytes(100))
    assert refusal(tmp_path / "p.parquet.gz", parquet) == "is Parquet within another archive: unpack it first"


def test_a_line_longer_than_memory_allows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LONGEST_LINE", 2_000_000)
    says = refusal(tmp_path / "t.csv", TEXT + "\n" + "1" * 8_000_000)
    assert says.startswith("line 30002: is longer than 1 MB")


def test_lines_are_counted_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"a\nbb\nccc\n")
    assert [unpack.line_at(path, before, b"\n") for before in (0, 2, 5)] == [1, 2, 3]
    assert [(block, before) for block, before, _ in unpack.blocks(path, skip=1)] == [(b"bb\nccc\n", 2)]
