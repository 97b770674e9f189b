"""The registry of methods: every way to estimate a pair's hedge ratio, each stated once.

What pipeline.yaml accepts under `hedge`, the settings, the fingerprint of a run, what is measured, the names
in the column `method` and the tables in docs/statistics.md follow from `METHODS`. To add a method, write its
formula in a file of its own and add an entry at the end.

Functions are named, not imported: settings, and processes that compute nothing, need the names without the
compiled kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

LONGEST_WINDOW: Final = 100_000  # bars: more than a day of 1s; anything longer is a typing error
# Lags of a test: with more, one on 100,000 rows takes longer than 50 ms. Schwert's rule asks for 68 there.
MOST_LAGS: Final = 200
OLS: Final = "ols"  # the method whose residuals the Engle–Granger test has its critical values for


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that one method has: `hedge.NAME` in pipeline.yaml, one number or one per timeframe.

    The method's function gets it as a keyword argument of that name, an array with one entry per task.
    """

    name: str
    kind: type[int] | type[float]
    least: float
    most: float
    default: float
    meaning: str  # for the documentation, with the unit


@dataclass(frozen=True, slots=True)
class Method:
    """One method. `function` is `module.name` within operators/.

    It is called as `function(values, y, x, end, window, **options)`, as rolling_ols is, and returns a named
    tuple with some of the fields of kalman.Filtered; what it leaves out is NULL. A method that `remembers` is
    a class: `function(pairs, timeframe)` is built once, and `update(values, pair, y, x, end, window, ts,
    **options)` is called with rows in time order, as HedgeKalman's is. It pickles.
    """

    name: str
    function: str
    line: str  # for the documentation: which line it calls the best one,
    error: str  # what `hedge_ratio_se` is (– where it has none),
    equal_to: str  # what it is tested against,
    use: str  # and when to use it
    log_prices_only: bool = False  # it mixes the units of both legs
    longest_window: int = LONGEST_WINDOW  # rows: what is measured at every bar must take less than 50 ms
    remembers: bool = False
    options: tuple[Option, ...] = ()

    @property
    def fit(self) -> Callable[..., Any]:
        return _imported(self.function)


@cache
def _imported(function: str) -> Callable[..., Any]:
    module, name = function.split(".")
    found: Callable[..., Any] = getattr(import_module(f"operators.{module}"), name)
    return found


METHODS: Final = {
    method.name: method
    for method in (
        Method(
            name=OLS,
            function="hedge_ratio.rolling_ols",
            line="Sxy/Sxx",
            error="√(s²/Sxx), s² = Σe²/(n−2)",
            equal_to="`statsmodels.OLS`",
            use="nothing speaks against it",
        ),
        Method(
            name="kalman",
            function="kalman.HedgeKalman",
            line="state of a filter whose β wanders at the window's pace",
            error="√P_ββ",
            equal_to="the textbook recursion",
            use="β drifts, and a window is too slow",
            remembers=True,
        ),
        Method(
            name="huber",
            function="huber.rolling_huber",
            line="least squares with far rows discounted, k = 1.345, MAD scale",
            error="H1 of Huber (1973)",
            equal_to="`statsmodels.RLM`, HuberT, run to its end",
            use="single rows are wild",
        ),
        Method(
            name="theil_sen",
            function="theil_sen.rolling_theil_sen",
            line="median of the slopes of all pairs of rows",
            error="–",
            equal_to="`scipy.stats.theilslopes`",
            use="up to 29 % of the rows are wild; `hedge.window` up to 30,000",
            longest_window=30_000,
        ),
        Method(
            name="tls",
            function="total_least_squares.rolling_tls",
            line="perpendicular distances least",
            error="–",
            equal_to="the first principal axis",
            use="neither leg is the noisy one; log prices only",
            log_prices_only=True,
        ),
        Method(
            name="ewls",
            function="ewls.rolling_ewls",
            line="least squares, the weight of a row halved every `hedge.half_life` bars",
            error="√(Σw·e²/(n−2)/Σw·(x−x̄)²)",
            equal_to="`statsmodels.WLS`",
            use="what was long ago should fade instead of leaving all at once",
            options=(
                Option(
                    "half_life",
                    int,
                    1,
                    LONGEST_WINDOW,
                    300,
                    "bars until a row weighs half; `hedge.window` bounds the rows",
                ),
            ),
        ),
    )
}
OPTIONS: Final = {option.name: (method, option) for method in METHODS.values() for option in method.options}
