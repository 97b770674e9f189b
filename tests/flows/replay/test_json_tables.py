import gzip
import json
from pathlib import Path

import pytest

from flows.replay.formats import frames_of, peek
from operators.columns import UNKNOWN
from tests.flows.replay.reading import found_symbols, read, refusal

MS = 1_723_161_600_000
TRADES = [
    {"id": k, "price": "1.5", "qty": "2", "quoteQty": "3", "time": MS + k, "isBuyerMaker": k % 2 == 0}
    for k in range(1, 31)
]
AGGREGATES = [
    {"a": k, "p": "1.5", "q": "2", "f": k * 3, "l": k * 3 + 2, "T": MS + k, "m": True, "M": True}
    for k in range(1, 31)
]


@pytest.mark.parametrize("packed", [False, True])
def test_one_long_line_of_trades_is_read(tmp_path: Path, packed: bool) -> None:
    row = '{"id":1,"price":"1","qty":"1","time":1723161600000,"isBuyerMaker":true}'
    text = ("[" + ",".join([row] * 25_000) + "]\n").encode()
    found = read(tmp_path / "BTCUSDT-trades-1.json", gzip.compress(text) if packed else text)
    assert len(found) == 25_000 and (found.ts == MS * 1_000).all()


def test_an_array_that_does_not_say_its_symbol_is_refused_in_a_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.json", json.dumps(TRADES)).startswith(
        "its name does not say the symbol, and no column does: rename it to SYMBOL-trades-DATE"
    )


@pytest.mark.parametrize("shape", ["array", "pretty", "lines", "pages", "wrapped"])
def test_answers_of_the_exchange_are_read_in_any_shape(tmp_path: Path, shape: str) -> None:
    for rows, stream, count in ((TRADES, "trade", 1), (AGGREGATES, "aggTrade", 3)):
        text = {
            "array": json.dumps(rows),
            "pretty": json.dumps(rows, indent=4),
            "lines": "\n".join(map(json.dumps, rows)),
            "pages": "\n".join(json.dumps(page) for page in (rows[:10], rows[10:20], [], rows[20:])),
            "wrapped": json.dumps({"status": {"code": 0}, "data": rows}),
        }[shape]
        path = tmp_path / "btcusdt-trades.json"
        found = read(path, text)
        assert peek(path).streams == (stream,)
        assert (found.id.tolist(), set(found.count.tolist())) == (list(range(1, 31)), {count})
        assert found.ts.tolist() == [(MS + k) * 1_000 for k in range(1, 31)]


def test_objects_with_keys_of_a_logger_are_read(tmp_path: Path) -> None:
    rows = [
        {"symbol": "BTC/USDT", "ts": 1_723_161_600.25 + k, "price": 60_000.1, "size": 0.5, "side": "Sell"}
        for k in range(4)
    ]
    path = tmp_path / "log.ndjson"
    found = read(path, "\n".join("2024-08-09T00:00:00.5Z " + json.dumps(row) for row in rows))
    assert not peek(path).ids and found.id.tolist() == [0, 1, 2, 3]
    assert (
        found.ts.tolist() == [(1_723_161_600 + k) * 1_000_000 + 250_000 for k in range(4)]
        and found.is_buyer_maker.all()
    )


def test_objects_within_objects_do_not_disturb(tmp_path: Path) -> None:
    rows = [
        {
            "info": {"a": 7, "p": "9", "q": "9", "T": 5, "m": True},
            "timestamp": MS + k,
            "datetime": "2024-08-09T00:00:00.000Z",
            "symbol": "ETH/USDT",
            "id": str(k),
            "side": "buy",
            "price": 2_500.25,
            "amount": 0.1,
            "cost": 250.025,
            "fee": {"cost": None},
            "fees": [],
            "note": 'a brace } and a quote " and a \\',
        }
        for k in range(10)
    ]
    for text in (json.dumps(rows), json.dumps(rows, indent=1), "\n".join(map(json.dumps, rows))):
        found = read(tmp_path / "ccxt.json", text)
        assert (found.id.tolist(), set(found.price.tolist()), set(found.symbol.tolist())) == (
            list(range(10)),
            {2_500.25},
            {1},
        )


def test_the_symbol_may_be_in_the_object_around_the_trades(tmp_path: Path) -> None:
    pages = [
        json.dumps({"symbol": name, "trades": TRADES[a : a + 10]})
        for name, a in (("BTCUSDT", 0), ("eth-usdt", 10), ("BTCUSDT", 20))
    ]
    path = tmp_path / "pages.json"
    found = read(path, "\n".join(pages))
    assert found.symbol.tolist() == [0] * 10 + [1] * 10 + [0] * 10 and found_symbols(path) == [
        "BTCUSDT",
        "ETHUSDT",
    ]
    unnamed = json.dumps({"trades": TRADES[:2]})
    assert (
        refusal(path, "\n".join([*pages, unnamed]))
        == "trade 31: column symbol: expected a symbol such as BTCUSDT, got nothing"
    )


def test_what_is_no_trade_between_trades_is_counted(tmp_path: Path) -> None:
    error, beat = '{"code":-1003,"msg":"Too many requests"}', '{"type":"heartbeat","time":1723161600000}'
    found = read(
        tmp_path / "BTCUSDT-trades.json", "\n".join([json.dumps(TRADES[:10]), error, json.dumps(TRADES[10:])])
    )
    assert (len(found), found.foreign) == (30, 1)
    lines = [*map(json.dumps, TRADES), error, '{"id":31,"price":"1.5","qt']
    found = read(tmp_path / "BTCUSDT-trades.json", "\n".join(lines))
    assert (len(found), found.foreign, found.unreadable) == (30, 1, 1)
    found = read(tmp_path / "BTCUSDT-trades.json", json.dumps(TRADES[:3])[:-1] + "," + beat + "]")
    assert (len(found), found.foreign) == (3, 1)


def test_numbers_are_exact(tmp_path: Path) -> None:
    big = (
        '[{"id":9007199254740993,"price":0.30000000000000004,"qty":1e-8,'
        '"time":1723161600000123456,"isBuyerMaker":false}]'
    )
    found = read(tmp_path / "BTCUSDT-trades.json", big)
    assert (found.id.tolist(), found.price.tolist(), found.qty.tolist(), found.ts.tolist()) == (
        [9007199254740993],
        [0.30000000000000004],
        [1e-8],
        [1723161600000123],
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            json.dumps(TRADES)[:-40],
            "the JSON is cut off or damaged after trade 29: its brackets do not close",
        ),
        (json.dumps(TRADES)[:-1], "the JSON is cut off or damaged after trade 30: its brackets do not close"),
        (
            json.dumps(TRADES) + "]]",
            "the JSON is damaged after trade 0: a closing bracket without an opening one",
        ),
        (json.dumps(TRADES).replace('"id": 7,', '"id": NaN,'), "trade 7: is not JSON"),
        (
            json.dumps(TRADES).replace('"id": 7,', '"id": 7.5,'),
            "trade 7: column id: expected a whole number from 0, got '7.5'",
        ),
        (
            json.dumps([{"ts": MS, "symbol": "BTCUSDT", "price": 1, "side": "buy"}]),
            "no key for the quantity among ts, symbol, price, side",
        ),
        (
            "\n".join(map(json.dumps, TRADES)).replace('"id": 7,', '"id": "x",'),
            "line 7: column id: expected a whole number from 0, got 'x'",
        ),
    ],
)
def test_damaged_json_is_refused_in_a_line_that_says_where(tmp_path: Path, text: str, says: str) -> None:
    assert refusal(tmp_path / "BTCUSDT-trades.json", text).startswith(says)


def test_an_array_larger_than_a_block_is_read_a_block_at_a_time(tmp_path: Path) -> None:
    text = json.dumps([trade | {"id": k, "note": "{[" * 50} for k, trade in enumerate(TRADES * 600)])
    found = read(tmp_path / "BTCUSDT-trades.json", text)
    assert found.id.tolist() == list(range(18_000))


def test_trades_without_a_side_are_read_and_their_side_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "logged.ndjson"
    rows = [{"symbol": "BTCUSDT", "ts": MS + k, "price": 60_000.5, "size": 0.5} for k in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    file = peek(path)
    assert (file.sides, file.ids) == (False, False)
    found = [
        side
        for frames, _ in frames_of(file, {"BTCUSDT": 0}, file.streams[0])
        for side in frames.is_buyer_maker.tolist()
    ]
    assert found == [UNKNOWN] * 3
