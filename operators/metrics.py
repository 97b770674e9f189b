"""The registry of metrics: every number that an alert rule may watch, each stated once.

Which rules pipeline.yaml accepts, the settings, when an episode may open, the column `method` of the table
`alerts`, the words of a message and the table in docs/statistics.md follow from `METRICS`. To add a metric
whose column exists already, add an entry and a row in the docs.
"""

from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from operators.methods import OLS

PAIR, SYMBOL = "pair", "symbol"  # subjects
SIGNALS, TESTS, ACTIVITY, BARS = "signals", "cointegration", "activity", "bars"  # tables
ABOVE, BELOW, OUTSIDE = 1, -1, 0
# of the threshold; there a value opens an episode
SIDES: Final = {"above": ABOVE, "below": BELOW, "outside": OUTSIDE}
# What must be complete before an episode opens: nothing; the newest bar of each leg; or also the windows of
# the row.
NOTHING, NEWEST_BAR, WINDOWS = "nothing", "the newest bar", "its windows"


class Level(NamedTuple):
    """Which thresholds make sense: what to call them, and the open interval that they lie in.

    With `closed`, `least` itself belongs to it.
    """

    what: str
    least: float = -inf
    most: float = inf
    closed: bool = False
    outside: str = ""  # what to call the threshold of `outside`, where that is not "`what` and > 0"

    def accepts(self, level: float) -> bool:
        return self.least < level < self.most or (self.closed and level == self.least)


PROBABILITY: Final = Level("a number between 0 and 1", 0.0, 1.0)
POSITIVE: Final = Level("a number > 0", 0.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: the newest value of a column of a table, of a pair or a symbol.

    A column of `cointegration` stands from one test to the next, and an episode opens only if the test's
    window is complete, too.
    """

    name: str
    subject: str
    table: str
    column: str
    level: Level
    unit: str  # for the documentation
    meaning: str
    method: str = ""  # of the pair's, the one whose rows it is on; empty: the first one listed
    signed: bool = False  # `outside` means something
    only_above: str = ""  # why `below` means nothing, where that is so
    complete: str = WINDOWS
    not_while_stale: bool = False  # it is a statement about prices now: no episode opens while a leg is stale
    says_which_leg: bool = False  # above 0 y is dear relative to x
    one_subject: bool = False  # a rule must name its subject: one threshold for all of them makes no sense
    # by default, rules of high priority open only while the pair is stationary
    strict_when_high: bool = False

    @property
    def tested(self) -> bool:
        """Whether it waits for a test."""
        return self.table == TESTS

    @property
    def of_every_bar(self) -> bool:
        """Whether the shortest timeframe is the usual one: a minute's delay would only make it older."""
        return self.table == BARS

    @property
    def sides(self) -> tuple[str, ...]:
        return (
            ("above",)
            if self.only_above
            else ("above", "below", "outside")
            if self.signed
            else ("above", "below")
        )


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric(
            "zscore", PAIR, SIGNALS, "zscore", Level("a finite number", outside="a number > 0"), "standard deviations",
            "how far the spread is from its mean",
            signed=True, not_while_stale=True, says_which_leg=True, strict_when_high=True,
        ),
        Metric(
            "correlation", PAIR, SIGNALS, "correlation", Level("a number between -1 and 1", -1.0, 1.0), "–",
            "how far the legs move together",
            signed=True, not_while_stale=True,
        ),
        Metric("adf_pvalue", PAIR, TESTS, "adf_pvalue", PROBABILITY, "–", "p-value of the Dickey–Fuller test on the spread"),
        Metric("coint_pvalue", PAIR, TESTS, "coint_pvalue", PROBABILITY, "–", "p-value of the Engle–Granger test", method=OLS),
        Metric(
            "broken", PAIR, TESTS, "broken", Level("a number of tests ≥ 0", 0.0, closed=True), "tests",
            "Engle–Granger tests in a row that a pair has not passed since it was stationary; NULL if it never was",
            method=OLS,
        ),
        Metric(
            "edge_bps", PAIR, SIGNALS, "edge_bps", Level("a finite number"), "basis points of y",
            "what the spread's return to its mean would leave after a round trip's costs; below 0 nothing",
            not_while_stale=True,
        ),
        Metric(
            "half_life", PAIR, TESTS, "half_life", Level("a number of bars > 0", 0.0), "bars",
            "bars until half of a deviation is expected to be gone; unrelated walks have one, too: use `only_stationary: true`",
        ),
        Metric("price", SYMBOL, BARS, "close", POSITIVE, "quote asset", "the close", complete=NEWEST_BAR, one_subject=True),
        Metric("volume_ratio", SYMBOL, ACTIVITY, "volume_ratio", POSITIVE, "–", "volume over the mean of the 120 bars before"),
        Metric("volatility_ratio", SYMBOL, ACTIVITY, "volatility_ratio", POSITIVE, "–", "volatility of 20 returns over that of 120"),
        Metric(
            "staleness", SYMBOL, BARS, "trades", Level("seconds or a duration such as 30s, > 0", 0.0), "s",
            "time from the close of the last bar with trades to the close of the newest bar",
            only_above="a feed is stale when no trade has come for longer than that", complete=NOTHING,
        ),
    )
}  # fmt: skip
