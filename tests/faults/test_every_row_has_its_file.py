"""Each of the rows 1 to 37 of docs/faults.md has a test file in this folder.

These rows are on feed, recovery, numbers and database. Tests of the other rows are elsewhere.
"""

from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(1, 38))
def test_a_row_has_one_file_that_quotes_it(number: int) -> None:
    (path,) = Path(__file__).parent.glob(f"test_{number:02}_*.py")
    assert path.read_text().startswith(f'"""Row {number}: ')
