"""docs/tables.md against questdb/schema.sql: the same tables, columns, types and keys, in the same order."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
STATEMENT = re.compile(
    r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\) TIMESTAMP\(ts\) .*? DEDUP UPSERT KEYS\((.*?)\)", re.DOTALL
)
HEADING = re.compile(r"^## `(\w+)`$", re.MULTILINE)
COLUMN = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.MULTILINE)
KEY = re.compile(r"^Key: ((?:`\w+`(?:, )?)+)\.", re.MULTILINE)


class Table(NamedTuple):
    """The columns of a table with their types, and its keys, in order."""

    columns: list[tuple[str, str]]
    keys: list[str]


def in_schema() -> dict[str, Table]:
    text = re.sub(r"--[^\n]*", "", (ROOT / "questdb" / "schema.sql").read_text(encoding="utf-8"))
    found = {}
    for name, columns, keys in STATEMENT.findall(text):
        words = [column.split() for column in columns.split(",")]
        found[name] = Table([(column, type_) for column, type_, *_ in words], re.findall(r"\w+", keys))
    return found


def in_page() -> dict[str, Table]:
    _, *parts = HEADING.split((ROOT / "docs" / "tables.md").read_text(encoding="utf-8"))
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        own = text.partition("\n## ")[0]  # sections about all tables follow the last one
        keys = KEY.search(own)
        found[name] = Table(COLUMN.findall(own), re.findall(r"\w+", keys[1]) if keys else [])
    return found


def test_the_page_has_the_tables_of_the_schema_in_the_same_order() -> None:
    assert len(in_schema()) > 5
    assert list(in_page()) == list(in_schema())


def test_every_table_has_its_columns_types_and_keys_in_their_order() -> None:
    page = in_page()
    for name, table in in_schema().items():
        assert page[name].columns == table.columns, name
        assert page[name].keys == table.keys, name


def test_every_row_of_a_table_says_what_the_column_means_and_when_it_is_null() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if COLUMN.match(line)]
    assert rows
    for row in rows:
        assert len(row) == 5 and row[3].strip() and row[4].strip(" |"), row
