"""The writer's promises, against a real server."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flows.database.connection import Endpoint, connect
from flows.database.retention import newest
from flows.database.wal import settle, suspended
from flows.database.writer import FIRST_PAUSE_S, MAX_PAUSE_S
from flows.errors import UserError
from flows.runtime.stop import Stop
from tests.flows.database.written import T0, expected, gap, read, trades, writing


def test_more_rows_than_a_request_holds_are_sent_while_they_come(
    database: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_an_answer_that_is_dropped_after_the_commit_leaves_one_row_per_key(
    database: Endpoint, proxy: Callable[[int], Any]
) -> None:
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


def test_a_request_without_an_answer_is_sent_again_at_its_deadline(
    database: Endpoint, proxy: Callable[[int], Any]
) -> None:
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


def test_a_500_is_tried_again_with_growing_pauses_until_it_passes(
    database: Endpoint, proxy: Callable[[int], Any]
) -> None:
    pauses: list[float] = []
    between = proxy(database.http_port)
    between.fault = (
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"
    )

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            between.fault = None

    told: list[str] = []
    with writing(
        replace(database, http_port=between.port, pg_port=1), sleep=pause, log=told.append
    ) as writer:
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
    assert str(refused.value).startswith(
        "table trades: refused by the database: failed to parse line protocol"
    )
    assert "column: qty does not exist" in str(refused.value)
    row = "row ts=2024-08-09T00:00:00.007007Z symbol=ETHUSDT id=7 price=61000.5 qty=0.875 side=sell"
    assert str(refused.value).endswith(f": {row}: correct the table, then start again")


def test_a_missing_table_is_never_created_by_a_row(database: Endpoint) -> None:
    with connect(database) as connection, writing(database) as writer:
        connection.execute("DROP TABLE gaps")
        writer.write([gap(T0, "open")])
        with pytest.raises(
            UserError, match=r"^table gaps: refused by the database: .*creating new tables is disabled"
        ):
            writer.flush()
        assert "gaps" not in {name for (name,) in connection.execute("SELECT table_name FROM tables()")}


def test_a_stopped_writer_gives_up_at_its_next_failure() -> None:
    stop = threading.Event()
    stop.set()
    with writing(Endpoint("127.0.0.1", 1, 1), stop=stop) as writer:
        writer.write([trades(3)])
        with pytest.raises(
            UserError,
            match=r"^questdb 127\.0\.0\.1:1: away for 0 s \(.*refused\): stopped with 3 rows not written",
        ):
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
        with pytest.raises(
            UserError,
            match=r"\(no answer in time\): stopped with 3 rows not written: start again when it answers$",
        ):
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
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts no connection: they wait in its backlog
        stop = threading.Event()
        with writing(
            Endpoint("127.0.0.1", deaf.getsockname()[1], 1),
            request_s=0.2,
            stop=stop,
            sleep=lambda _: stop.set(),
        ) as writer:
            writer.write([trades(49_999)])  # more than the buffers of the sockets hold
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
            with pytest.raises(
                UserError, match=r"^table trades: suspended .* then ALTER TABLE trades RESUME WAL$"
            ):
                settle(database)
        finally:
            connection.execute("ALTER TABLE trades RESUME WAL")
    settle(database)
    assert read(database, "trades") == expected(trades(3))
