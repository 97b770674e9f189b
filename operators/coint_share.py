"""How often a pair passed its recent cointegration tests, and whether that makes it stationary.

    coint_share = number of tests with p < 0.05 among the last 20 / 20        stationary = coint_share ≥ 0.5
    broken = number of failed tests in a row, for a pair that has been stationary before

A single p < 0.05 proves nothing: 97 % of unrelated walks have one within 120 tests, but only 1 of 80 is
stationary by this rule.

Shapes: a row is one test. `pair` is int64 (n,), an index 0 … pairs − 1, which may repeat within a batch.
`number` is int64 (n,), the number of the test for its pair, each one more than the one before. `pvalue` is
float64 (n,). Results: `coint_share` float64, `stationary` bool and `broken` float64, all (n,).

A test whose number is not above that of the pair's newest test replaces that test and all after it: windows
that a late trade changed are tested again. Only the last `again` tests can be replaced; flags of earlier
tests are no longer kept.

Undefined (NaN, False): the pair has had fewer than 20 tests; `broken` also for a pair that has never been
stationary. An undefined p-value counts as a failed test, except before the pair's first defined p-value, when
the window was not full yet.

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
    """The state after each test. Shapes (n,)."""

    coint_share: Floats
    stationary: Flags
    broken: Floats


class CointShares:
    """The last 20 + `again` tests of each pair. Pickles.

    For each test: whether it was passed, how many tests in a row up to it failed, and whether the pair had
    been stationary by then. For each pair: the number of tests so far, and the number of the newest one.
    """

    def __init__(self, pairs: int, again: int = 0) -> None:
        shape = (pairs, TESTS + again)
        self.passed: Flags = np.zeros(shape, np.bool_)
        self.failed: Longs = np.zeros(shape, np.int64)
        self.proven: Flags = np.zeros(shape, np.bool_)
        self.tests: Longs = np.zeros(pairs, np.int64)
        self.newest: Longs = np.full(pairs, NEVER)

    def update(self, pair: Longs, number: Longs, pvalue: Floats) -> Shares:
        """The shares after each test, in the order given."""
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
