"""Rows have one length, that of their times."""

import numpy as np

from flows.database.columns import Rows, Symbols


def test_the_length_of_rows_is_that_of_ts() -> None:
    columns = {"ts": np.array([1, 2, 3]), "symbol": Symbols(np.zeros(3, np.int32), ("BTCUSDT",))}
    assert len(Rows("health", columns)) == 3
    assert not len(Rows("health", {"ts": np.empty(0, np.int64)}))
