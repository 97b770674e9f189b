"""Row 34: a WAL table is suspended (it keeps accepting writes that nobody sees).

docs/faults.md says what Pairflow promises in this case.
"""

import time
from typing import Any

from flows.database.connection import Endpoint, connect
from flows.database.wal import suspended
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import Stops, Tables, count, live, rule_sql, same, tables

TABLES = ("bars", "signals")


def alarmed(endpoint: Endpoint) -> set[str]:
    """The tables for which Grafana's rule fires, which Grafana evaluates every 10 s."""
    with connect(endpoint) as connection:
        return {
            name
            for name, is_suspended in connection.execute(rule_sql("pairflow-suspended")).fetchall()
            if is_suspended
        }


def suspend(connection: Any, name: str) -> None:
    """Suspend a table, again and again until it stays suspended.

    A transaction that is being applied at that moment resumes the table when it is done.
    """
    held = 0
    while held < 5:
        if name in [each for each, _ in suspended(connection)]:
            held += 1
            time.sleep(0.1)
        else:
            held = 0
            connection.execute(f"ALTER TABLE {name} SUSPEND WAL WITH 24, 'disk full'")


def test_it_is_seen_alerts_and_has_every_row_after_resume(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 30)
    with live(settings, database) as line, connect(database) as connection:
        line.until(lambda: market.reached() and count(database, "signals"))
        assert alarmed(database) == set()
        try:
            while alarmed(database) != set(
                TABLES
            ):  # a transaction that is being applied may resume the table
                for name in TABLES:
                    connection.execute(f"ALTER TABLE {name} SUSPEND WAL WITH 24, 'disk full'")
                line.until(lambda: True)
            assert {name for name, _ in suspended(connection)} == set(TABLES)
            visible, accepted = count(database, "bars"), line.tally.rows["bars"]
            market.go_on()
            line.until(lambda: line.tally.rows["bars"] > accepted + 50)
            assert count(database, "bars") == visible, "accepted, but nobody sees them"
            line.has(len(r["trades"]))
        finally:
            for name in TABLES:
                connection.execute(f"ALTER TABLE {name} RESUME WAL")
        assert alarmed(database) == set()
    same(tables(database), r)
