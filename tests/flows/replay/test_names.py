import re
from pathlib import Path

import pytest

from flows.errors import UserError
from flows.replay.names import NAMES, columns_of, known_columns, symbol_of_file

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-trades-2024-08-09.zip", "BTCUSDT"),
        ("BTCUSDT-aggTrades-2024-08.csv.gz", "BTCUSDT"),
        ("BTCUSDT_250328-trades-2025-01-01.csv", "BTCUSDT_250328"),
        ("BTCUSD_PERP-trades-2025-01-01.csv", "BTCUSD_PERP"),
        ("BTCUSD_PERP.csv", "BTCUSD_PERP"),
        ("BTC-260626-100000-C-trades-2026-01-01.csv", "BTC260626100000C"),
        ("测试币USDT-trades-2026-01-01.csv", "测试币USDT"),
        ("测试币usdt.csv", "测试币USDT"),
        ("1000SATSUSDT-2025-01-01.json", "1000SATSUSDT"),
        ("btcusdt-trades-2025-01-01.csv", "BTCUSDT"),
        ("BTC-USDT-trades-2025-01-01.parquet", "BTCUSDT"),
        ("BTC-USDT-2025-01-01.csv", "BTCUSDT"),
        ("BTCUSDT_20250101.feather", "BTCUSDT"),
        ("btc-usdt.csv.zst", "BTCUSDT"),
        ("BTCUSDT (1).csv", "BTCUSDT"),
        ("BTCUSDT-2.csv", "BTCUSDT"),
        ("BTCUSDT-trades-part1.csv", "BTCUSDT"),
        ("BTCUSDT_trades.csv", "BTCUSDT"),
        ("BTCUSDT", "BTCUSDT"),
    ],
)
def test_a_symbol_in_a_name_is_read_as_a_whole(name: str, symbol: str) -> None:
    assert symbol_of_file(name) == symbol


@pytest.mark.parametrize(
    "name",
    [
        "mine.csv",
        "a.json",
        "trades.csv",
        "trades-2025-01-01.csv",
        "2025-01-01.csv",
        "my BTCUSDT.csv",
        "BTCUSDT.P-trades-2025-01-01.csv",
        "BTCUSDT:USDT-trades.csv",
        "BTCUSDT (copy).csv",
        "数据.csv",
        "",
    ],
)
def test_a_name_that_is_not_understood_as_a_whole_says_no_symbol(name: str) -> None:
    assert symbol_of_file(name) is None


def test_no_name_of_a_column_means_two_things() -> None:
    names = [
        (name if len(name) == 1 else name.replace("_", "")) for known in NAMES.values() for name in known
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("spelled", ["trade_id", "tradeId", "TradeID", "Trade ID", "trade-id", "TRADE_ID"])
def test_case_blanks_and_punctuation_do_not_matter(spelled: str) -> None:
    assert known_columns([spelled]) == {"id": spelled}


def test_names_of_one_letter_are_told_apart_by_their_case() -> None:
    assert known_columns(["a", "p", "q", "f", "l", "T", "m", "M", "t"]) == {
        "id": "a",
        "time": "T",
        "price": "p",
        "qty": "q",
        "is_buyer_maker": "m",
        "first": "f",
        "last": "l",
    }


def test_the_better_name_wins_where_a_table_has_several() -> None:
    columns = [
        "id",
        "trade_id",
        "timestamp",
        "local_timestamp",
        "datetime",
        "side",
        "price",
        "amount",
        "cost",
        "symbol",
    ]
    assert known_columns(columns) == {
        "id": "trade_id",
        "time": "timestamp",
        "symbol": "symbol",
        "price": "price",
        "qty": "amount",
        "side": "side",
    }


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            "symbol,price,qty,side",
            "no column for the time among symbol, price, qty, side: name it ts (or time, timestamp",
        ),
        (
            "ts,symbol,qty,side",
            "no column for the price among ts, symbol, qty, side: name it price (or trade_price",
        ),
        (
            "ts,symbol,price,side",
            "no column for the quantity among ts, symbol, price, side: name it qty (or quantity",
        ),
        (
            "ts,price,amount,volume,side",
            "amount and volume may each be the quantity: rename the one in the base currency to qty",
        ),
        ("ts,price,qty,qty,side", "more than one column has the name qty: keep one of them"),
    ],
)
def test_a_column_that_is_missing_or_open_to_doubt_is_named(columns: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        columns_of("f.csv: line 1", columns.split(","))
    assert str(refused.value).startswith(f"f.csv: line 1: {says}")


def test_the_documentation_has_every_name() -> None:
    text = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", text, re.MULTILINE))
    assert rows.keys() == NAMES.keys()
    units = ("_s", "_ms", "_us", "_ns", "_utc")
    for ours, known in NAMES.items():
        bare = [name for name in known if not (ours == "time" and name.endswith(units))]
        assert re.findall(r"`(\w+)`", rows[ours].split(";")[0]) == bare
