"""What is measured on one timeframe: structs of numpy arrays, one entry per row of a table.

Signals, Cointegration, Activity (activity.py) and Watched are the rows of their tables: each field is the
column of that name and stands in the table's order, but for those marked UNSTORED, which operators need and
the database does not. A column that is added to a table is added here.
"""

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np

from operators.activity import Activity
from operators.columns import UNSTORED, Bars, Codes, Flags, Floats, Longs


@dataclass(frozen=True, slots=True)
class Signals:
    """One row per panel row where both legs have a close, and method. Shapes (n,); NaN where undefined."""

    pair: Codes
    method: Codes  # index into the pair's methods
    ts: Longs
    hedge_ratio: Floats
    intercept: Floats
    r2: Floats
    spread: Floats
    spread_mean: Floats
    spread_std: Floats
    deviation: Floats
    zscore: Floats
    edge_bps: Floats
    correlation: Floats
    complete: Flags  # every bar of both legs in the windows is complete
    hedge_ratio_se: Floats
    innovation_z: Floats
    stale: Flags  # a leg is stale
    incomplete: Annotated[
        Floats, UNSTORED
    ]  # share of rows with an incomplete bar of a leg, in the worst of the hedge, zscore, correlation windows
    newest_incomplete: Annotated[Flags, UNSTORED]  # the newest bar of a leg is incomplete


@dataclass(frozen=True, slots=True)
class Cointegration:
    """One row per test and method. Shapes (n,); NaN, and NEVER lags, where undefined."""

    pair: Codes
    method: Codes
    ts: Longs
    adf_stat: Floats
    adf_pvalue: Floats
    adf_lags: Longs
    coint_stat: Floats
    coint_pvalue: Floats
    coint_share: Floats
    half_life: Floats
    stationary: Flags
    coint_pvalue_reversed: Floats
    johansen_trace: Floats
    johansen_max_eig: Floats
    shin_stat: Floats
    variance_ratio: Floats
    broken: Annotated[Floats, UNSTORED]
    # share of rows of the `adf` window in which a leg's bar is incomplete
    incomplete: Annotated[Floats, UNSTORED]

    @classmethod
    def none(cls) -> "Cointegration":
        """No rows."""
        kinds: dict[object, type] = {Codes: np.int32, Longs: np.int64, Flags: np.bool_}
        return cls(*(np.zeros(0, kinds.get(column.type, np.float64)) for column in fields(cls)))

    def rows(self, chosen: Flags) -> "Cointegration":
        """The chosen rows."""
        return Cointegration(*(getattr(self, column.name)[chosen] for column in fields(self)))

    def and_then(self, others: "Cointegration") -> "Cointegration":
        """These rows, and the others after them."""
        return Cointegration(
            *(
                np.concatenate((getattr(self, column.name), getattr(others, column.name)))
                for column in fields(self)
            )
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """What one batch of bars of one timeframe led to."""

    timeframe: int  # µs
    bars: Bars  # without those that are too old to be measured again
    signals: Signals
    tests: Cointegration
    activity: Activity
    settled: int  # µs, no row that opens before will be measured again


@dataclass(frozen=True, slots=True)
class Watched:
    """Rows of the alerts table. Shapes (n,)."""

    alert: Annotated[Codes, UNSTORED]  # index among all alerts of the settings
    ts: Longs  # event time of the decision: the close of the bar
    value: Floats
    active: Flags
    episode: Longs  # µs of its opening, NEVER when none
    coint_pvalue: Floats  # of the pair's newest test; NaN for a symbol
    complete: Flags  # every bar of the windows that the decision looked at
    edge_bps: Floats  # of the pair's first method, on the bar that decided; NaN for a symbol
    stale: Flags  # a leg, or the symbol, was stale on that bar
