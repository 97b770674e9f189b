import warnings
from pathlib import Path

import pytest

from flows.replay.unpack import BLOCK
from tests.flows.replay.reading import found_symbols, read, refusal

US = 1_735_689_600_000_000
HEADER = "ts,symbol,id,price,qty,side"


def archive(n: int = 20, first: int = 1, price: str = "100") -> list[str]:
    return [
        f"{first + k},{price},1.0,100,{US + k * 500_000},{'True' if k % 2 else 'False'},True"
        for k in range(n)
    ]


def table(*times: str, side: str = "buy") -> str:
    return "\n".join([HEADER, *(f"{time},BTCUSDT,{k},100,1,{side}" for k, time in enumerate(times, 1))])


# the recordings of the reports


def test_a_dated_contract_is_its_own_symbol(tmp_path: Path) -> None:
    spot, dated = (
        tmp_path / "BTCUSDT-trades-2025-01-01.csv",
        tmp_path / "BTCUSDT_250328-trades-2025-01-01.csv",
    )
    assert len(read(spot, "\n".join(archive()))) == 20
    found = read(dated, "\n".join(archive(first=5001, price="105")))
    assert (len(found), found.foreign, found_symbols(dated)) == (0, 20, ["BTCUSDT_250328"])


def test_a_symbol_of_any_script_is_read_from_a_name(tmp_path: Path) -> None:
    path = tmp_path / "测试币USDT-trades-2026-01-01.csv"
    assert len(read(path, "\n".join(archive()), ("测试币USDT",))) == 20


@pytest.mark.parametrize(
    ("buy", "sell"), [("buy", "sell"), ("BUY", "SELL"), ("Buy", "Sell"), ("B", "S"), ("buy", "SELL")]
)
def test_sides_are_read_in_any_case(tmp_path: Path, buy: str, sell: str) -> None:
    rows = [
        f"2025-01-01T00:00:{k:02d}.000000Z,BTCUSDT,{k},100,1,{sell if k % 2 else buy}" for k in range(1, 20)
    ]
    found = read(tmp_path / "capitals.csv", "\n".join([HEADER, *rows]))
    assert found.is_buyer_maker.tolist() == [bool(k % 2) for k in range(1, 20)] and not found.rejected.any()


def test_a_side_that_is_none_is_the_reason_told(tmp_path: Path) -> None:
    text = table("1735689600000", "1735689601000").replace("2,100,1,buy", "2,100,1,long")
    assert refusal(tmp_path / "odd.csv", text) == "line 3: column side: expected buy or sell, got 'long'"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, encoding: str) -> None:
    assert (
        len(read(tmp_path / "BTCUSDT-trades-2025-01-01.csv", "\r\n".join(archive()).encode(encoding))) == 20
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row.replace("000,", "000000,", 1) for row in archive()], id="nanoseconds"),
        pytest.param([",".join(f'"{cell}"' for cell in row.split(",")) for row in archive()], id="quoted"),
        pytest.param([row.replace(",", ", ") for row in archive()], id="blanks"),
        pytest.param([row.replace(",", ";") for row in archive()], id="semicolons"),
        pytest.param([row.replace(",", "\t") for row in archive()], id="tabs"),
        pytest.param([row.rsplit(",", 1)[0] for row in archive()], id="without the last column"),
        pytest.param(["# by hand", "", *archive()], id="a comment"),
        pytest.param(["https://www.example.com/data", *archive()], id="a URL"),
        pytest.param([*archive()[:10], "# more", "", *archive()[10:]], id="a comment between"),
    ],
)
def test_an_archive_is_read_however_it_was_saved(tmp_path: Path, rows: list[str]) -> None:
    found = read(tmp_path / "BTCUSDT-trades-1.csv", "\n".join(rows))
    assert found.id.tolist() == list(range(1, 21)) and not found.rejected.any()
    assert found.ts.tolist() == [US + k * 500_000 for k in range(20)]


def test_a_table_of_other_names_is_read_and_more_columns_are_passed_over(tmp_path: Path) -> None:
    rows = [f"binance,BTCUSDT,{US + k},{US + k + 200},{k},buy,100,1" for k in range(8)]
    found = read(
        tmp_path / "columns.csv",
        "\n".join(["exchange,symbol,timestamp,local_timestamp,id,side,price,amount", *rows]),
    )
    assert found.ts.tolist() == [US + k for k in range(8)] and (found.qty == 1).all()


@pytest.mark.parametrize(
    "time",
    ["2025-01-01T00:00:01.123456789Z", "2025-01-01T09:00:01.123456+09:00", "2025-01-01 00:00:01.123456"],
)
def test_dates_are_read_without_a_word_of_a_library(tmp_path: Path, time: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "iso.csv", table(time, time)).ts.tolist() == [US + 1_123_456] * 2


# shapes


def test_a_table_needs_no_ids_and_few_columns(tmp_path: Path) -> None:
    text = "ts;price;qty;side\n" + "\n".join(f"{US + k};100.5;1;sell" for k in range(5))
    found = read(tmp_path / "BTCUSDT.csv", text)
    assert (found.id.tolist(), found.price.tolist()) == ([0, 1, 2, 3, 4], [100.5] * 5)


def test_rows_without_ids_are_counted_over_all_blocks(tmp_path: Path) -> None:
    rows = BLOCK // 20
    found = read(tmp_path / "BTCUSDT.csv", "ts,price,qty,side\n" + f"{US},100.5,1,sell\n" * rows)
    assert found.id.tolist() == list(range(rows))


@pytest.mark.parametrize("symbol", ["btcusdt", "BTC/USDT", "BTC-USDT", " BTCUSDT "])
def test_a_symbol_is_read_as_people_write_it(tmp_path: Path, symbol: str) -> None:
    assert len(read(tmp_path / "t.csv", table("1735689600").replace("BTCUSDT", symbol))) == 1


def test_another_market_of_the_same_coins_is_not_this_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    found = read(path, table("1735689600").replace("BTCUSDT", "BTC/USDT:USDT"))
    assert (len(found), found.foreign, found_symbols(path)) == (0, 1, ["BTC/USDT:USDT"])


def test_files_put_behind_each_other_are_one(tmp_path: Path) -> None:
    one = "\ufeff" + table("1735689600", "1735689601") + "\n"
    found = read(
        tmp_path / "all.csv",
        one + one.replace("BTCUSDT,1,", "BTCUSDT,3,").replace("BTCUSDT,2,", "BTCUSDT,4,"),
    )
    assert found.id.tolist() == [1, 2, 3, 4]


def test_line_ends_may_be_mixed(tmp_path: Path) -> None:
    found = read(
        tmp_path / "t.csv",
        f"{HEADER}\r\n1735689600,BTCUSDT,1,1,1,buy\n1735689600,BTCUSDT,2,1,1,buy\r1735689600,BTCUSDT,3,1,1,buy\r\n\r\n",
    )
    assert found.id.tolist() == [1, 2, 3]


def test_rows_that_are_written_otherwise_in_the_middle_are_the_same(tmp_path: Path) -> None:
    rows = [f"{US + k},BTCUSDT,{k},100.25,1,buy" for k in range(60_000)]
    odd = [
        f'{US // 10**6}.{k:06d}, btcusdt ,"{k}",+100.25,1.0e0,BUY' if 20_000 <= k < 50_000 else row
        for k, row in enumerate(rows)
    ]
    found = read(tmp_path / "t.csv", "\n".join([HEADER, *odd]))
    assert found.ts.tolist() == [US + k for k in range(60_000)] and set(found.price.tolist()) == {100.25}


# refusals


def test_a_quotation_mark_that_is_not_closed_takes_no_rows_with_it(tmp_path: Path) -> None:
    rows = archive(100)
    rows[40] = rows[40].replace(",True", ',"True')
    assert refusal(tmp_path / "BTCUSDT-trades-1.csv", "\n".join(rows)).startswith(
        "line 41: a quotation mark is not closed"
    )


def test_a_broken_row_far_into_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [f"{US + k},BTCUSDT,{k},100.25,1,buy" for k in range(100_000)]
    rows[30_000] = ""
    rows[90_000] = rows[90_000].replace("100.25", "dear")
    path = tmp_path / "t.csv"
    assert (
        refusal(path, "\n".join([HEADER, *rows]))
        == "line 90002: column price: expected a number such as 0.25, got 'dear'"
    )
    rows[90_000] = "1,2"
    assert refusal(path, "\r\n".join([HEADER, *rows])) == "line 90002: expected 6 columns, got 2: '1,2'"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1735689600,BTCUSDT,x,1,1,buy", "line 2: column id: expected a whole number from 0, got 'x'"),
        ("1735689600,BTCUSDT,,1,1,buy", "line 2: column id: expected a whole number from 0, got nothing"),
        ("1735689600,,1,1,1,buy", "line 2: column symbol: expected a symbol such as BTCUSDT, got nothing"),
        ("1735689600,BTCUSDT,1,1,1,", "line 2: column side: expected buy or sell, got nothing"),
        ('1735689600,BTCUSDT,1,1,1,"buy', "line 2: a quotation mark is not closed"),
        ("yesterday,BTCUSDT,1,1,1,buy", "line 2: column ts: expected a time such as"),
    ],
)
def test_a_cell_is_refused_with_its_column_and_value(tmp_path: Path, row: str, says: str) -> None:
    assert refusal(tmp_path / "t.csv", f"{HEADER}\n{row}\n1735689600,BTCUSDT,2,1,1,buy\n").startswith(says)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    content = table("1735689600").replace("BTCUSDT", "БТК").encode("cp1251")
    assert refusal(tmp_path / "t.csv", content).startswith("line 2: is not text in UTF-8")


def test_a_long_row_of_another_width_is_refused(tmp_path: Path) -> None:
    says = refusal(tmp_path / "t.csv", table("1735689600") + '\n"' + "x" * 200_000 + '",2\n')
    assert says.startswith("line 3: expected 6 columns, got 2: ") and len(says) < 150


def test_a_row_of_another_width_that_is_no_text_is_refused_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = table("1735689600", "1735689601").encode() + b"\n\xff\xfe,\xff\n"
    assert refusal(tmp_path / "t.csv", content).startswith("line 4: is not text in UTF-8")
    # Arrow would report such a row from a callback, where no handler catches it
    assert capfd.readouterr().err == ""


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.csv", "ts,symbol,price,side\n1,2,3,4\n").startswith(
        "line 1: no column for the quantity among ts, symbol, price, side: name it"
    )


def test_a_row_without_price_quantity_or_time_is_rejected_and_counted(tmp_path: Path) -> None:
    rows = [
        "1735689600,BTCUSDT,1,,1,buy",
        "1735689600,BTCUSDT,2,1,NaN,buy",
        ",BTCUSDT,3,1,1,buy",
        "1735689600,BTCUSDT,4,1,1,buy",
    ]
    found = read(tmp_path / "t.csv", "\n".join([HEADER, *rows]))
    assert (found.id.tolist(), found.rejected.tolist()) == ([4], [3, 0])
