"""Recordings of every format give their trades in order, and the first look finds what they hold."""

import gzip
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.feed.frames import join
from flows.replay import arrow_files
from flows.replay.recordings import Recording, read, symbols_in
from flows.sandbox import messages
from tests.flows.replay.archives import (
    START_US,
    SYMBOLS,
    agg_rows,
    csv_rows,
    frame_lines,
    same,
    trades,
    whole,
)

LATER_US = 26 * 3_600_000_000


@pytest.mark.parametrize(
    "name", ["r.ndjson", "r.json", "r.jsonl", "r.txt", "r.log", "r.ndjson.gz", "r.whatever.gz", "r.zip"]
)
@pytest.mark.parametrize("combined", [True, False])
def test_recorded_frames_are_read_whatever_the_file_is_called(
    tmp_path: Path, name: str, combined: bool
) -> None:
    path, f = tmp_path / name, trades(30)
    text = b"\n".join(frame_lines(f, combined)) + b"\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("r.ndjson", text)
    else:
        path.write_bytes(text)
    assert same(whole(path), f)


@pytest.mark.parametrize(
    "stamp",
    ["1723161255343123456 ", "1723161255343123\t", "1723161255343 ", "1723161255.343 ", "1723161255.343, "],
)
def test_a_leading_receive_time_is_passed_over(tmp_path: Path, stamp: str) -> None:
    path, f = tmp_path / "r.txt", trades(5)
    path.write_bytes(b"\r\n".join(stamp.encode() + line for line in frame_lines(f)))
    assert same(whole(path), f)


def test_other_events_symbols_and_junk_are_counted_and_change_nothing(tmp_path: Path) -> None:
    path, f = tmp_path / "r.ndjson", trades(4)
    lines = frame_lines(f)
    lines.insert(0, b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","s":"BTCUSDT"}}')
    lines.insert(2, b"half a li")
    lines.insert(3, b"")
    lines.insert(4, lines[1].replace(b"BTC", b"XRP"))
    lines.insert(5, lines[1].replace(b"60000.00000000", b"0.00000000"))
    lines.append(lines[1][:50])
    path.write_bytes(b"\n".join(lines))
    found = whole(path)
    assert same(found, f)
    assert (found.foreign, found.unreadable, found.rejected.tolist()) == (2, 2, [1, 0])


def test_a_recording_of_both_streams_is_read_as_trades_unless_asked_otherwise(tmp_path: Path) -> None:
    path, f = tmp_path / "r.ndjson", trades(4)
    aggregates = messages.encode_agg_trades("BTCUSDT", f, f.id * 2, f.id * 2 + 1)
    path.write_bytes(
        b"\n".join(line for both in zip(aggregates, frame_lines(f), strict=True) for line in both)
    )
    assert symbols_in([path]).stream == "trade"
    assert whole(path).count.tolist() == [1] * 4
    assert whole(path, stream="aggTrade").count.tolist() == [2] * 4


def test_the_first_look_tells_symbols_stream_and_beginning(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson.gz"
    f = join([trades(20_000, 1, start_us=START_US + 7_000), trades(2, 0, start_us=START_US + 10**9)], 2)
    path.write_bytes(
        gzip.compress(
            b"\n".join(
                messages.encode_trades("ETHUSDT", f.rows(f.symbol == 1)) + frame_lines(f.rows(f.symbol == 0))
            )
        )
    )
    seen: list[tuple[int, int]] = []
    look = symbols_in([path], lambda read, total: seen.append((read, total)))
    assert (look.symbols, look.stream, look.first_us) == (SYMBOLS, "trade", START_US + 7_000)
    assert same(whole(path, symbols=None), f)
    assert seen == sorted(seen) and seen[-1] == (path.stat().st_size,) * 2


def test_lines_out_of_order_at_the_beginning_do_not_hide_the_first_trade(tmp_path: Path) -> None:
    path, f = tmp_path / "r.ndjson", trades(50)
    path.write_bytes(b"\n".join(reversed(frame_lines(f))))
    assert symbols_in([path]).first_us == START_US
    assert same(whole(path), f)


@pytest.mark.parametrize("us", [False, True])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_a_trades_archive_is_read(tmp_path: Path, us: bool, header: bool, suffix: str) -> None:
    path, f = tmp_path / f"ETHUSDT-trades-2024-08-09{suffix}", trades(30, 1)
    rows = csv_rows(f, us)
    if header:
        rows.insert(0, "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match")
    text = ("\n".join(rows) + "\n").encode()
    if suffix == ".csv":
        path.write_bytes(text)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(text))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ETHUSDT-trades-2024-08-09.csv", text)
    assert symbols_in([path]).symbols == ("ETHUSDT",)
    assert same(whole(path), f)


def test_an_archive_without_the_best_match_column_is_read(tmp_path: Path) -> None:
    path, f = tmp_path / "BTCUSDT-trades-2024-08.csv", trades(3)
    path.write_text("\n".join(csv_rows(f, last=())))
    assert same(whole(path), f)


@pytest.mark.parametrize("header", [False, True])
def test_an_aggregate_trades_archive_is_read(tmp_path: Path, header: bool) -> None:
    path, f = tmp_path / "BTCUSDT-aggTrades-2024-08-09.csv", trades(5)
    head = (
        [
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match"
        ]
        if header
        else []
    )
    path.write_text("\n".join(head + agg_rows(f)))
    assert symbols_in([path]).stream == "aggTrade"
    assert same(whole(path), replace(f, count=np.full(5, 3)))


def test_a_row_that_cannot_be_a_trade_is_rejected_and_counted(tmp_path: Path) -> None:
    path, f = tmp_path / "BTCUSDT-trades-2024-08-09.csv", trades(6)
    rows = csv_rows(f)
    rows[1] = rows[1].replace("60000.01000000", "0.00000000", 1)
    rows[2] = rows[2].replace("60000.02000000", "NaN", 1)
    rows[3] = rows[3].replace(",0.00400000,", ",-0.00400000,", 1)
    path.write_text("\n".join(rows))
    found = whole(path)
    assert same(found, f.rows([0, 4, 5])) and found.rejected.tolist() == [3, 0]


def test_a_csv_of_the_trades_table_is_read(tmp_path: Path) -> None:
    path, f = tmp_path / "export.csv", trades(4, step_us=1_001)
    times = [str(np.datetime64(int(t), "us")) + "Z" for t in f.ts]
    sides = ["sell" if m else "buy" for m in f.is_buyer_maker]
    rows = [
        f"{t},BTCUSDT,{i},{p},{q},{s}"
        for t, i, p, q, s in zip(times, f.id, f.price, f.qty, sides, strict=True)
    ]
    path.write_text("\n".join(["ts,symbol,id,price,qty,side", *rows]))
    assert symbols_in([path]).first_us == START_US
    assert same(whole(path), f)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.timestamp("ms"), pa.int64()]
)
def test_parquet_with_the_columns_of_the_trades_table_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "trades.parquet"
    f = join([trades(6), trades(6, 1, 900)], 2)
    f = f.rows(np.argsort(f.ts, kind="stable"))
    ts = pa.array(f.ts) if kind == pa.int64() else pa.array(f.ts).cast(pa.timestamp("us")).cast(kind)
    table = pa.table(
        {
            "ts": ts,
            "symbol": pa.array([SYMBOLS[code] for code in f.symbol]).dictionary_encode(),
            "id": f.id,
            "price": f.price,
            "qty": f.qty,
            "side": ["sell" if m else "buy" for m in f.is_buyer_maker],
        }
    )
    pq.write_table(table, path)
    look = symbols_in([path])
    assert (look.symbols, look.first_us) == (SYMBOLS, START_US)
    assert same(whole(path), f)


def test_parquet_with_the_columns_of_an_archive_is_read(tmp_path: Path) -> None:
    path, f = tmp_path / "ETHUSDT-trades-2024-08-09.parquet", trades(6, 1)
    pq.write_table(
        pa.table(
            {
                "id": f.id,
                "price": f.price,
                "qty": f.qty,
                "time": f.ts // 1000,
                "is_buyer_maker": f.is_buyer_maker,
            }
        ),
        path,
    )
    assert same(whole(path), f)


def test_days_are_read_in_the_order_of_their_first_trades(tmp_path: Path) -> None:
    f = trades(300)
    days = []
    for k, name in enumerate(["c.ndjson", "a.ndjson", "b.ndjson"]):
        days.append(tmp_path / name)
        days[-1].write_bytes(b"\n".join(frame_lines(f.rows(slice(k * 100, k * 100 + 100)))))
    assert same(whole(days[1], days[2], days[0]), f)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(-2_000_000, 2_000_000), st.integers(100, 9_000))
def test_files_that_overlap_are_merged_by_time(
    tmp_path_factory: pytest.TempPathFactory, n: int, m: int, later_us: int, step_us: int
) -> None:
    folder = tmp_path_factory.mktemp("days")
    btc, eth = trades(n), trades(m, 1, 900, START_US + later_us, step_us)
    for name, f in (("BTCUSDT", btc), ("ETHUSDT", eth)):
        pq.write_table(
            pa.table(
                {"id": f.id, "price": f.price, "qty": f.qty, "time": f.ts, "is_buyer_maker": f.is_buyer_maker}
            ),
            folder / f"{name}-trades-1.parquet",
        )
    before = arrow_files.BATCH
    try:
        arrow_files.BATCH = 64  # type: ignore[misc]
        found = whole(*folder.iterdir())
    finally:
        arrow_files.BATCH = before  # type: ignore[misc]
    assert (np.diff(found.ts) >= 0).all()
    assert same(found.rows(found.symbol == 0), btc) and same(found.rows(found.symbol == 1), eth)


def test_single_and_aggregate_trades_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-trades-1.csv").write_text("\n".join(csv_rows(trades(3))))
    (tmp_path / "BTCUSDT-aggTrades-1.csv").write_text("\n".join(agg_rows(trades(3))))
    with pytest.raises(UserError, match="holds aggregate trades"):
        list(read(sorted(tmp_path.iterdir()), SYMBOLS))


@pytest.mark.parametrize("kind", ["lines", "csv", "parquet"])
def test_the_first_look_tells_the_end(tmp_path: Path, kind: str) -> None:
    f = trades(30_000, step_us=10_000_000)
    early = trades(10)
    early_path = tmp_path / "BTCUSDT-trades-0.csv"
    early_path.write_text("\n".join(csv_rows(early)))
    path = (
        tmp_path
        / {"lines": "r.ndjson", "csv": "BTCUSDT-trades-1.csv", "parquet": "BTCUSDT-trades-1.parquet"}[kind]
    )
    if kind == "lines":
        path.write_bytes(b"\n".join(messages.encode_trades("BTCUSDT", f)))
    elif kind == "csv":
        path.write_text("\n".join(csv_rows(f)))
    else:
        pq.write_table(
            pa.table(
                {"id": f.id, "price": f.price, "qty": f.qty, "time": f.ts, "is_buyer_maker": f.is_buyer_maker}
            ),
            path,
        )
    look = symbols_in([early_path, path])
    assert (look.first_us, look.last_us) == (START_US, int(f.ts[-1]))


def test_a_reader_may_stop_early_and_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(messages.encode_trades("BTCUSDT", trades(40_000)))))
    reading = read([path], SYMBOLS)
    assert json.dumps(len(next(iter(reading)))) != "0"
    reading.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["lines", "csv", "parquet"])
@pytest.mark.parametrize("at", [0, 5, 12_345, 29_999])
@pytest.mark.parametrize("wrong_us", [1, 99_999_999_999_999_999, LATER_US])
def test_a_wrong_time_is_rejected_and_moves_nothing(
    tmp_path: Path, kind: str, at: int, wrong_us: int
) -> None:
    f = trades(30_000)
    path = (
        tmp_path
        / {"lines": "r.ndjson", "csv": "BTCUSDT-trades-1.csv", "parquet": "BTCUSDT-trades-1.parquet"}[kind]
    )
    f.ts[at] = wrong_us if wrong_us != LATER_US else f.ts[at] + wrong_us
    if kind == "lines":
        f.event_ts[at] = f.ts[at]
        path.write_bytes(b"\n".join(messages.encode_trades("BTCUSDT", f, in_microseconds=True)))
    elif kind == "csv":
        path.write_text("\n".join(csv_rows(f)))
    else:
        pq.write_table(
            pa.table(
                {"id": f.id, "price": f.price, "qty": f.qty, "time": f.ts, "is_buyer_maker": f.is_buyer_maker}
            ),
            path,
        )
    recording = Recording(symbols_in([path]), ("BTCUSDT",))
    found = join(list(recording), 1)
    if at == 29_999 and wrong_us == LATER_US:  # its id follows the one before: any pause is possible
        assert len(found) == 30_000 and not found.rejected.any()
        return
    assert len(found) == 29_999 and found.rejected.tolist() == [1] and f.id[at] not in found.id
    assert found.reasons == {"time": 1}
    assert START_US <= recording.first_us < recording.last_us < START_US + 10**10


def test_a_day_between_two_parts_of_a_recording_is_a_pause(tmp_path: Path) -> None:
    day, later = trades(20), trades(20, start_us=START_US + 30 * 3_600_000_000)
    path = tmp_path / "BTCUSDT-trades-1.csv"
    path.write_text("\n".join(csv_rows(day) + csv_rows(replace(later, id=later.id + 20))))
    assert len(join(list(read([path])), 1)) == 40
