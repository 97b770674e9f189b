"""Row 36: table missing, or without DEDUP, or another column type.

docs/faults.md says what Pairflow promises in this case.
"""

from pathlib import Path

import numpy as np
import pytest

from flows.command.cli import main
from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.errors import UserError
from tests.faults.stage import START_US, Home, Tables, same, tables


def start(home: Home, recording: Path) -> int:
    return main(["--config", str(home.path / "pipeline.yaml"), "replay", str(recording)])


def test_a_missing_table_is_created_at_the_start(
    home: Home, database: Endpoint, recording: Path, r: Tables
) -> None:
    with connect(database) as connection:
        for name in ("bars", "alerts"):
            connection.execute(f"DROP TABLE {name}")
    assert start(home, recording) == 0
    same(tables(database), r)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "ALTER TABLE bars DEDUP DISABLE",
            "table bars: deduplication: found none, expected DEDUP UPSERT KEYS(ts, symbol, timeframe): ",
        ),
        (
            "ALTER TABLE bars ALTER COLUMN close TYPE FLOAT",
            "table bars: column close: found FLOAT, expected DOUBLE: ",
        ),
    ],
)
def test_another_table_is_refused(
    home: Home,
    database: Endpoint,
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    statement: str,
    message: str,
) -> None:
    with connect(database) as connection:
        connection.execute(statement)
        settle(database)
        try:
            assert start(home, recording) == 1
        finally:
            connection.execute("DROP TABLE bars")
    said = capsys.readouterr().err
    assert f"pairflow: {message}rename or drop it and start again" in said


def test_no_row_creates_a_table_or_a_column(database: Endpoint) -> None:
    rows = Rows(
        "health",
        {
            "ts": np.array([START_US]),
            "symbol": Symbols(np.zeros(1, np.int32), ("BTCUSDT",)),
            "trades": np.array([1]),
        },
    )
    with connect(database) as connection:
        for statement in ("ALTER TABLE health DROP COLUMN trades", "DROP TABLE health"):
            connection.execute(statement)
            if statement.startswith("ALTER"):
                settle(database)
            writer = Writer(database)
            writer.write([rows])
            with pytest.raises(UserError, match=r"^table health: refused by the database: "):
                writer.flush()
            writer.close()
        assert "health" not in {name for (name,) in connection.execute("SELECT table_name FROM tables()")}
