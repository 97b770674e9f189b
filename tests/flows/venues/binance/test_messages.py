import gzip
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.feed.frames import COLUMNS, Frames, join
from flows.markets import AGG_TRADE, TRADE
from flows.sandbox import messages as wire
from flows.venues.binance import messages
from flows.venues.binance.messages import decode, decode_rest

CODES = {"BTCUSDT": 0, "ETHUSDT": 1}
BTC = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",'
    b'"T":1723161255342,"m":true,"M":true}}'
)
ETH = (
    b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.80000000","q":"0.00200000",'
    b'"T":1723161255611,"m":false,"M":true}}'
)
AGG = (
    b'{"e":"aggTrade","E":1723161255343001,"s":"ETHUSDT","a":77,"p":"2683.80000000","q":"0.50000000","f":100,"l":103,'
    b'"T":1723161255342999,"m":true,"M":true}'
)


def real_recording() -> Path:
    for folder in Path(__file__).resolve().parents:
        found = sorted((folder / "shared" / "data").glob("*.ndjson.gz"))
        if found:
            return found[0]
    if os.environ.get("CI"):
        pytest.fail("CI is set, but no shared/data with the real recording stands beside the project")
    pytest.skip("the real recording (shared/data beside the project) is not here")


def same(a: Frames, b: Frames) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


def raw(frame: bytes) -> bytes:
    return json.dumps(json.loads(frame)["data"], separators=(",", ":")).encode()


def changed(frame: bytes, **fields: Any) -> bytes:
    message = json.loads(frame)
    message["data"] |= fields
    return json.dumps(message, separators=(",", ":")).encode()


# by hand


def test_a_combined_trade_becomes_a_row() -> None:
    f = decode([BTC, ETH], CODES, TRADE)
    assert f.symbol.tolist() == [0, 1] and f.symbol.dtype == np.int32
    assert f.id.tolist() == [3735683259, 1520538925]
    assert f.ts.tolist() == [1723161255342000, 1723161255611000]
    assert f.event_ts.tolist() == [1723161255343000, 1723161255612000]
    assert f.price.tolist() == [61837.63, 2683.8]
    assert f.qty.tolist() == [0.02, 0.002]
    assert f.is_buyer_maker.tolist() == [True, False]
    assert f.count.tolist() == [1, 1]
    assert f.rejected.tolist() == [0, 0] and f.unreadable == f.foreign == 0 and f.controls == []


def test_raw_frames_combined_frames_text_and_bytes_read_alike() -> None:
    combined = decode([BTC, ETH], CODES, TRADE)
    assert same(combined, decode([raw(BTC), raw(ETH)], CODES, TRADE))
    assert same(combined, decode([raw(BTC), ETH], CODES, TRADE))
    assert same(combined, decode([BTC.decode(), raw(ETH).decode()], CODES, TRADE))


def test_an_aggregate_counts_its_trades_and_its_microseconds_stay() -> None:
    f = decode([AGG], CODES, AGG_TRADE)
    assert (f.id[0], f.count[0], f.ts[0], f.event_ts[0]) == (77, 4, 1723161255342999, 1723161255343001)


def test_ids_are_exact_to_the_largest_int64() -> None:
    f = decode([changed(BTC, t=2**63 - 1), changed(BTC, t=2**53 + 1), changed(BTC, t=0)], CODES, TRADE)
    assert f.id.tolist() == [2**63 - 1, 2**53 + 1, 0]


def test_an_extra_field_is_no_offence() -> None:
    assert len(decode([changed(BTC, st=3, nested={"a": [1, 2]})], CODES, TRADE)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"p": "NaN"},
        {"p": "0"},
        {"p": "0.00000000"},
        {"p": "-1.0"},
        {"p": "Infinity"},
        {"p": "1e400"},
        {"p": ""},
        {"p": None},
        {"p": "1_0"},
        {"p": ["1"]},
        {"q": "0.00000000"},
        {"q": "-0.5"},
        {"q": "x"},
        {"t": -1},
        {"t": 2**63},
        {"t": 1.5},
        {"t": None},
        {"T": 0},
        {"T": -5},
        {"T": 2**62},
        {"T": "soon"},
        {"m": None},
        {"m": "buyer"},
    ],
)
def test_a_trade_that_cannot_be_one_is_rejected_and_counted_for_its_symbol(fields: dict[str, Any]) -> None:
    f = decode([ETH, changed(BTC, **fields), ETH], CODES, TRADE)
    assert f.id.tolist() == [1520538925, 1520538925]
    assert f.rejected.tolist() == [1, 0] and f.unreadable == 0


@pytest.mark.parametrize("f_l", [(5, 4), (-1, 4), (0, 2**63 - 1), (0, 2**64), (None, 1)])
def test_an_aggregate_with_impossible_trades_is_rejected(f_l: tuple[Any, Any]) -> None:
    message = json.loads(AGG) | {"f": f_l[0], "l": f_l[1]}
    found = decode([json.dumps(message).encode(), AGG], CODES, AGG_TRADE)
    assert found.id.tolist() == [77] and found.rejected.tolist() == [0, 1]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        BTC[:60],
        BTC[60:],
        b"\xff\xfe",
        b"[" * 5000,
        BTC + b"," + BTC,
        b'{"e":"trade"}',
    ],
)
def test_a_frame_that_is_no_message_is_unreadable(junk: bytes) -> None:
    f = decode([BTC, junk, ETH], CODES, TRADE)
    assert f.id.tolist() == [3735683259, 1520538925] and f.unreadable == 1 and f.rejected.sum() == 0


def test_two_halves_of_a_message_do_not_make_a_trade() -> None:
    whole = raw(BTC)
    cut = whole.index(b',"s"')
    f = decode([whole[:cut], whole[cut + 1 :], raw(ETH)], CODES, TRADE)
    assert f.id.tolist() == [1520538925] and f.unreadable == 2


def test_other_symbols_and_other_events_are_foreign() -> None:
    f = decode(
        [changed(BTC, s="XRPUSDT"), BTC, AGG, b'{"e":"depthUpdate","E":1,"s":"BTCUSDT"}'], CODES, TRADE
    )
    assert len(f) == 1 and f.foreign == 3 and f.unreadable == 0


@pytest.mark.parametrize(
    "kind", ["INSURANCE_FUND", "ADL", "NA", "BLOCK", "", "market", None, 0, ["MARKET"], {"X": "MARKET"}]
)
@pytest.mark.parametrize("price", ["50.0", "0", "rubbish"])
def test_what_is_no_trade_of_the_market_is_counted_under_a_name_of_its_own(kind: Any, price: str) -> None:
    other = changed(BTC, X=kind, p=price)
    for frames in ([BTC, other, ETH], [raw(BTC), raw(other), raw(ETH)], [BTC, b"{", other, ETH]):
        f = decode(frames, CODES, TRADE)
        assert f.id.tolist() == [3735683259, 1520538925]
        assert (f.off_market, f.rejected.tolist(), f.foreign) == (1, [0, 0], 0)
    assert decode([changed(BTC, X=kind, s="XRPUSDT")], CODES, TRADE).foreign == 1, (
        "of a symbol that nobody asked for"
    )


def test_a_trade_that_says_it_is_of_the_market_is_one() -> None:
    spelled = BTC.replace(b'"M":true', b'"X" : "\\u004dARKET"')
    f = decode([changed(BTC, X="MARKET"), spelled], CODES, TRADE)
    assert same(f, decode([BTC, BTC], CODES, TRADE)) and f.off_market == 0
    aggregate = AGG.replace(b'"M":true', b'"X":"ADL"')
    assert decode([AGG, aggregate], CODES, AGG_TRADE).off_market == 1


def test_counts_go_with_the_rows_that_go_first() -> None:
    f = decode([BTC, b"{", changed(BTC, X="ADL"), changed(BTC, p="0"), changed(BTC, s="X")], CODES, TRADE)
    rest = f.uncounted()
    assert same(f, rest) and (rest.unreadable, rest.off_market, rest.foreign, rest.rejected.sum()) == (
        0,
        0,
        0,
        0,
    )
    both = join([f, rest], 2)
    assert (both.unreadable, both.off_market, both.foreign, both.rejected.tolist()) == (1, 1, 1, [1, 0])


def test_control_messages_come_out_as_they_are() -> None:
    shutdown = {"e": "serverShutdown", "E": 1770123456789}
    frames = [
        {"result": None, "id": 1},
        shutdown,
        {"stream": "!serverShutdown", "data": shutdown},
        {"error": {"code": 2, "msg": "x"}, "id": 2},
    ]
    f = decode([BTC, *[json.dumps(frame).encode() for frame in frames]], CODES, TRADE)
    assert len(f) == 1 and f.unreadable == 0
    assert f.controls == [frames[0], shutdown, shutdown, frames[3]]


def test_nothing_makes_nothing() -> None:
    assert len(decode([], CODES, TRADE)) == 0 and decode([], CODES, TRADE).rejected.tolist() == [0, 0]


def test_rest_trades_become_rows_and_a_bad_one_is_counted() -> None:
    good = {
        "id": 5,
        "price": "1.50000000",
        "qty": "2",
        "quoteQty": "3",
        "time": 1723161255342,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }
    f = decode_rest(
        json.dumps([good, good | {"id": 6, "price": "0"}, good | {"id": -7}, good | {"id": 8}]).encode(),
        1,
        TRADE,
        3,
    )
    assert f.id.tolist() == [5, 8] and f.symbol.tolist() == [1, 1] and f.rejected.tolist() == [0, 2, 0]
    assert f.ts.tolist() == f.event_ts.tolist() == [1723161255342000] * 2


def test_rest_aggregates_become_rows() -> None:
    f = decode_rest(
        b'[{"a":9,"p":"1.5","q":"2","f":4,"l":6,"T":1723161255342001,"m":false,"M":true}]', 0, AGG_TRADE
    )
    assert (f.id[0], f.count[0], f.ts[0], f.is_buyer_maker[0]) == (9, 3, 1723161255342001, False)


def test_a_rest_error_is_a_control_and_half_a_body_unreadable() -> None:
    assert decode_rest(b'{"code":-1121,"msg":"Invalid symbol."}', 0, TRADE).controls == [
        {"code": -1121, "msg": "Invalid symbol."}
    ]
    for body in (b'[{"id":5,', b"", b"<html>", b"{}", b"null", b"\xff"):
        assert decode_rest(body, 0, TRADE).unreadable == 1


# against the exchange


def test_the_real_recording_reads_whole_and_encodes_back_to_its_own_bytes() -> None:
    lines = gzip.decompress(real_recording().read_bytes()).splitlines()
    f = decode(lines, CODES, TRADE)
    assert len(f) == len(lines) == 34_419 and not f.rejected.any() and f.unreadable == f.foreign == 0
    assert np.bincount(f.symbol).tolist() == [19_904, 14_515]
    assert [round(math.fsum(f.qty[f.symbol == code]), 8) for code in (0, 1)] == [437.91552, 4272.7241]
    for name, code in CODES.items():
        chosen = f.symbol == code
        original = [line for line, mine in zip(lines, chosen, strict=True) if mine]
        assert wire.encode_trades(name, f.rows(chosen)) == original


# properties

trade_rows = st.lists(
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.integers(10**11, 10**13),  # ms
        st.integers(1, 10**15),  # price in 1e-8
        st.integers(1, 10**15),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def columns(rows: list[tuple[int, int, int, int, bool]]) -> Frames:
    ids, ms, price, qty, maker = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    ts = ms.astype(np.int64) * 1000
    return Frames(
        np.zeros(n, np.int32),
        ids.astype(np.int64),
        ts,
        price / 1e8,
        qty / 1e8,
        maker,
        np.ones(n, np.int64),
        ts + 1000,
        np.zeros(2, np.int64),
    )


@given(trade_rows, st.booleans(), st.booleans())
def test_what_is_encoded_decodes_to_itself(rows: list[Any], combined: bool, in_microseconds: bool) -> None:
    f = columns(rows)
    assert same(f, decode(wire.encode_trades("BTCUSDT", f, combined, in_microseconds), CODES, TRADE))
    rest = decode_rest(wire.encode_rest_trades(f, in_microseconds), 0, TRADE, 2)
    assert same(messages.replace(f, event_ts=f.ts), rest)


@given(trade_rows, st.integers(1, 9), st.booleans(), st.booleans())
def test_what_is_encoded_as_aggregates_decodes_to_itself(
    rows: list[Any], count: int, combined: bool, in_microseconds: bool
) -> None:
    f = messages.replace(columns(rows), count=np.full(len(rows), count, np.int64))
    first = np.arange(len(f), dtype=np.int64) * count
    frames = wire.encode_agg_trades(
        "BTCUSDT", f, first, first + count - 1, combined=combined, in_microseconds=in_microseconds
    )
    assert same(f, decode(frames, CODES, AGG_TRADE))
    rest = decode_rest(
        wire.encode_rest_agg_trades(f, first, first + count - 1, in_microseconds), 0, AGG_TRADE, 2
    )
    assert same(messages.replace(f, event_ts=f.ts), rest)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
field_names = st.sampled_from(
    ["e", "E", "s", "t", "p", "q", "T", "m", "a", "f", "l", "stream", "data", "id", "result"]
)
near_misses = st.dictionaries(
    field_names, json_values | st.sampled_from(["trade", "BTCUSDT", "1.5", "nan", 1723161255342, True])
)
junk_frames = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80),
    near_misses.map(lambda message: json.dumps(message).encode()),
    near_misses.map(lambda message: json.dumps({"stream": "btcusdt@trade", "data": message}).encode()),
    st.integers(0, len(BTC)).map(lambda cut: BTC[:cut]),
    st.integers(1, len(BTC)).map(lambda cut: BTC[cut:]),
)


@given(st.lists(junk_frames, max_size=8), st.sampled_from([TRADE, AGG_TRADE]))
def test_no_bytes_raise_and_every_row_is_sound(frames: list[bytes | str], stream: str) -> None:
    f = decode(frames, CODES, stream)
    assert len(f) + f.rejected.sum() + f.unreadable + f.foreign + f.off_market + len(f.controls) == len(
        frames
    )
    assert (
        np.isfinite(f.price).all()
        and (f.price > 0).all()
        and (f.qty > 0).all()
        and (f.count > 0).all()
        and (f.id >= 0).all()
    )


@given(
    st.binary(max_size=200) | st.lists(near_misses).map(lambda rows: json.dumps(rows).encode()),
    st.sampled_from([TRADE, AGG_TRADE]),
)
def test_no_rest_body_raises(body: bytes, stream: str) -> None:
    decode_rest(body, 0, stream)


broken_frames = st.one_of(
    st.binary(max_size=40),
    st.integers(0, len(BTC) - 1).map(lambda cut: BTC[:cut]),
    st.integers(1, len(BTC)).map(lambda cut: BTC[cut:]),
)


@given(trade_rows, st.lists(broken_frames, min_size=1, max_size=10), st.integers(0, 2**32), st.booleans())
def test_junk_in_between_changes_no_other_row(
    rows: list[Any], junk: list[bytes], seed: int, combined: bool
) -> None:
    f = columns(rows)
    frames = wire.encode_trades("BTCUSDT", f, combined)
    rng = random.Random(seed)
    for piece in junk:
        frames.insert(rng.randrange(len(frames) + 1), piece)
    found = decode(frames, CODES, TRADE)
    assert same(f, found) and found.unreadable + found.foreign == len(junk)


kinds = st.sampled_from(
    ["MARKET", "ADL", "INSURANCE_FUND", "NA", "BLOCK", "MARKET ", None, True, 1.5, ["MARKET"], {}]
)
trade_fields = st.fixed_dictionaries(
    {
        "e": st.sampled_from(["trade", "trade", "trade", "aggTrade"]),
        "E": st.just(1723161255343),
        "s": st.sampled_from(["BTCUSDT", "ETHUSDT", "XRPUSDT"]),
        "t": st.integers(0, 2**63 - 1),
        "p": st.sampled_from(["1.5", "0", "x", 2.5]),
        "q": st.sampled_from(["1", "-1"]),
        "T": st.sampled_from([1723161255342, 0, 1]),
        "m": st.booleans(),
    },
    optional={"X": kinds, "M": st.booleans()},
)


@st.composite
def written_frames(draw: st.DrawFn) -> bytes:
    """A trade as JSON: fields in any order, blanks anywhere, letters escaped or not, one field perhaps twice."""
    fields = list(draw(trade_fields).items())
    fields = draw(st.permutations(fields + fields[: draw(st.integers(0, 1))]))
    blank = draw(st.sampled_from(["", " ", "\t", "\n "]))

    def text(value: Any) -> str:
        spelled = json.dumps(value)
        if isinstance(value, str) and value and draw(st.booleans()):
            spelled = '"' + "".join(f"\\u{ord(character):04x}" for character in value) + '"'
        return spelled

    body = f"{blank},{blank}".join(f"{text(name)}{blank}:{blank}{text(value)}" for name, value in fields)
    event = f"{{{blank}{body}{blank}}}"
    return (f'{{"stream":"btcusdt@trade","data":{event}}}' if draw(st.booleans()) else event).encode()


@given(st.lists(written_frames(), min_size=1, max_size=6))
def test_frames_read_alike_in_one_call_and_one_by_one(frames: list[bytes]) -> None:
    def counts(f: Frames) -> tuple[Any, ...]:
        return f.rejected.tolist(), f.unreadable, f.foreign, f.off_market

    together = decode(frames, CODES, TRADE)
    slow = decode([*frames, b"{"], CODES, TRADE)  # one that is broken makes all of them be read one by one
    alone = join([decode([frame], CODES, TRADE) for frame in frames], len(CODES))
    assert sorted(together.id.tolist()) == sorted(slow.id.tolist()) == sorted(alone.id.tolist())
    assert counts(together) == counts(alone) == counts(messages.replace(slow, unreadable=slow.unreadable - 1))
    assert len(
        together
    ) + together.rejected.sum() + together.unreadable + together.foreign + together.off_market == len(frames)


@given(st.integers(0, 1500), st.integers(1, 700))
def test_the_size_of_the_batches_does_not_matter(broken: int, size: int) -> None:
    frames = [BTC, ETH] * 600
    frames.insert(min(broken, len(frames)), b"{")
    whole = decode(frames, CODES, TRADE)
    parts = [decode(frames[start : start + size], CODES, TRADE) for start in range(0, len(frames), size)]
    joined = join(parts, 2)
    assert same(whole, joined) and joined.unreadable == whole.unreadable == 1


HOUR_US = 3_600_000_000


@pytest.mark.parametrize("apart_us", [2 * HOUR_US, -2 * HOUR_US, 99_999_999_999_999_999])
def test_a_trade_further_than_an_hour_from_its_own_event_is_rejected(apart_us: int) -> None:
    good = json.loads(BTC)["data"]
    spoiled = json.dumps(
        {**good, "T": apart_us if apart_us > 2 * HOUR_US else good["T"] + apart_us // 1_000}
    ).encode()
    found = decode([BTC, spoiled, BTC], CODES, TRADE)
    assert len(found) == 2 and found.rejected[CODES["BTCUSDT"]] == 1
