"""Two sides of a benchmark in turn, and the ratio of each pair of runs."""

import statistics
import time
from collections.abc import Callable

import msgspec


class Result(msgspec.Struct, frozen=True):
    """`ours` and `peer` are medians in `unit`; `ratio` is the median of ours / peer run by run, `low` and
    `high` the extremes.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    low: float
    high: float
    unit: str


def compare(
    name: str,
    unit: str,
    amount: int,
    ours: Callable[[], object],
    peer: Callable[[], object],
    runs: int,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run both once uncounted, then `runs` times in turn; `amount` is what each run gets through."""
    say(f"{name}: a run of each that does not count, then {runs}")
    ours()
    peer()
    pairs = []
    for run in range(1, runs + 1):
        a, b = rate(ours, amount), rate(peer, amount)
        pairs.append((a, b))
        say(f"run {run} of {runs}: {a:,.0f} {unit}, peer {b:,.0f}: {a / b:.1f} times")
    ratios = [a / b for a, b in pairs]
    return Result(
        name,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        unit,
    )


def rate(run: Callable[[], object], amount: int) -> float:
    began = time.perf_counter()
    run()
    return amount / (time.perf_counter() - began)
