"""Hedge ratio by a Kalman filter: α and β wander, and every row corrects them by what it adds to the
estimate.

With y and x centred on the means of the filter's first `window` rows, state (α, β), and observation
y_t = α + β·x_t + noise of variance R:

    P ← P + Q                        Q = q·diag(R, R/var x), q = (2/window)²: the pace of the window
    e = y − α − β·x,   S = (1, x)·P·(1, x)ᵀ + R            innovation_z = e/√S
    K = P·(1, x)ᵀ/S,   (α, β) ← (α, β) + K·e,   P ← (I − K·(1, x))·P·(I − K·(1, x))ᵀ + K·R·Kᵀ

The filter begins with the least-squares line of those first rows and its covariance. R is the variance of its
residuals (n − 2), var x that of x (n − 1). R and Q do not change afterwards.

Shapes: `values` is float64 (symbols, T), f(close) with the newest column last. Task k is filter `filter[k]`
at column `end[k]` − 1, whose time is `ts[k]`, on rows `y[k]` and `x[k]`. The tasks of a filter come in time
order, one per column. Results are float64 (K,), in the units of rolling_ols. `hedge_ratio_se` is √P_ββ; r² is
that of the current line on the window's rows (it may be negative); `innovation_z` has no unit.

Undefined (NaN): everything until the first window that is full and finite and in which x varies and the line
leaves a residual; `innovation_z` of that first row; r² of a window in which y does not vary. Afterwards, a
row that is not finite does not change the state.

Unlike every other operator, the filter remembers where it began. Two filters that began at different times
agree only as that memory fades, by (1 − 2/window) a row. A row may come again with other numbers, together
with the rows after it; the last `REMEMBERED` states of each filter are kept for that.

References: Harvey, Forecasting, Structural Time Series Models and the Kalman Filter (1989), ch. 3; Chan,
Algorithmic Trading (2013), ch. 3.

>>> closes = np.array([[1.0, 3.0, 4.0, 7.0], [0.0, 1.0, 2.0, 3.0]])
>>> kalman, two = HedgeKalman(filters=1, step=1), np.zeros(2, np.int64)
>>> slope, _, _, se, z = kalman.update(closes, two, two, two + 1, np.array([3, 4]), two + 3, np.array([3, 4]))
>>> slope.round(4).tolist(), se.round(4).tolist(), z.round(4).tolist()
([1.5, 1.9533], [0.2887, 0.2244], [nan, 1.3856])
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from operators.columns import NEVER, Floats, Longs
from operators.compiled import compiled
from operators.rounding import ROUNDING, mean_of
from operators.window import centred, legs, moves

REMEMBERED = 301  # states kept per filter: one for each bar that may be measured again, and the one before
CENTRE_Y, CENTRE_X, NOISE, WANDER_A, WANDER_B = range(5)  # the constants of a filter
A, B, P_AA, P_AB, P_BB = range(5)  # its state after a row


class Filtered(NamedTuple):
    """Each task's line, the standard error of its slope, and the newest innovation. Shapes (K,)."""

    hedge_ratio: Floats
    intercept: Floats
    r2: Floats
    hedge_ratio_se: Floats
    innovation_z: Floats


@dataclass(slots=True)
class HedgeKalman:
    """Filters, each for one pair. Pickles.

    State: 5 constants per filter, and its last `REMEMBERED` states with their times.
    """

    filters: int
    step: int  # between columns, in the unit of `ts`
    constants: Floats = field(init=False)  # (filters, 5)
    states: Floats = field(init=False)  # (filters, REMEMBERED, 5)
    times: Longs = field(init=False)  # (filters, REMEMBERED) of the states; NEVER where a slot is empty

    def __post_init__(self) -> None:
        self.constants = np.full((self.filters, 5), np.nan)
        self.states = np.full((self.filters, REMEMBERED, 5), np.nan)
        self.times = np.full((self.filters, REMEMBERED), NEVER)

    def __getstate__(self) -> tuple[Any, ...]:
        """Without the filters that have not begun: those of pairs with other methods never do."""
        begun = np.flatnonzero((self.times != NEVER).any(axis=1))
        return self.filters, self.step, begun, self.constants[begun], self.states[begun], self.times[begun]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.filters, self.step, begun, constants, states, times = state
        self.__post_init__()
        self.constants[begun], self.states[begun], self.times[begun] = constants, states, times

    def update(
        self, values: Floats, filter: Longs, y: Longs, x: Longs, end: Longs, window: Longs, ts: Longs
    ) -> Filtered:
        """The line of every task's filter after its row."""
        results = np.full((5, len(filter)), np.nan)
        tasks = filter, y, x, end, window, ts
        _update(
            np.ascontiguousarray(values), *tasks, self.step, self.constants, self.states, self.times, results
        )
        return Filtered(*results)


@compiled(error_model="numpy")
def _begin(ys: Floats, xs: Floats, constants: Floats, state: Floats) -> bool:
    """Begin with the least-squares line of the first rows; return False where it is not defined."""
    rows = len(ys)
    dy, dx, level_y, level_x, _, sxx = centred(ys, xs)
    if rows < 3 or not moves(sxx, rows, level_x):
        return False
    slope = (dx * dy).sum() / sxx
    residuals = dy - slope * dx
    noise = (residuals * residuals).sum() / (rows - 2)
    if not (noise > (ROUNDING * level_y) ** 2 and np.isfinite(slope)):
        return False
    pace = (2.0 / rows) ** 2
    constants[CENTRE_Y], constants[CENTRE_X], constants[NOISE] = level_y, level_x, noise
    constants[WANDER_A], constants[WANDER_B] = pace * noise, pace * noise / (sxx / (rows - 1))
    state[A], state[B] = 0.0, slope
    state[P_AA], state[P_AB], state[P_BB] = noise / rows, 0.0, noise / sxx
    return True


@compiled(error_model="numpy")
def _move(y: float, x: float, constants: Floats, state: Floats) -> float:
    """Update the state with one row; return its standardised innovation."""
    dy, dx = y - constants[CENTRE_Y], x - constants[CENTRE_X]
    aa, ab, bb = state[P_AA] + constants[WANDER_A], state[P_AB], state[P_BB] + constants[WANDER_B]
    state[P_AA], state[P_BB] = aa, bb
    if not (np.isfinite(dy) and np.isfinite(dx)):
        return np.nan
    innovation = dy - state[A] - state[B] * dx
    pa, pb = aa + ab * dx, ab + bb * dx
    variance = pa + pb * dx + constants[NOISE]
    ka, kb = pa / variance, pb / variance
    state[A] += ka * innovation
    state[B] += kb * innovation
    # Joseph's form: rounding cannot make a variance negative
    ua, ub, va, vb = 1.0 - ka, -ka * dx, -kb, 1.0 - kb * dx
    xa, xb, ya, yb = ua * aa + ub * ab, ua * ab + ub * bb, va * aa + vb * ab, va * ab + vb * bb
    state[P_AA] = xa * ua + xb * ub + ka * ka * constants[NOISE]
    state[P_AB] = xa * va + xb * vb + ka * kb * constants[NOISE]
    state[P_BB] = ya * va + yb * vb + kb * kb * constants[NOISE]
    return float(innovation / np.sqrt(variance))


@compiled(error_model="numpy")
def _update(
    values: Floats, filter: Longs, y: Longs, x: Longs, end: Longs, window: Longs, ts: Longs, step: int,
    constants: Floats, states: Floats, times: Longs, results: Floats,
) -> None:  # fmt: skip
    state = np.empty(5)
    for k in range(len(filter)):
        f = filter[k]
        ys, xs = legs(values, y[k], x[k], end[k], window[k], 3)
        rows = len(ys)
        if rows == 0:
            continue
        slot, before = ts[k] // step % REMEMBERED, (ts[k] // step - 1) % REMEMBERED
        innovation_z = np.nan
        if times[f, before] == ts[k] - step:
            state[:] = states[f, before]
            innovation_z = _move(ys[rows - 1], xs[rows - 1], constants[f], state)
        elif not _begin(ys, xs, constants[f], state):
            continue
        states[f, slot] = state
        times[f, slot] = ts[k]
        level_y, level_x = constants[f, CENTRE_Y], constants[f, CENTRE_X]
        mean_y = mean_of(ys)
        squares, total = 0.0, 0.0
        for i in range(rows):
            residual = ys[i] - level_y - state[A] - state[B] * (xs[i] - level_x)
            squares += residual * residual
            total += (ys[i] - mean_y) ** 2
        results[0, k] = state[B]
        results[1, k] = level_y + state[A] - state[B] * level_x
        results[2, k] = 1.0 - squares / total if moves(total, rows, mean_y) else np.nan
        results[3, k] = np.sqrt(state[P_BB])
        results[4, k] = innovation_z
