from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.feed.frames import COLUMNS, Frames, join
from flows.replay.formats import frames_of, looked, peek
from tests.flows.replay import shapes


def read(path: Path) -> Frames:
    file = peek(path)
    return join(
        [
            frames
            for frames, _ in frames_of(
                file, {name: code for code, name in enumerate(shapes.SYMBOLS)}, file.streams[0]
            )
        ],
        2,
    )


@pytest.mark.parametrize("shape", shapes.SHAPES)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), trades=shapes.some_trades())
def test_the_same_trades_are_the_same_columns_in_every_shape(
    tmp_path: Path, shape: str, data: st.DataObject, trades: list[shapes.Trade]
) -> None:
    path = shapes.write(data.draw, trades, tmp_path, shape)
    found, expected = read(path), shapes.frames(trades)
    for name in COLUMNS:
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name), f"{name} of {path.read_bytes()[:2_000]!r}"
        )
    assert (found.foreign, found.unreadable, int(found.rejected.sum())) == (0, 0, 0)
    codes: dict[str, int] = {}
    look = sum(len(frames) for frames, _ in looked(peek(path), "trade", codes))
    assert look == len(trades) and sorted(codes) == sorted({t.symbol for t in trades})


def understood_or_refused(path: Path) -> None:
    """Read a file to its end, or get one line that names it. Any other exception fails the test."""
    try:
        file = peek(path)
        for _ in looked(file, file.streams[0], {}):
            pass
        read(path)
    except UserError as refusal:
        assert (
            str(refusal).startswith(str(path))
            and "\n" not in str(refusal)
            and len(str(refusal)) < 500 + len(str(path))
        )


@pytest.mark.parametrize("shape", shapes.SHAPES)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), trades=shapes.some_trades(4))
def test_a_damaged_file_is_understood_or_refused_in_one_line(
    tmp_path: Path, shape: str, data: st.DataObject, trades: list[shapes.Trade]
) -> None:
    path = shapes.write(data.draw, trades, tmp_path, shape)
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 40)))
    damage = data.draw(
        st.one_of(
            st.binary(max_size=40),
            st.text('{}[]",;:\\\n\r0', max_size=12).map(str.encode),
            st.just(content[start:]),
        )
    )
    path.write_bytes(content[:start] + damage + (b"" if data.draw(st.booleans()) else content[stop:]))
    understood_or_refused(path)


ODD = {
    "nothing": b"",
    "a mark alone": b"\xef\xbb\xbf",
    "UTF-16 of nothing": "".encode("utf-16"),
    "one line of 3 MB without a word": b"x" * 3_000_000,
    "one line of 3 MB with commas": b"1,2," * 750_000,
    "one line of 3 MB of brackets": b"[" * 3_000_000,
    "braces that never close": b'{"a":' * 600_000,
    "strings that never close": b'{"e":"trade","s":"' + b"a" * 3_000_000,
    "zeros": bytes(100_000),
    "all bytes": bytes(range(256)) * 1_000,
    "UTF-16 of a letter": "To whom it may concern: here are the trades.\n".encode("utf-16"),
    "a page of HTML": b"<!DOCTYPE html>\n<html><body>Access denied, {price}, qty, time</body></html>\n",
    "candles": b"date,open,high,low,close,volume\n2025-01-01,1,2,0.5,1,10\n",
    "an error of the exchange": b'{"code":-1121,"msg":"Invalid symbol."}\n',
    "lists without keys": b'[["100.1","0.5",1723161600.5,"b","l","",1]]',
    "a column twice": b"ts,symbol,id,price,price,qty,side\n1723161600000,BTCUSDT,1,2,3,4,buy\n",
    "only blanks": b" \r\n\t\r\n",
    "a gzip of nothing": b"\x1f\x8b",
    "Feather of version 1": b"FEA1" + bytes(100),
    "a beginning of Feather": b"ARROW1\0\0" + bytes(100),
    "a beginning of a stream": b"\xff\xff\xff\xff\x10\0\0\0" + bytes(3),
}


@pytest.mark.parametrize("what", ODD)
def test_what_holds_no_trades_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "BTCUSDT-trades-1"
    path.write_bytes(ODD[what])
    with pytest.raises(UserError) as refused:
        peek(path)
    assert (
        str(refused.value).startswith(str(path))
        and "\n" not in str(refused.value)
        and len(str(refused.value)) < 500 + len(str(path))
    )
