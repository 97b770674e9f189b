"""Recovery stores belong to a configuration; signals end a source; the tally tells episodes."""

import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from flows.columns import Rows, Symbols
from flows.config import Settings, decode
from flows.errors import UserError
from flows.rows import symbols
from flows.running import FINGERPRINT, Tally, forget_recovery, open_recovery, stopping_on_signals
from flows.source import Stop

PAIRS = "pairs: [[BTCUSDT, ETHUSDT]]\ndefaults: {{zscore: {{window: {window}}}}}\n"


def settings(directory: Path, window: int = 100) -> Settings:
    return decode(PAIRS.format(window=window), "pipeline.yaml", directory)


def test_a_store_is_made_once_and_opened_again_by_the_same_configuration(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    assert open_recovery(mine) is not None
    assert mine.recovery.dir is not None
    made = sorted(path.name for path in mine.recovery.dir.iterdir())
    assert FINGERPRINT in made
    assert open_recovery(mine) is not None
    assert sorted(path.name for path in mine.recovery.dir.iterdir()) == made


def test_a_store_of_another_configuration_is_refused_with_the_difference_and_the_way_out(tmp_path: Path) -> None:
    open_recovery(settings(tmp_path))
    other = settings(tmp_path, window=120)
    with pytest.raises(UserError, match=r"zscore\.window.*was 100, is 120.*--fresh"):
        open_recovery(other)
    forget_recovery(other)
    assert open_recovery(other) is not None


def test_costs_may_change_between_runs(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    open_recovery(mine)
    pair = msgspec.structs.replace(mine.pairs[0], costs=msgspec.structs.replace(mine.pairs[0].costs, fee_bps=5.0))
    assert open_recovery(msgspec.structs.replace(mine, pairs=(pair,))) is not None


def test_a_store_without_its_fingerprint_is_refused(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    open_recovery(mine)
    assert mine.recovery.dir is not None
    (mine.recovery.dir / FINGERPRINT).unlink()
    with pytest.raises(UserError, match="without fingerprint"):
        open_recovery(mine)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_stop_and_the_handlers_go_back(number: int) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stopping_on_signals(stop):
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
    assert signal.getsignal(number) is before


def test_the_tally_counts_rows_and_tells_the_last_episode() -> None:
    tally = Tally()
    ts = np.array([60_000_000, 120_000_000])
    columns = {
        "ts": ts,
        "rule": symbols(["z high", "z high"]),
        "subject": symbols(["A-B", "A-B"]),
        "timeframe": Symbols(np.zeros(2, np.int32), ("1m",)),
        "value": np.array([2.5, 2.6]),
        "active": np.array([True, True]),
        "episode": np.array([60_000_000, 60_000_000]),
    }
    tally.count(Rows("alerts", columns))
    assert (tally.rows["alerts"], tally.episodes) == (2, 1)
    assert "z high A-B 1m 2.50 at 1970-01-01T00:01:00Z" in tally.last_episode
