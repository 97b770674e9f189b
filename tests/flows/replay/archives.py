"""Trades, their lines in each format of recordings, and the line of a refusal."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.errors import UserError
from flows.feed.frames import COLUMNS, Frames, join
from flows.replay.recordings import read
from flows.sandbox import messages

START_US = 1_723_161_255_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def trades(
    n: int, code: int = 0, first_id: int = 100, start_us: int = START_US, step_us: int = 5_000
) -> Frames:
    k = np.arange(n, dtype=np.int64)
    ts = start_us + k * step_us
    return Frames(
        np.full(n, code, np.int32),
        first_id + k,
        ts,
        60_000 + (k % 7) * 0.01,
        0.001 * (1 + k % 5),
        k % 3 == 0,
        np.ones(n, np.int64),
        ts,
        np.zeros(2, np.int64),
    )


def same(a: Frames, b: Frames) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


def whole(*paths: Path, symbols: tuple[str, ...] | None = SYMBOLS, stream: str | None = None) -> Frames:
    return join(list(read(paths, symbols, stream=stream)), len(symbols or SYMBOLS))


def frame_lines(f: Frames, combined: bool = True) -> list[bytes]:
    lines = []
    for k in range(len(f)):
        lines += messages.encode_trades(SYMBOLS[f.symbol[k]], f.rows(slice(k, k + 1)), combined)
    return lines


def csv_rows(f: Frames, us: bool = False, last: tuple[str, ...] = ("True",)) -> list[str]:
    return [
        ",".join((str(i), f"{p:.8f}", f"{q:.8f}", f"{p * q:.8f}", str(t if us else t // 1000), str(m), *last))
        for i, p, q, t, m in zip(f.id, f.price, f.qty, f.ts, f.is_buyer_maker, strict=True)
    ]


def agg_rows(f: Frames) -> list[str]:
    return [
        f"{i},{p:.8f},{q:.8f},{i * 3},{i * 3 + 2},{t // 1000},{m},True"
        for i, p, q, t, m in zip(f.id, f.price, f.qty, f.ts, f.is_buyer_maker, strict=True)
    ]


def refusal(read_all: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        read_all()
    text = str(refused.value)
    assert "\n" not in text
    return text
