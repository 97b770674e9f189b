"""Trades as tests make them, and files of them in the formats that a replay reads."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.feed.feed import Feed
from flows.feed.frames import COLUMNS, Frames, join
from flows.replay.source import RecordingSource
from flows.runtime.stop import Stop
from flows.sandbox import messages as wire
from flows.settings.model import Settings

START_US = 1_723_161_600_000_000
SYMBOLS = ("AAAUSDT", "BBBUSDT")
SECOND_US = 1_000_000


def of(symbols: Sequence[int], ids: Sequence[int], ts: Sequence[int], seed: int = 1) -> Frames:
    """Trades with these codes, ids and times; symbol, id and `seed` decide prices, quantities and sides."""
    code, number, times = np.array(symbols, np.int32), np.array(ids, np.int64), np.array(ts, np.int64)
    mixed = (number * 2_654_435_761 + code * 97 + seed * 7_919) % 1_000
    return Frames(
        code,
        number,
        times,
        np.round(100.0 + code + mixed * 0.01, 2),
        np.round(0.1 + mixed % 17 * 0.25, 2),
        mixed % 3 == 0,
        np.ones(len(number), np.int64),
        times,
        np.zeros(max(len(SYMBOLS), int(code.max(initial=0)) + 1), np.int64),
    )


def walk(
    n: int, code: int = 0, first_id: int = 1, start_us: int = START_US, step_us: int = SECOND_US
) -> Frames:
    """`n` trades of one symbol, one every `step_us`."""
    k = np.arange(n)
    return of([code] * n, (first_id + k).tolist(), (start_us + k * step_us).tolist())


def by_time(*parts: Frames) -> Frames:
    """All of them, sorted by time, symbol and id."""
    whole = join(parts, len(SYMBOLS))
    return whole.rows(np.lexsort((whole.id, whole.symbol, whole.ts)))


def same(a: Frames, b: Frames) -> bool:
    """Whether the rows are equal, apart from the times at which they were sent."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS if name != "event_ts")


def write(path: Path, trades: Frames, ids: bool = True) -> Path:
    """A file of these rows, in their order. The ending of its name decides the format; times are in µs."""
    if ".ndjson" in path.name:
        rows = [
            wire.encode_trades(SYMBOLS[trades.symbol[k]], trades.rows([k]), in_microseconds=True)[0]
            for k in range(len(trades))
        ]
        text = b"\n".join(rows) + b"\n"
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        return path
    columns = {
        "symbol": [SYMBOLS[code] for code in trades.symbol],
        "id": trades.id.tolist(),
        "price": trades.price.tolist(),
        "qty": trades.qty.tolist(),
        "time": trades.ts.tolist(),
        "is_buyer_maker": trades.is_buyer_maker.tolist(),
    }
    if not ids:
        del columns["id"]
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([",".join(columns), *rows]) + "\n")
    return path


def replayed(
    settings: Settings, batches: list[Frames], speed: float | None = None
) -> tuple[list[Feed], RecordingSource]:
    """What the source returns for trades in order, batch by batch."""
    source = RecordingSource(settings, batches, Stop(), speed)
    partition = source.build_part("trades", "recording", None)
    feeds = []
    while True:
        try:
            feeds += [feed for _, feed in partition.next_batch()]
        except StopIteration:
            return feeds, source
