"""Reads the tables from schema.sql."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SCHEMA = files("flows.database") / "schema.sql"  # a link to questdb/schema.sql; a wheel has a copy


@dataclass(frozen=True, slots=True)
class Table:
    """One table of schema.sql: its columns in order, with their types, and its deduplication keys."""

    name: str
    columns: dict[str, str]
    keys: tuple[str, ...]
    create: str

    def types(self, type_: str) -> tuple[str, ...]:
        return tuple(name for name, each in self.columns.items() if each == type_)


@cache
def tables() -> dict[str, Table]:
    """The tables of schema.sql, in its order."""
    text = re.sub(r"--[^\n]*", "", SCHEMA.read_text(encoding="utf-8"))
    found = {}
    for statement in filter(None, map(str.strip, text.split(";"))):
        match = re.fullmatch(
            r"CREATE TABLE IF NOT EXISTS (\w+) \((.*)\) TIMESTAMP\(ts\) PARTITION BY \w+ WAL DEDUP UPSERT "
            r"KEYS\((.*)\)",
            statement,
            re.DOTALL,
        )
        assert match, statement
        name, columns, keys = match.groups()
        words = [column.split() for column in columns.split(",")]
        found[name] = Table(
            name, {column: type_ for column, type_, *_ in words}, tuple(re.split(r",\s*", keys)), statement
        )
    return found
