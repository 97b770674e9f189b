"""The database's tables and the writer's promises, against a real server."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.database import encode
from flows.database.columns import Column, Rows, Symbols
from flows.database.connection import Endpoint, connect
from flows.database.prepare import prepare
from flows.database.retention import newest, set_retention, ttl_would_drop
from flows.database.schema import tables
from flows.database.wal import settle, suspended
from flows.database.writer import FIRST_PAUSE_S, MAX_PAUSE_S, Writer
from flows.errors import UserError
from flows.runtime.stop import Stop
from operators.columns import DAY_US, NEVER
from tests.line import LAST_S

T0 = 1_723_161_600_000_007  # 2024-08-09, not a whole millisecond


def trades(count: int, first_id: int = 1, price: float = 61_000.5) -> Rows:
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    return Rows(
        "trades",
        {
            "ts": T0 + ids * 1000,
            "symbol": Symbols((ids % 2).astype(np.int32), ("BTCUSDT", "ETHUSDT")),
            "id": ids,
            "price": np.full(count, price),
            "qty": ids / 8,
            "side": Symbols((ids % 3 % 2).astype(np.int32), ("buy", "sell")),
        },
    )


def gap(ts: int, status: str, filled_at: int = NEVER) -> Rows:
    def one(name: str) -> Symbols:
        return Symbols(np.zeros(1, np.int32), (name,))

    long = {name: np.array([number], np.int64) for name, number in (("ts", ts), ("first_id", 2**53 + 1), ("last_id", NEVER), ("trades", 3))}
    return Rows(
        "gaps",
        {**long, "symbol": one("BTCUSDT"), "cause": one("drop"), "status": one(status), "filled_at": np.array([filled_at], np.int64)},
    )


def read(endpoint: Endpoint, table: str) -> list[tuple[Any, ...]]:
    """All rows with times as µs, in the order of the key."""
    columns = ", ".join(f"{name}::LONG" if type_ == "TIMESTAMP" else name for name, type_ in tables()[table].columns.items())
    with connect(endpoint) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY {', '.join(tables()[table].keys)}").fetchall()


def expected(rows: Rows) -> list[tuple[Any, ...]]:
    """What `read` should answer, one row per key, the last one written."""
    table = tables()[rows.table]

    def plain(name: str, type_: str) -> list[Any]:
        column = rows.columns[name]
        if isinstance(column, Symbols):
            return [(*column.names, None)[code] for code in column.codes]
        if type_ == "DOUBLE":
            return [float(number) if np.isfinite(number) else None for number in column]
        if type_ == "BOOLEAN":
            return [bool(flag) for flag in column]
        return [None if number == NEVER else int(number) for number in column]

    lines = zip(*(plain(name, type_) for name, type_ in table.columns.items()), strict=True)
    where = [list(table.columns).index(key) for key in table.keys]
    by_key = {tuple(line[index] for index in where): line for line in lines}
    return [by_key[key] for key in sorted(by_key, key=lambda key: tuple((part is not None, part) for part in key))]


@contextmanager
def writing(endpoint: Endpoint, **options: Any) -> Iterator[Writer]:
    writer = Writer(endpoint, **({"log": lambda _: None} | options))
    try:
        yield writer
    finally:
        writer.close()


def written(endpoint: Endpoint, *many: Rows) -> None:
    with writing(endpoint) as writer:
        writer.write(many)
        writer.flush()
    settle(endpoint)


def eventually(condition: Callable[[], object], deadline_s: float = LAST_S) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "not within the deadline"
        time.sleep(0.01)


# the tables


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
            "table audits: deduplication: found none, expected DEDUP UPSERT KEYS(ts, symbol, timeframe, field): ",
        ),
        (
            "audits",
            ["ALTER TABLE audits DEDUP ENABLE UPSERT KEYS(ts, symbol)"],
            "table audits: deduplication: found keys symbol, ts, expected DEDUP UPSERT KEYS(ts, symbol, timeframe, field): ",
        ),
        ("audits", ["ALTER TABLE audits DROP COLUMN ours"], "table audits: column ours: found none, expected DOUBLE: "),
        ("audits", ["ALTER TABLE audits ADD COLUMN note STRING"], "table audits: column note: found STRING, expected none: "),
        (
            "audits",
            ["ALTER TABLE audits DROP COLUMN ours", "ALTER TABLE audits ADD COLUMN ours DOUBLE"],
            "table audits: column 5: found theirs, expected ours: ",
        ),
        ("audits", ["ALTER TABLE audits ALTER COLUMN ours TYPE FLOAT"], "table audits: column ours: found FLOAT, expected DOUBLE: "),
        (
            "audits",
            [
                "DROP TABLE audits",
                "CREATE TABLE audits (ts TIMESTAMP, symbol SYMBOL, timeframe SYMBOL, field SYMBOL, ours DOUBLE, theirs DOUBLE) "
                "TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL",
            ],
            "table audits: write-ahead log: found none, expected WAL: ",
        ),
    ],
)
def test_a_table_that_would_lose_rows_is_refused(database: Endpoint, table: str, statements: list[str], message: str) -> None:
    with connect(database) as connection:
        try:
            for statement in statements:
                connection.execute(statement)
            settle(database)
            with pytest.raises(UserError) as refused:
                prepare(database)
        finally:
            connection.execute(f"DROP TABLE {table}")
    assert str(refused.value) == f"{message}rename or drop it and start again (RENAME TABLE {table} TO {table}_old)"


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
    after = Rows("health", {"ts": np.array([T0 + 1]), "symbol": symbol, "skew_ms": np.array([1.5]), "audited": np.array([7])})
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
            found = connection.execute(f"SELECT \"column\", type FROM table_columns('{name}')".encode()).fetchall()
            assert found == list(table.columns.items())


def test_alerts_of_an_earlier_version_have_no_edge_and_those_to_come_do(database: Endpoint) -> None:
    words = {name: Symbols(np.zeros(1, np.int32), ("x",)) for name in ("rule", "subject", "timeframe", "priority", "metric")}
    of = {"value": np.array([2.5]), "active": np.ones(1, np.bool_), "coint_pvalue": np.array([0.002]), "complete": np.ones(1, np.bool_)}
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
        found = connection.execute("SELECT value, coint_pvalue, complete, edge_bps, side, method, stale FROM alerts ORDER BY ts").fetchall()
    assert found == [(2.5, 0.002, True, None, None, None, False), (2.5, 0.002, True, 12.5, "above", None, False)]


def test_a_key_that_is_missing_at_a_tables_end_is_refused(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    audits = tables()["audits"]
    keyed = replace(audits, columns=audits.columns | {"venue": "SYMBOL"}, keys=(*audits.keys, "venue"))
    monkeypatch.setattr("flows.database.prepare.tables", lambda: {"audits": keyed})
    with pytest.raises(UserError, match=r"^table audits: deduplication: found keys field, symbol, timeframe, ts, expected DEDUP"):
        prepare(database)


def test_retention_is_set_on_every_table_and_replay_learns_what_it_would_drop(database: Endpoint) -> None:
    written(database, trades(3))
    assert ttl_would_drop(database, T0 - 400 * DAY_US) is None
    set_retention(database, trades="7d", bars="2w", signals="365d")
    set_retention(database, trades="7d", bars="2w", signals="365d")
    settle(database)
    with connect(database) as connection:
        found = dict(connection.execute("SELECT table_name, ttlValue || ttlUnit FROM tables()").fetchall())
    try:
        assert (found["trades"], found["bars"]) == ("1WEEK", "2WEEK")  # as the server puts it
        assert {found[name] for name in tables() if name not in ("trades", "bars")} == {"365DAY"}
        assert ttl_would_drop(database, T0 - 7 * DAY_US) is None  # a day is dropped whole
        assert ttl_would_drop(database, T0 - 8 * DAY_US) == (
            "table trades: keeps 7 days before its newest row (2024-08-09): rows of 2024-08-01 would be deleted at once: "
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


def test_a_refused_password_is_named(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDB_PG_PASSWORD", "wrong")
    with pytest.raises(UserError, match=r"user or password refused: set QDB_PG_USER and QDB_PG_PASSWORD"):
        connect(database)


# what is written is what is read


def test_rows_are_read_as_they_were_written(database: Endpoint) -> None:
    written(database, trades(5), gap(T0, "open"), gap(T0, "filled", filled_at=T0 + 1))
    assert read(database, "trades") == expected(trades(5))
    assert read(database, "gaps") == [(T0, "BTCUSDT", 2**53 + 1, None, 3, "drop", "filled", T0 + 1)]


def test_a_frame_and_single_rows_write_the_same(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    count = encode.FRAME_ROWS + 1
    written(database, trades(count))
    by_frame = read(database, "trades")
    monkeypatch.setattr(encode, "FRAME_ROWS", 2 * count)
    with connect(database) as connection:
        connection.execute("TRUNCATE TABLE trades")
    written(database, trades(count))
    assert read(database, "trades") == by_frame == expected(trades(count))


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=6)
longs = st.one_of(st.just(NEVER), st.integers(-(2**63) + 1, 2**63 - 1))
times = st.one_of(st.just(NEVER), st.integers(0, 4_000_000_000_000_000))


@st.composite
def any_rows(draw: st.DrawFn) -> Rows:
    table = tables()[draw(st.sampled_from(sorted(tables())))]
    count = draw(st.integers(1, 12))
    columns: dict[str, Column] = {}
    for name, type_ in table.columns.items():

        def many(each: st.SearchStrategy[Any], dtype: type) -> Any:
            return np.array(draw(st.lists(each, min_size=count, max_size=count)), dtype)

        if name == "ts":
            columns[name] = many(st.integers(0, 3), np.int64) * 40_000_000_000 + T0
        elif type_ == "SYMBOL":
            known = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
            columns[name] = Symbols(many(st.integers(-1, len(known) - 1), np.int32), known)
        elif type_ == "DOUBLE":
            columns[name] = many(st.floats(), np.float64)
        elif type_ == "BOOLEAN":
            columns[name] = many(st.booleans(), np.bool_)
        else:
            columns[name] = many(times if type_ == "TIMESTAMP" else longs, np.int64)
    return Rows(table.name, columns)


def bits(lines: list[tuple[Any, ...]]) -> list[str]:
    return sorted(repr(line) for line in lines)  # tells 0.0 from -0.0 and needs no order among NULLs


@pytest.mark.parametrize("frame_rows", [1, 1_000])
def test_any_rows_are_read_as_they_were_written(database: Endpoint, monkeypatch: pytest.MonkeyPatch, frame_rows: int) -> None:
    monkeypatch.setattr(encode, "FRAME_ROWS", frame_rows)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(any_rows())
    def round_trip(rows: Rows) -> None:
        with connect(database) as connection:
            connection.execute(f"TRUNCATE TABLE {rows.table}")
        written(database, rows)
        assert bits(read(database, rows.table)) == bits(expected(rows))

    round_trip()


def test_small_batches_are_joined_in_their_order() -> None:
    parts = [trades(1, first_id=index) for index in range(5)] + [gap(T0, "open"), trades(2, first_id=9), gap(T0, "filled")]
    joined = encode.gathered(parts)
    assert [(rows.table, len(rows)) for rows in joined] == [("trades", 7), ("gaps", 1), ("gaps", 1)]
    assert joined[0].columns["id"].tolist() == [0, 1, 2, 3, 4, 9, 10]  # type: ignore[union-attr]


def test_more_rows_than_a_request_holds_are_sent_while_they_come(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.database.writer.REQUEST_ROWS", 100)
    with writing(database) as writer:
        writer.write([trades(250), gap(T0, "open")])
        assert writer.waiting == 0
        writer.write([trades(50, first_id=1000)])
        assert (writer.waiting, writer.acknowledged) == (50, 251)
        writer.flush()
        assert (writer.waiting, writer.acknowledged) == (0, 301)
    settle(database)
    with connect(database) as connection:
        assert connection.execute("SELECT count() FROM trades").fetchone() == (300,)
        assert newest(connection, "trades") == T0 + 1049 * 1000
        assert newest(connection, "bars") is None


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("price", np.ones(2, np.float32), "trades.price: float32 is not float64"),
        ("id", np.ones(3, np.int64), "trades.id: its length is not that of ts"),
        ("ts", np.array([NEVER, 1], np.int64), "trades.ts: -9223372036854775808 is before 1970"),
    ],
)
def test_columns_of_the_wrong_kind_never_reach_the_database(column: str, wrong: Any, message: str) -> None:
    with writing(Endpoint("127.0.0.1", 1, 1)) as writer, pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        writer.write([Rows("trades", {**trades(2).columns, column: wrong})])


# faults


def test_an_answer_that_is_dropped_after_the_commit_leaves_one_row_per_key(database: Endpoint, proxy: Callable[[int], Any]) -> None:
    told: list[str] = []
    between = proxy(database.http_port)
    with writing(replace(database, http_port=between.port, pg_port=1), log=told.append) as writer:
        writer.write([trades(10)])
        writer.flush()
        between.fault = "drop"

        def mend(_: float) -> None:
            if between.faults >= 3:
                between.fault = None

        writer._sleep = mend
        writer.write([trades(20, first_id=5)])
        writer.flush()
        assert between.faults >= 3
    settle(database)
    assert read(database, "trades") == expected(trades(24))
    assert [line.split(": ")[1].split(" ")[0] for line in told] == ["away", "back"]


def test_a_request_without_an_answer_is_sent_again_at_its_deadline(database: Endpoint, proxy: Callable[[int], Any]) -> None:
    between = proxy(database.http_port)
    between.fault = "hang"

    def mend(_: float) -> None:
        between.fault = None

    with writing(replace(database, http_port=between.port, pg_port=1), request_s=0.2, sleep=mend) as writer:
        writer.write([trades(10)])
        writer.flush()
    assert between.faults
    settle(database)
    assert read(database, "trades") == expected(trades(10))


def test_a_500_is_tried_again_with_growing_pauses_until_it_passes(database: Endpoint, proxy: Callable[[int], Any]) -> None:
    pauses: list[float] = []
    between = proxy(database.http_port)
    between.fault = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            between.fault = None

    told: list[str] = []
    with writing(replace(database, http_port=between.port, pg_port=1), sleep=pause, log=told.append) as writer:
        writer.write([trades(10)])
        writer.flush()
    settle(database)
    assert read(database, "trades") == expected(trades(10))
    limits = [min(FIRST_PAUSE_S * 2**tries, MAX_PAUSE_S) for tries in range(12)]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
    assert told[0].endswith(": away (HTTP 500 full): 10 rows wait, trying again")
    assert len(told) == 2


def test_a_400_stops_with_the_servers_words_and_the_row(database: Endpoint) -> None:
    with connect(database) as connection, writing(database) as writer:
        connection.execute("ALTER TABLE trades DROP COLUMN qty")
        settle(database)
        writer.write([gap(T0, "open"), trades(3, first_id=7)])
        with pytest.raises(UserError) as refused:
            writer.flush()
        connection.execute("DROP TABLE trades")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("table trades: refused by the database: failed to parse line protocol")
    assert "column: qty does not exist" in str(refused.value)
    row = "row ts=2024-08-09T00:00:00.007007Z symbol=ETHUSDT id=7 price=61000.5 qty=0.875 side=sell"
    assert str(refused.value).endswith(f": {row}: correct the table, then start again")


def test_a_missing_table_is_never_created_by_a_row(database: Endpoint) -> None:
    with connect(database) as connection, writing(database) as writer:
        connection.execute("DROP TABLE gaps")
        writer.write([gap(T0, "open")])
        with pytest.raises(UserError, match=r"^table gaps: refused by the database: .*creating new tables is disabled"):
            writer.flush()
        assert "gaps" not in {name for (name,) in connection.execute("SELECT table_name FROM tables()")}


def test_a_stopped_writer_gives_up_at_its_next_failure() -> None:
    stop = threading.Event()
    stop.set()
    with writing(Endpoint("127.0.0.1", 1, 1), stop=stop) as writer:
        writer.write([trades(3)])
        with pytest.raises(UserError, match=r"^questdb 127\.0\.0\.1:1: away for 0 s \(.*refused\): stopped with 3 rows not written"):
            writer.flush()
        assert writer.waiting == 3


@pytest.mark.parametrize("stop", [threading.Event(), Stop()])
def test_a_writer_that_is_stopped_does_not_wait_for_an_answer(
    database: Endpoint, proxy: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    monkeypatch.setattr("flows.database.writer.STOPPING_S", 0.2)
    between = proxy(database.http_port)
    between.fault = "hang"
    with writing(replace(database, http_port=between.port, pg_port=1), stop=stop, request_s=3_600) as writer:
        writer.write([trades(3)])
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(UserError, match=r"\(no answer in time\): stopped with 3 rows not written: start again when it answers$"):
            writer.flush()


def test_a_stopped_writer_still_writes_to_a_database_that_answers(database: Endpoint) -> None:
    stop = Stop()
    stop.set()
    with writing(database, stop=stop) as writer:
        writer.write([trades(120_000)])
        writer.flush()
    settle(database)
    with connect(database) as connection:
        assert connection.execute("SELECT count() FROM trades").fetchone() == (120_000,)


def test_a_server_that_reads_nothing_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connections wait in its backlog
        stop = threading.Event()
        with writing(Endpoint("127.0.0.1", deaf.getsockname()[1], 1), request_s=0.2, stop=stop, sleep=lambda _: stop.set()) as writer:
            writer.write([trades(49_999)])  # more than the sockets take without a reader
            with pytest.raises(UserError, match="no answer in time"):
                writer.flush()


def test_a_suspended_table_is_named_and_loses_nothing(database: Endpoint) -> None:
    with connect(database) as connection:
        connection.execute("ALTER TABLE trades SUSPEND WAL WITH 24, 'disk full'")
        try:
            with writing(database) as writer:
                writer.write([trades(3)])
                writer.flush()
            assert [name for name, _ in suspended(connection)] == ["trades"]
            with pytest.raises(UserError, match=r"^table trades: suspended .* then ALTER TABLE trades RESUME WAL$"):
                settle(database)
        finally:
            connection.execute("ALTER TABLE trades RESUME WAL")
    settle(database)
    assert read(database, "trades") == expected(trades(3))
