"""Row 26: a flat window.

docs/faults.md says what Pairflow promises in this case.
"""

import numpy as np
import pytest

from tests.faults.numbers import HEDGE, WINDOW, measured, walks

FROM, TO = 300, 420


@pytest.mark.parametrize("flat", [[0], [1], [0, 1]], ids=["y", "x", "both"])
def test_statistics_are_undefined_while_their_window_is_flat_and_are_those_of_a_fresh_start_afterwards(
    flat: list[int],
) -> None:
    closes = walks(1, 800)
    for leg in flat:
        closes[leg, FROM:TO] = closes[leg, FROM]
    found = measured(closes)
    of_hedge, of_window = slice(FROM + HEDGE, TO), slice(FROM + WINDOW + 1, TO)
    for name in ("hedge_ratio", "r2", "spread_std", "zscore"):
        assert np.isnan(found[name][of_hedge]).all(), name
    assert np.isnan(found["correlation"][of_window]).all()
    after = slice(TO + HEDGE, None)
    fresh = measured(closes[:, TO:])
    for name, column in found.items():
        assert np.isfinite(column[after]).all(), name
        assert np.array_equal(column[after], fresh[name][HEDGE:]), name
