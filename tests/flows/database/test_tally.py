"""The tally counts rows and reports episodes."""

import numpy as np

from flows.database.columns import Rows, Symbols
from flows.database.rows import symbols
from flows.database.tally import Tally


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
