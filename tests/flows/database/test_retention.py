"""How long tables keep their rows."""

import pytest

from flows.database.connection import Endpoint, connect
from flows.database.retention import set_retention, ttl_would_drop
from flows.database.schema import tables
from flows.database.wal import settle
from flows.errors import UserError
from operators.columns import DAY_US
from tests.flows.database.written import T0, trades, written


def test_retention_is_set_on_every_table_and_replay_learns_what_it_would_drop(database: Endpoint) -> None:
    written(database, trades(3))
    assert ttl_would_drop(database, T0 - 400 * DAY_US) is None
    set_retention(database, trades="7d", bars="2w", signals="365d")
    set_retention(database, trades="7d", bars="2w", signals="365d")
    settle(database)
    with connect(database) as connection:
        found = dict(connection.execute("SELECT table_name, ttlValue || ttlUnit FROM tables()").fetchall())
    try:
        assert (found["trades"], found["bars"]) == ("1WEEK", "2WEEK")  # in the server's own unit
        assert {found[name] for name in tables() if name not in ("trades", "bars")} == {"365DAY"}
        assert ttl_would_drop(database, T0 - 7 * DAY_US) is None  # only whole days are dropped
        assert ttl_would_drop(database, T0 - 8 * DAY_US) == (
            "table trades: keeps 7 days before its newest row (2024-08-09): rows of 2024-08-01 would be "
            "deleted at once: "
            "use a database of its own (--dir DIR), or a longer retention"
        )
        assert ttl_would_drop(database, T0, T0 + 30 * DAY_US) is not None
    finally:
        with connect(database) as connection:
            for name in tables():
                connection.execute(f"DROP TABLE {name}")


def test_retention_is_whole_days() -> None:
    with pytest.raises(UserError, match=r"^retention: expected whole days such as 7d, got '36h'$"):
        set_retention(Endpoint("127.0.0.1", 1, 1), trades="36h", bars="1d", signals="1d")
