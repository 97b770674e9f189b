"""Exported files hold what the database holds."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.database import export as export_module
from flows.database.columns import Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.export import export
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.errors import UserError
from operators.columns import NEVER

T0 = 1_723_161_600_000_000  # 2024-08-09
NOWHERE = Endpoint("127.0.0.1", 1, 1)


def symbol(*texts: str | None) -> Symbols:
    names = tuple(dict.fromkeys(text for text in texts if text is not None))
    return Symbols(np.array([-1 if text is None else names.index(text) for text in texts], np.int32), names)


def long(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def written(endpoint: Endpoint, *many: Rows) -> None:
    writer = Writer(endpoint)
    writer.write(many)
    writer.flush()
    writer.close()
    settle(endpoint)


def bars() -> Rows:
    nan, count = math.nan, 4
    flat = {
        name: np.array([100.0, 0.1 + 0.2, 1e-7, nan])
        for name in ("open", "high", "low", "close", "quote_volume", "vwap")
    }
    return Rows(
        "bars",
        {
            "ts": long(T0, T0, T0, T0 + 1_500_001),
            "symbol": symbol("ETHUSDT", "BTCUSDT", "BTCUSDT", "BTCUSDT"),
            "timeframe": symbol("1s", "5s", "1s", "1s"),
            **flat,
            "volume": np.arange(count) / 8,
            "trades": long(1, 2**53 + 1, NEVER, 0),
            "buy_volume": np.zeros(count),
            "complete": np.array([True, False, True, False]),
        },
    )


def trades(ts: Any) -> Rows:
    count = len(ts)
    return Rows(
        "trades",
        {
            "ts": np.array(ts, np.int64),
            "symbol": Symbols(np.arange(count, dtype=np.int32) % 3, ("C", "A", "B")),
            "id": np.arange(count, dtype=np.int64)[::-1].copy(),
            "price": np.arange(count) + 0.5,
            "qty": np.ones(count),
            "side": Symbols(np.zeros(count, np.int32), ("buy",)),
        },
    )


def test_csv_by_hand(database: Endpoint, tmp_path: Path) -> None:
    written(database, bars())
    told: list[str] = []
    assert export(database, "bars", "csv", tmp_path / "bars.csv", progress=told.append) == 4
    assert (tmp_path / "bars.csv").read_text() == (
        "ts,symbol,timeframe,open,high,low,close,volume,quote_volume,vwap,trades,buy_volume,complete\n"
        "2024-08-09T00:00:00.000000Z,BTCUSDT,1s,1e-07,1e-07,1e-07,1e-07,0.25,1e-07,1e-07,,0.0,true\n"
        "2024-08-09T00:00:00.000000Z,BTCUSDT,5s," + 4 * "0.30000000000000004," + "0.125,"
        "0.30000000000000004,0.30000000000000004,9007199254740993,0.0,false\n"
        "2024-08-09T00:00:00.000000Z,ETHUSDT,1s,100.0,100.0,100.0,100.0,0.0,100.0,100.0,1,0.0,true\n"
        "2024-08-09T00:00:01.500001Z,BTCUSDT,1s,,,,,0.375,,,0,0.0,false\n"
    )
    assert told == ["bars: 4 rows"]
    assert [path.name for path in tmp_path.iterdir()] == ["bars.csv"]


def test_a_null_time_is_empty(database: Endpoint, tmp_path: Path) -> None:
    words = {name: symbol("x", "x") for name in ("symbol", "cause", "status")}
    numbers = {name: long(1, 2) for name in ("first_id", "last_id", "trades")}
    written(
        database, Rows("gaps", {"ts": long(T0, T0), **words, **numbers, "filled_at": long(NEVER, T0 + 1)})
    )
    export(database, "gaps", "csv", tmp_path / "gaps.csv")
    assert [
        line["filled_at"] for line in csv.DictReader(io.StringIO((tmp_path / "gaps.csv").read_text()))
    ] == [
        "",
        "2024-08-09T00:00:00.000001Z",
    ]


def test_parquet_holds_the_same_rows(database: Endpoint, tmp_path: Path) -> None:
    written(database, bars())
    assert export(database, "bars", "parquet", tmp_path / "bars.parquet") == 4
    table = pq.read_table(tmp_path / "bars.parquet")
    assert {
        field.name: str(field.type)
        for field in table.schema
        if field.name in ("ts", "symbol", "open", "trades", "complete")
    } == {
        "ts": "timestamp[us, tz=UTC]",
        "symbol": "dictionary<values=string, indices=int32, ordered=0>",
        "open": "double",
        "trades": "int64",
        "complete": "bool",
    }
    assert table["ts"].cast("int64").to_pylist() == [T0, T0, T0, T0 + 1_500_001]
    assert table["symbol"].to_pylist() == ["BTCUSDT", "BTCUSDT", "ETHUSDT", "BTCUSDT"]
    assert table["open"].to_pylist() == [1e-7, 0.1 + 0.2, 100.0, None]
    assert table["trades"].to_pylist() == [None, 2**53 + 1, 1, 0]
    assert table["complete"].to_pylist() == [True, False, True, False]


def test_filters_and_times_choose_rows(
    database: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(database, bars())

    def chosen(**filters: str) -> list[tuple[str, str]]:
        export(database, "bars", **filters)  # type: ignore[arg-type]
        return [
            (line["symbol"], line["timeframe"])
            for line in csv.DictReader(io.StringIO(capsys.readouterr().out))
        ]

    assert chosen(symbol="BTCUSDT", timeframe="1s") == [("BTCUSDT", "1s"), ("BTCUSDT", "1s")]
    assert chosen(start="2024-08-09T00:00:01.500001") == [("BTCUSDT", "1s")]
    assert chosen(start="2024-08-09", end="2024-08-09T00:00:01.500001Z", timeframe="5s") == [
        ("BTCUSDT", "5s")
    ]
    assert chosen(start="2024-08-09T02:00:00+02:00", end="2024-08-09T02:00:01+02:00", symbol="ETHUSDT") == [
        ("ETHUSDT", "1s")
    ]
    assert chosen(symbol="' OR 1 = 1 --") == []
    assert chosen(start="2030-01-01") == []


def test_alerts_are_chosen_by_their_subject(database: Endpoint, tmp_path: Path) -> None:
    words = {name: symbol("x", "x") for name in ("rule", "timeframe", "priority", "metric")}
    numbers = {
        "value": np.ones(2),
        "threshold": np.ones(2),
        "active": np.ones(2, np.bool_),
        "episode": long(1, 2),
    }
    written(database, Rows("alerts", {"ts": long(T0, T0), **words, "subject": symbol("A-B", "A"), **numbers}))
    assert export(database, "alerts", "csv", tmp_path / "pair.csv", pair="A-B") == 1
    assert export(database, "alerts", "csv", tmp_path / "symbol.csv", symbol="A") == 1


def test_slices_never_lose_or_repeat_a_row(
    database: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # more rows with the same time than a slice holds, and another day
    ties = np.repeat(np.array([0, 1, 2, 3, 90_000_000_000]), [1, 7, 2, 30, 4])
    written(database, trades(T0 + ties))
    export(database, "trades", "csv", tmp_path / "whole.csv")
    lines = (tmp_path / "whole.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert rows == sorted(rows, key=lambda row: (row["ts"], row["symbol"], int(row["id"])))
    assert sorted(int(row["id"]) for row in rows) == list(range(len(ties)))
    monkeypatch.setattr(export_module, "PROGRESS_S", 0)
    for size in (1, 2, 3, 5, 8, 43, 44, 45):
        monkeypatch.setattr(export_module, "SLICE_ROWS", size)
        export(database, "trades", "csv", tmp_path / "sliced.csv")
        assert (tmp_path / "sliced.csv").read_text() == lines, size
        export(database, "trades", "parquet", tmp_path / "sliced.parquet")
        assert pq.read_table(tmp_path / "sliced.parquet")["id"].to_pylist() == [
            int(row["id"]) for row in rows
        ], size


def test_a_table_without_rows_is_a_file_with_its_columns(database: Endpoint, tmp_path: Path) -> None:
    assert export(database, "trades", "csv", tmp_path / "t.csv") == 0
    assert (tmp_path / "t.csv").read_text() == "ts,symbol,id,price,qty,side\n"
    assert export(database, "trades", "parquet", tmp_path / "t.parquet") == 0
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0


def test_nothing_half_written_stays(
    database: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(database, bars())
    (tmp_path / "bars.csv").write_text("of yesterday")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module._Csv, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(database, "bars", "csv", tmp_path / "bars.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("bars.csv", "of yesterday")]


@pytest.mark.parametrize(
    ("table", "format", "options", "message"),
    [
        (
            "trade",
            "csv",
            {},
            "there is no table 'trade': choose one of trades, bars, signals, cointegration, activity, "
            "alerts, gaps, audits, health",
        ),
        ("trades", "xlsx", {}, "--format xlsx: choose one of csv, parquet"),
        ("trades", "csv", {"pair": "A-B"}, "--pair: table trades has no pair: leave it out"),
        ("signals", "csv", {"symbol": "A"}, "--symbol: table signals has no symbol: leave it out"),
        ("health", "csv", {"timeframe": "1s"}, "--timeframe: table health has no timeframe: leave it out"),
        (
            "trades",
            "csv",
            {"start": "noon"},
            "--start: expected a time such as 2024-08-09 or 2024-08-09T12:30:00Z, got 'noon'",
        ),
        (
            "trades",
            "csv",
            {"start": "2024-08-09", "end": "2024-08-09"},
            "--end 2024-08-09 is not after --start 2024-08-09",
        ),
        ("trades", "parquet", {}, "Parquet cannot be written to the terminal: name a file with -o FILE"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(
    table: str, format: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        export(NOWHERE, table, format, "-", **options)  # type: ignore[arg-type]
    assert str(refused.value) == f"export: {message}"


def test_a_file_that_cannot_be_written_is_named(database: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"^export: .*/missing/t\.csv cannot be written \(No such file or directory\): name another",
    ):
        export(database, "trades", "csv", tmp_path / "missing" / "t.csv")
    with pytest.raises(UserError, match=r"cannot be written \(it is a directory\)"):
        export(database, "trades", "csv", tmp_path)


def test_a_database_without_the_table_is_said_in_a_line(database: Endpoint, tmp_path: Path) -> None:
    with connect(database) as connection:
        connection.execute("DROP TABLE audits")
    with pytest.raises(
        UserError, match=r"^export: table audits: .*table does not exist.*: run `pairflow check`$"
    ):
        export(database, "audits", "csv", tmp_path / "audits.csv")
    assert not list(tmp_path.iterdir())


def test_a_suspended_table_is_refused(database: Endpoint, tmp_path: Path) -> None:
    with connect(database) as connection:
        connection.execute("ALTER TABLE bars SUSPEND WAL")
        try:
            with pytest.raises(
                UserError, match=r"^export: table bars: suspended .* RESUME WAL; nothing was exported$"
            ):
                export(database, "bars", "csv", tmp_path / "bars.csv")
        finally:
            connection.execute("ALTER TABLE bars RESUME WAL")
    assert not list(tmp_path.iterdir())


def test_rows_that_do_not_exist_are_told(database: Endpoint, tmp_path: Path) -> None:
    written(database, bars())
    told: list[str] = []
    assert (
        export(
            database,
            "bars",
            "csv",
            tmp_path / "bars.csv",
            symbol="NOSUCH",
            timeframe="1s",
            progress=told.append,
        )
        == 0
    )
    assert told == ["bars: 0 rows: it has none with 'NOSUCH' and '1s' in that time"]
