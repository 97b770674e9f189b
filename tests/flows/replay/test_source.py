import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.feed.feed import Feed
from flows.feed.frames import Frames
from flows.replay.source import BARS_AT_ONCE, RecordingSource, Summary
from flows.runtime.stop import Stop
from flows.settings.decoding import load
from flows.settings.model import Settings
from tests.flows.replay.recorded import SECOND_US, START_US, SYMBOLS, by_time, of, replayed, walk

CONFIGURATION = f"source: {{symbols: [{', '.join(SYMBOLS)}]}}\nbars: {{timeframes: [1s, 1m]}}\npairs: []\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "pipeline.yaml").write_text(CONFIGURATION)
    return load(tmp_path / "pipeline.yaml", {})


def told(feeds: list[Feed]) -> list[tuple[int, int, int, bool]]:
    """All trades: symbol, id, time, and whether a hole comes before."""
    return [
        row
        for feed in feeds
        for row in zip(
            *(getattr(feed.trades, name).tolist() for name in ("symbol", "id", "ts", "after_hole")),
            strict=True,
        )
    ]


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_recording_gives_the_same_whatever_its_batches(settings: Settings, size: int) -> None:
    trades = by_time(walk(50), walk(30, 1, step_us=1_700_000))
    feeds, _ = replayed(settings, [trades.rows(slice(k, k + size)) for k in range(0, len(trades), size)])
    expected = [
        (s, i, ts, i == 1)
        for s, i, ts in zip(trades.symbol.tolist(), trades.id.tolist(), trades.ts.tolist(), strict=True)
    ]
    assert told(feeds) == expected
    newest = START_US + 49 * SECOND_US
    assert feeds[-1].trades.watermark.tolist() == [
        newest,
        max(START_US + 29 * 1_700_000, newest - settings.source.quiet_us),
    ]


def test_a_recording_at_a_speed_gives_the_same(settings: Settings) -> None:
    trades = by_time(walk(50), walk(30, 1, step_us=1_700_000))
    assert told(replayed(settings, [trades], speed=1_000.0)[0]) == told(replayed(settings, [trades])[0])


@pytest.mark.parametrize("pause_us", [30 * 3_600 * SECOND_US, 40 * 86_400 * SECOND_US])
def test_however_long_a_pause_a_batch_closes_so_many_bars_only(settings: Settings, pause_us: int) -> None:
    trades = by_time(of([0] * 5, range(1, 6), [START_US + k * pause_us for k in range(5)]), walk(3, 1))
    feeds, _ = replayed(settings, [trades])
    assert [row[1] for row in told(feeds) if row[0] == 0] == [1, 2, 3, 4, 5]
    watermarks = np.array([feed.trades.watermark for feed in feeds])
    begun = watermarks[(watermarks > 0).all(axis=1)]
    assert (
        np.diff(begun, axis=0).max() <= (BARS_AT_ONCE / 2 + 4) * SECOND_US
        and (np.diff(begun, axis=0) >= 0).all()
    )


def test_no_trade_comes_behind_the_watermark_of_its_symbol(settings: Settings) -> None:
    trades = by_time(walk(300, step_us=400_000), walk(9, 1, step_us=13_000_000))
    feeds, _ = replayed(settings, [trades.rows(slice(k, k + 10)) for k in range(0, len(trades), 10)])
    watermark = np.zeros(2, np.int64)
    for feed in feeds:
        assert (feed.trades.ts >= watermark[feed.trades.symbol]).all()
        watermark = np.maximum(watermark, feed.trades.watermark)


def test_a_stop_ends_a_recording(settings: Settings) -> None:
    stop = Stop()
    partition = RecordingSource(settings, [walk(5)], stop).build_part("trades", "recording", None)
    stop.set()
    with pytest.raises(StopIteration):
        partition.next_batch()


def test_what_is_left_out_is_counted_once_each_reason_apart(settings: Settings) -> None:
    trades = replace(walk(5), rejected=np.array([3, 1]), unreadable=2, foreign=7)
    trades.reasons.update(price=1, time=3, duplicate=5)
    feeds, source = replayed(settings, [trades], speed=20.0)
    source.summary.count(walk(1))
    assert sum(feed.trades.id.size for feed in feeds) == 5
    assert source.summary.left_out() == (
        " (left out: 4 rejected for an impossible value: 1 price, 3 time; 5 duplicates; 7 foreign (other "
        "symbols or events); 2 unreadable lines)"
    )


def test_health_counts_what_was_rejected(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1_000))
    monkeypatch.setattr("flows.replay.source.wall_us", lambda: next(seconds) * SECOND_US)
    feeds, _ = replayed(settings, [replace(walk(5), rejected=np.array([3, 1]))], speed=20.0)
    assert sum(int(np.sum(feed.health.columns["rejected"])) for feed in feeds) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last_us", "unfinished"), [(0, "4 (2 of 1s, 2 of 1m)"), (SECOND_US // 2, "4 (2 of 1s, 2 of 1m)")]
)
def test_bars_that_the_end_cuts_off_are_told(settings: Settings, last_us: int, unfinished: str) -> None:
    trades = by_time(walk(61, start_us=START_US + last_us), walk(61, 1, start_us=START_US + last_us))
    _, source = replayed(settings, [trades])
    assert (
        source.summary.cut_off() == f"left out, bars that are unfinished at the recordings' end: {unfinished}"
    )


def test_a_quiet_symbol_whose_bars_are_over_has_none_cut_off(settings: Settings) -> None:
    """Its watermark ends 3 s before the other symbol's last trade: exactly at a whole minute."""
    trades = by_time(walk(64), walk(2, 1))
    _, source = replayed(settings, [trades])
    assert source.summary.unfinished == {"1s": 1, "1m": 1}


def test_a_recording_that_waits_for_its_time_does_not_spin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += max(seconds, 0.001)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    feeds, _ = replayed(settings, [walk(3)], speed=10.0)
    assert len(told(feeds)) == 3 and len(waits) <= 20 and max(waits) <= 0.05


def test_what_is_no_trade_of_the_market_is_counted_apart() -> None:
    summary = Summary()
    summary.count(replace(Frames.none(2), off_market=2, unreadable=1))
    assert summary.left_out() == " (left out: 2 not of the market (X is not MARKET); 1 unreadable lines)"
