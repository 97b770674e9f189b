"""Row 16: one leg has no trades for 10 min.

docs/faults.md says what Pairflow promises in this case.
"""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from flows.database.connection import Endpoint
from flows.sandbox.background import background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.conftest import emptied
from tests.faults.stage import (
    SPEED,
    START_US,
    Tables,
    live,
    records,
    replay,
    same,
    settings_for,
    tables,
    trades_of,
)

FROM_S, TO_S = 20, 75  # longer than every window of the timeframe 1s
STALE_S = 10


@pytest.fixture(scope="module")
def quiet(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording without trades of the second leg between FROM_S and TO_S. Its ids have no gap."""
    lines, missing = [], 0
    for line in gzip.decompress(recording.read_bytes()).splitlines():
        message = json.loads(line)
        event = message["data"]
        if event["s"] == "ETHUSDT":
            us = event["T"] if event["T"] > 10**14 else event["T"] * 1_000
            if START_US + FROM_S * SECOND_US <= us < START_US + TO_S * SECOND_US:
                missing += 1
                continue
            event["t"] -= missing
        lines.append(json.dumps(message).encode())
    path = tmp_path_factory.mktemp("quiet") / "quiet.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def patient(settings: Settings) -> Settings:
    """The settings, with a `source.stale` that is shorter than the silence."""
    return msgspec.structs.replace(
        settings, sources=(msgspec.structs.replace(settings.source, stale_us=STALE_S * SECOND_US),)
    )


def test_its_bars_have_volume_0_its_statistics_are_null_and_live_equals_replayed(
    quiet: Path, database: Endpoint, tmp_path: Path
) -> None:
    replay([trades_of(quiet)], patient(settings_for(None, database, tmp_path)), database)
    r: Tables = tables(database)
    emptied(database)
    with (
        background(paths=[quiet], speed=SPEED) as exchange,
        live(patient(settings_for(exchange, database, tmp_path)), database) as line,
    ):
        line.has(len(r["trades"]))
    found = tables(database)
    same(found, r)

    def during(table: str, after_s: float, **of: object) -> list[dict[str, object]]:
        start, end = START_US + (FROM_S + after_s) * SECOND_US, START_US + (TO_S - 1) * SECOND_US
        return [row for row in records(found[table], table, timeframe="1s", **of) if start <= row["ts"] < end]

    bars = during("bars", 1, symbol="ETHUSDT")
    assert len(bars) == TO_S - FROM_S - 2
    assert all(
        bar["volume"] == bar["trades"] == 0 and bar["vwap"] is None and bar["complete"] for bar in bars
    )
    assert len({bar[name] for bar in bars for name in ("open", "high", "low", "close")}) == 1
    flat = during("signals", 42)
    assert len(flat) > 10
    assert {row[name] for row in flat for name in ("hedge_ratio", "r2", "zscore", "correlation")} == {None}
    after = records(found["signals"], "signals", timeframe="1s")[-1]
    assert None not in (after["hedge_ratio"], after["zscore"], after["correlation"])
    before = {
        row["stale"]
        for row in during("signals", 0)
        if row["ts"] < START_US + (FROM_S + STALE_S - 1) * SECOND_US
    }
    assert (before, {row["stale"] for row in during("signals", STALE_S + 2)}, after["stale"]) == (
        {False},
        {True},
        False,
    )
    opened = [
        row
        for row in during("alerts", STALE_S + 2)
        if row["metric"] in ("zscore", "correlation") and row["episode"] == row["ts"]
    ]
    assert not opened
    assert all(row["stale"] for row in during("alerts", STALE_S + 3, subject="ETHUSDT-BTCUSDT"))
    stale = [
        row for row in records(found["alerts"], "alerts", rule="stale", subject="ETHUSDT") if row["active"]
    ]
    assert stale, "and its silence is told"
