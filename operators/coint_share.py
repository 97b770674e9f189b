"""How often a pair passed the cointegration test of late, and whether that makes it stationary.

    coint_share = tests with p < 0.05 among the last 20 / 20        stationary = coint_share ≥ 0.5
    broken = tests in a row that were not passed, since a pair that was stationary

A single p < 0.05 proves nothing: of unrelated walks, 97 % have one within 120 tests, but 1 of 80 is
stationary by this rule.

Shapes: a row is one test: `pair` int64 (n,), an index 0 … pairs − 1, the same one may come again within a
batch; `number` int64 (n,), which of its tests it is, each one more than the one before; `pvalue` float64
(n,). Results: `coint_share` float64, `stationary` bool and `broken` float64 (n,). A test whose number is not
above that of the pair's newest takes its place and that of all after it, as if those had not been: windows
that a late trade changed are tested again. So far back that is not among the last `again` tests, the flags
before it are gone.

Undefined (NaN, false): fewer than 20 tests exist; `broken` of a pair that has never been stationary, as there
is nothing to be lost. An undefined p-value counts as not passed, but for those before the first defined one,
when the window was not yet full.

Reference: none; the figures above are from simulated walks, tested every 30 bars.

>>> shares = CointShares(pairs=1)
>>> pvalue = np.array([0.01] * 11 + [0.5] * 9 + [np.nan])
>>> share, stationary, broken = shares.update(np.zeros(21, np.int64), np.arange(21), pvalue)
>>> share[-3:].round(2).tolist(), stationary[-3:].tolist(), broken[-3:].tolist()
([nan, 0.55, 0.5], [False, True, True], [nan, 9.0, 10.0])
"""

from typing import NamedTuple

import numpy as np

from operators.columns import NEVER, Flags, Floats, Longs
from operators.compiled import compiled

TESTS = 20
PASSED_PVALUE = 0.05
STATIONARY_SHARE = 0.5


class Shares(NamedTuple):
    """After each test. Shapes (n,)."""

    coint_share: Floats
    stationary: Flags
    broken: Floats


class CointShares:
    """State of each pair: of its last 20 + `again` tests whether they were passed, how many in a row up to
    each were not, and whether it had been stationary; how many tests there were, and the newest one's number.
    Pickles.
    """

    def __init__(self, pairs: int, again: int = 0) -> None:
        shape = (pairs, TESTS + again)
        self.passed: Flags = np.zeros(shape, np.bool_)
        self.failed: Longs = np.zeros(shape, np.int64)
        self.proven: Flags = np.zeros(shape, np.bool_)
        self.tests: Longs = np.zeros(pairs, np.int64)
        self.newest: Longs = np.full(pairs, NEVER)

    def update(self, pair: Longs, number: Longs, pvalue: Floats) -> Shares:
        """How often each pair passed, after each test in the order given."""
        share, broken = np.full((2, len(pair)), np.nan)
        _count(
            self.passed,
            self.failed,
            self.proven,
            self.tests,
            self.newest,
            pair,
            number,
            pvalue,
            share,
            broken,
        )
        return Shares(share, share >= STATIONARY_SHARE, broken)


@compiled()
def _count(
    passed: Flags, failed: Longs, proven: Flags, tests: Longs, newest: Longs,
    pair: Longs, number: Longs, pvalue: Floats, share: Floats, broken: Floats,
) -> None:  # fmt: skip
    room = passed.shape[1]
    for row in range(len(pair)):
        k = pair[row]
        if number[row] <= newest[k]:
            tests[k] = max(tests[k] - (newest[k] - number[row] + 1), 0)
        newest[k] = number[row]
        if tests[k] == 0 and np.isnan(pvalue[row]):
            continue
        now, before = tests[k] % room, (tests[k] - 1) % room
        first = tests[k] == 0
        passed[k, now] = pvalue[row] < PASSED_PVALUE
        failed[k, now] = 0 if passed[k, now] else (0 if first else failed[k, before]) + 1
        proven[k, now] = not first and proven[k, before]
        tests[k] += 1
        if tests[k] >= TESTS:
            found = 0
            for back in range(1, TESTS + 1):
                found += passed[k, (tests[k] - back) % room]
            share[row] = found / TESTS
            proven[k, now] |= share[row] >= STATIONARY_SHARE
        if proven[k, now]:
            broken[row] = failed[k, now]
