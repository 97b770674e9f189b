"""Row 27: 10⁶ bars at price 10⁵, and at log-price sd 10⁻⁵; a bad tick of 10⁹ that leaves the window.

docs/faults.md says what Pairflow promises in this case.
"""

import random

import numpy as np
import pytest

from operators.columns import SECOND_US
from operators.measures import Measurer
from tests.faults.numbers import HEDGE, MEASURED, SPEC, bars, measured, two_pass, walks

BARS = 1_000_000
BATCH = 50_000
BAD_TICK = 1e9


@pytest.mark.parametrize("sd", [1e-3, 1e-5])
def test_after_a_million_bars_the_error_is_below_1e_9(sd: float, chance: random.Random) -> None:
    closes = walks(1, BARS, sd / 30)
    bad = BARS - 20_000
    closes[0, bad] = BAD_TICK
    measurer = Measurer(2, SECOND_US, [SPEC])
    kept = []
    for start in range(0, BARS, BATCH):
        signals = measurer.update(bars(closes[:, start : start + BATCH], start)).signals
        if start >= BARS - BATCH:
            kept = [getattr(signals, name) for name in MEASURED]
    found = dict(zip(MEASURED, kept, strict=True))
    ends = [BARS, bad, bad + HEDGE + 1, *(chance.randrange(bad + HEDGE + 1, BARS) for _ in range(50))]
    for end in ends:
        expected = two_pass(closes[:, end - 2 * HEDGE : end])
        for name, number in expected.items():
            assert found[name][end - 1 - (BARS - BATCH)] == pytest.approx(number, rel=1e-9, abs=1e-9), (
                name,
                end,
            )


def test_a_restart_changes_no_bit(chance: random.Random) -> None:
    closes = walks(2, 3_000, 1e-5)
    closes[1, 1_000] = BAD_TICK
    never = measured(closes)
    restarted = measured(closes, tuple(sorted(chance.sample(range(1, 3_000), 8))))
    for name in MEASURED:
        assert np.array_equal(never[name].view(np.int64), restarted[name].view(np.int64)), name
