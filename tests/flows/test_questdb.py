"""The database's tables, the writer's promises."""

from flows.questdb import Endpoint, connect, tables


def test_prepare_creates_every_table(database: Endpoint) -> None:
    with connect(database) as connection:
        found = {name for (name,) in connection.execute("SELECT table_name FROM tables()")}
    assert set(tables()) <= found
