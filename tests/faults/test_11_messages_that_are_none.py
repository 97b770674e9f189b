"""Row 11: half a message, bad JSON, unknown event, extra field, price "NaN" or "0", negative quantity.

docs/faults.md says what Pairflow promises in this case.
"""

import random

import numpy as np
import pytest

from flows.database.connection import Endpoint
from flows.markets import TRADE
from flows.sandbox.background import Background
from flows.settings.model import Settings
from flows.venues.binance.messages import decode
from tests.faults.stage import Tables, lasting, live, same, tables

CODES = {"BTCUSDT": 0, "ETHUSDT": 1}
TRADE_MESSAGE = (
    b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1763799900000,"s":"ETHUSDT","t":7,"p":"3200.01",'
    b'"q":"0.5","T":1763799900000,"m":true}}'
)


def test_the_pipeline_goes_on_counts_them_and_equals_r(
    settings: Settings, played: Background, database: Endpoint, r: Tables
) -> None:
    with live(settings, database) as line:
        line.begun()
        played.control("faults", junk=0.05, half=0.02, zero=0.02)
        lasting(played, line, len(r["trades"]))
        line.until(lambda: line.total("rejected") >= played.stats()["counts"]["zeroed"])
    counts = played.stats()["counts"]
    assert counts["junk"] and counts["halved"] and line.total("rejected") == counts["zeroed"]
    same(tables(database), r)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"3200.01"', b'"NaN"'),
        (b'"3200.01"', b'"0"'),
        (b'"3200.01"', b'"Infinity"'),
        (b'"0.5"', b'"-0.5"'),
        (b'"0.5"', b'"0"'),
    ],
)
def test_impossible_numbers_are_counted_as_rejections_of_their_symbol(before: bytes, after: bytes) -> None:
    frames = decode([TRADE_MESSAGE.replace(before, after), TRADE_MESSAGE], CODES, TRADE)
    assert frames.id.tolist() == [7] and frames.rejected.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("message", "trades", "unreadable", "foreign"),
    [
        (TRADE_MESSAGE[:60], 0, 1, 0),
        (b"{bad", 0, 1, 0),
        (TRADE_MESSAGE.replace(b'"e":"trade"', b'"e":"news"'), 0, 0, 1),
        (TRADE_MESSAGE.replace(b'"m":true', b'"m":true,"st":"new"'), 1, 0, 0),
    ],
    ids=["half", "bad JSON", "unknown event", "extra field"],
)
def test_unreadable_and_foreign_messages_are_counted_and_an_extra_field_is_ignored(
    message: bytes, trades: int, unreadable: int, foreign: int
) -> None:
    frames = decode([message, TRADE_MESSAGE.replace(b'"t":7', b'"t":8')], CODES, TRADE)
    assert (len(frames), frames.unreadable, frames.foreign) == (trades + 1, unreadable, foreign)


def test_whatever_the_bytes_are_the_parser_returns_valid_trades_and_raises_nothing(
    chance: random.Random,
) -> None:
    for _ in range(5_000):
        spoiled = bytearray(TRADE_MESSAGE)
        for _ in range(chance.randint(1, 6)):
            act, at = chance.randrange(3), chance.randrange(len(spoiled))
            if act == 0:
                spoiled[at] = chance.randrange(256)
            elif act == 1:
                del spoiled[at : at + chance.randint(1, 8)]
            else:
                spoiled[at:at] = chance.choice(
                    (b'"', b"{", b"}", b",", b"-", b"e999", b"\\", b"\xff", b"null")
                )
        frames = decode([TRADE_MESSAGE, bytes(spoiled), TRADE_MESSAGE], CODES, TRADE)
        assert len(frames) >= 2
        for column in (frames.price, frames.qty):
            assert (np.isfinite(column) & (column > 0)).all()
        assert (
            len(frames)
            + frames.rejected.sum()
            + frames.unreadable
            + frames.foreign
            + frames.off_market
            + len(frames.controls)
            == 3
        )
