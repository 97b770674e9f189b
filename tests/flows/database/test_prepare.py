"""Missing tables are created, earlier ones get new columns, and ones that would lose rows are refused."""

from dataclasses import replace

import numpy as np
import pytest

from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.prepare import prepare
from flows.database.schema import tables
from flows.database.wal import settle
from flows.errors import UserError
from tests.flows.database.written import T0, written


def test_prepare_creates_every_table_and_accepts_its_own(database: Endpoint) -> None:
    prepare(database)
    with connect(database) as connection:
        assert all(connection.execute(f"SELECT count() FROM {name}").fetchone() == (0,) for name in tables())


@pytest.mark.parametrize(
    ("table", "statements", "message"),
    [
        (
            "audits",
            ["ALTER TABLE audits DEDUP DISABLE"],
            "table audits: deduplication: found none, expected DEDUP UPSERT KEYS(ts, symbol, timeframe, "
            "field): ",
        ),
        (
            "audits",
            ["ALTER TABLE audits DEDUP ENABLE UPSERT KEYS(ts, symbol)"],
            "table audits: deduplication: found keys symbol, ts, expected DEDUP UPSERT KEYS(ts, symbol, "
            "timeframe, field): ",
        ),
        (
            "audits",
            ["ALTER TABLE audits DROP COLUMN ours"],
            "table audits: column ours: found none, expected DOUBLE: ",
        ),
        (
            "audits",
            ["ALTER TABLE audits ADD COLUMN note STRING"],
            "table audits: column note: found STRING, expected none: ",
        ),
        (
            "audits",
            ["ALTER TABLE audits DROP COLUMN ours", "ALTER TABLE audits ADD COLUMN ours DOUBLE"],
            "table audits: column 5: found theirs, expected ours: ",
        ),
        (
            "audits",
            ["ALTER TABLE audits ALTER COLUMN ours TYPE FLOAT"],
            "table audits: column ours: found FLOAT, expected DOUBLE: ",
        ),
        (
            "audits",
            [
                "DROP TABLE audits",
                "CREATE TABLE audits (ts TIMESTAMP, symbol SYMBOL, timeframe SYMBOL, field SYMBOL, ours "
                "DOUBLE, theirs DOUBLE) "
                "TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL",
            ],
            "table audits: write-ahead log: found none, expected WAL: ",
        ),
    ],
)
def test_a_table_that_would_lose_rows_is_refused(
    database: Endpoint, table: str, statements: list[str], message: str
) -> None:
    with connect(database) as connection:
        try:
            for statement in statements:
                connection.execute(statement)
            settle(database)
            with pytest.raises(UserError) as refused:
                prepare(database)
        finally:
            connection.execute(f"DROP TABLE {table}")
    assert (
        str(refused.value)
        == f"{message}rename or drop it and start again (RENAME TABLE {table} TO {table}_old)"
    )


def test_a_table_of_an_earlier_version_gets_the_columns_that_were_appended_since(database: Endpoint) -> None:
    late = ("skew_ms", "wal_pending", "suspended", "audited", "mismatched", "mismatch_rate", "refused")
    symbol = Symbols(np.zeros(1, np.int32), ("BTCUSDT",))
    with connect(database) as connection:
        for column in late:
            connection.execute(f"ALTER TABLE health DROP COLUMN {column}")
    before = Rows("health", {"ts": np.array([T0]), "symbol": symbol, "trades": np.array([3])})
    written(database, before)
    prepare(database)
    prepare(database)
    after = Rows(
        "health",
        {"ts": np.array([T0 + 1]), "symbol": symbol, "skew_ms": np.array([1.5]), "audited": np.array([7])},
    )
    written(database, after)
    with connect(database) as connection:
        found = connection.execute(f"SELECT trades, {', '.join(late)} FROM health ORDER BY ts").fetchall()
    assert found == [(3, *[None] * 7), (None, 1.5, None, None, 7, None, None, None)]


def test_the_newest_column_of_every_table_comes_to_a_database_of_before(database: Endpoint) -> None:
    newest = {name: list(table.columns)[-1] for name, table in tables().items()}
    with connect(database) as connection:
        for name, column in newest.items():
            connection.execute(f"ALTER TABLE {name} DROP COLUMN {column}".encode())
    prepare(database)
    with connect(database) as connection:
        for name, table in tables().items():
            found = connection.execute(
                f"SELECT \"column\", type FROM table_columns('{name}')".encode()
            ).fetchall()
            assert found == list(table.columns.items())


def test_alerts_of_an_earlier_version_have_no_edge_and_those_to_come_do(database: Endpoint) -> None:
    words = {
        name: Symbols(np.zeros(1, np.int32), ("x",))
        for name in ("rule", "subject", "timeframe", "priority", "metric")
    }
    of = {
        "value": np.array([2.5]),
        "active": np.ones(1, np.bool_),
        "coint_pvalue": np.array([0.002]),
        "complete": np.ones(1, np.bool_),
    }
    with connect(database) as connection:
        for column in ("edge_bps", "side", "method", "stale"):
            connection.execute(f"ALTER TABLE alerts DROP COLUMN {column}".encode())
    written(database, Rows("alerts", {"ts": np.array([T0]), **words, **of}))
    prepare(database)
    later = {
        "edge_bps": np.array([12.5]),
        "side": Symbols(np.zeros(1, np.int32), ("above",)),
        "method": Symbols(np.full(1, -1, np.int32), ()),
    }
    written(database, Rows("alerts", {"ts": np.array([T0 + 1]), **words, **of, **later}))
    with connect(database) as connection:
        found = connection.execute(
            "SELECT value, coint_pvalue, complete, edge_bps, side, method, stale FROM alerts ORDER BY ts"
        ).fetchall()
    assert found == [
        (2.5, 0.002, True, None, None, None, False),
        (2.5, 0.002, True, 12.5, "above", None, False),
    ]


def test_a_key_that_is_missing_at_a_tables_end_is_refused(
    database: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    audits = tables()["audits"]
    keyed = replace(audits, columns=audits.columns | {"venue": "SYMBOL"}, keys=(*audits.keys, "venue"))
    monkeypatch.setattr("flows.database.prepare.tables", lambda: {"audits": keyed})
    with pytest.raises(
        UserError,
        match=r"^table audits: deduplication: found keys field, symbol, timeframe, ts, expected DEDUP",
    ):
        prepare(database)
