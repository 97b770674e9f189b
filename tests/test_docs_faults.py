"""docs/faults.md against the tests: each row names files that exist, and each file is named by its row."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = {
    int(number): re.findall(r"`(tests/[\w/.]+)`", row)
    for number, row in re.findall(
        r"^\| (\d+) \| (.*)$", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), re.MULTILINE
    )
}


def test_the_rows_are_numbered_without_a_gap() -> None:
    assert len(ROWS) > 37 and list(ROWS) == list(range(1, len(ROWS) + 1))


def test_every_row_names_tests_that_exist() -> None:
    for number, paths in ROWS.items():
        assert paths, number
        assert [path for path in paths if not (ROOT / path).exists()] == [], number


def test_every_file_of_a_row_is_named_there() -> None:
    files = sorted((ROOT / "tests" / "faults").glob("test_[0-9]*.py"))
    assert len(files) >= 37
    for path in files:
        assert ROWS[int(path.name[5:7])] == [str(path.relative_to(ROOT))], path.name
