"""The regression behind adf.py, cointegration.py and half_life.py: does a series return to its mean, or
wander?

    Δs_t = [α +] λ·s_{t−1} + γ₁·Δs_{t−1} + … + γ_p·Δs_{t−p} + u_t        stat = λ / se(λ)

p is given, or chosen from 0 … max_lag by the least N·log(ssr_p) + c·p on the N rows that all of them have (c
= 2: AIC, log N: BIC), after which the chosen model is fitted on every row it has, as statsmodels does.

Shapes: `series` float64 (n,), any unit. Results: λ and stat, numbers without a unit, and p.

Undefined (λ and stat NaN, p = −1): fewer than 2·(max_lag + 1 + constant) rows, a NaN or infinity, a constant
series or a straight line (to within the rounding of its level), a fit without residual (1 − R² ≤ 10⁻¹²), or
columns that depend on each other.

The nested models come from one Cholesky factorisation of the products of the unit-normed columns, not from a
fit per lag. The products of lags are sums along diagonals that share all but their ends, so they cost n·p
instead of n·p². The chosen model is fitted by projecting the lags out of level and difference, with one step
of refinement on what is left (corrected seminormal equations), which makes up for the squared condition
number of such products. AIC costs 18 µs at n = 300 and 50 to 150 µs at n = 1,800, by the lags it chooses;
statsmodels, with a fit per lag, takes several hundred times that.

References: Said and Dickey (1984); Björck, "Stability analysis of the method of seminormal equations" (1987);
MacKinnon, "Approximate asymptotic distribution functions for unit-root and cointegration tests", J. Business
& Economic Statistics 12 (1994), tables 1 and 2.

>>> slope, stat, lag = unit_root(np.array([0.0, 1.0, 0.0, 0.5, -0.5, 0.0]), 0, "fixed", True)
>>> round(slope, 6), round(stat, 6), lag
(-1.346154, -2.485251, 0)
"""

from math import ceil, erfc, isfinite, sqrt

import numpy as np

from operators.columns import Floats
from operators.compiled import compiled
from operators.rounding import ROUNDING

CRITERIA = ("fixed", "aic", "bic")

# share of a column's square that the columns before it leave, below which it is one of them; of the residual
# likewise
DEPENDENT = 1e-12

# MacKinnon (1994) with a constant, for N = 1 and N = 2 series: (where 0, where the surfaces meet, where 1),
# polynomials in the statistic
RANGE = {1: (-18.83, -1.61, 2.74), 2: (-18.86, -2.62, 0.92)}
LEFT = {1: (2.1659, 1.4412, 0.038269), 2: (2.92, 1.5012, 0.039796)}
RIGHT = {1: (1.7339, 0.93202, -0.12745, -0.010368), 2: (2.1945, 0.64695, -0.29198, -0.042377)}


def mackinnon_pvalue(stat: float, integrated: int) -> float:
    """Probability of a smaller `stat` if the series (1), or each of two series (2), is a random walk.

    >>> round(mackinnon_pvalue(-2.86154, 1), 3), round(mackinnon_pvalue(-3.33613, 2), 3)
    (0.05, 0.05)
    """
    if not isfinite(stat):
        return float("nan")
    zero, meeting, one = RANGE[integrated]
    if stat < zero or stat > one:
        return float(stat > one)
    surface = LEFT[integrated] if stat <= meeting else RIGHT[integrated]
    normal = sum(coefficient * stat**power for power, coefficient in enumerate(surface))
    return 0.5 * erfc(-normal / sqrt(2.0))


def most_lags(rows: int, constant: bool) -> int:
    """Schwert's (1989) rule as statsmodels applies it: ⌈12·(n/100)^¼⌉, at most what n rows can bear; −1 where
    they bear none.

    >>> most_lags(300, True), most_lags(20, True), most_lags(3, True)
    (16, 8, -1)
    """
    return max(min(ceil(12.0 * sqrt(sqrt(rows / 100.0))), rows // 2 - (2 if constant else 1)), -1)


def unit_root(series: Floats, max_lag: int, criterion: str, constant: bool) -> tuple[float, float, int]:
    """λ, its t statistic and the number of lags; `criterion` "fixed", "aic" or "bic"."""
    information = CRITERIA.index(criterion)
    slope, stat, lag = _unit_root(
        np.ascontiguousarray(series, dtype=np.float64), max_lag, information, constant
    )
    return float(slope), float(stat), int(lag)


# reassoc lets the sums run in vector lanes; nothing else of fastmath is allowed, so NaN stays NaN
@compiled(error_model="numpy", fastmath={"reassoc"})
def _products(level: Floats, step: Floats, lag: int, constant: bool) -> Floats:
    """Products of the columns Δs_{−0} … Δs_{−lag} and s_{−1} over the rows that have all; about their means
    if there is a constant.
    """
    steps = len(step)
    rows = steps - lag
    products = np.zeros((lag + 2, lag + 2))
    sums = np.zeros(lag + 2)
    for gap in range(lag + 1):
        # columns j − gap and j: Σ step[u]·step[u + gap] over u = lag − j … steps − 1 − j, of which the middle
        # is the same for every j
        behind = step[lag - gap : rows]
        ahead = step[lag : rows + gap]
        middle = 0.0
        for u in range(len(behind)):
            middle += behind[u] * ahead[u]
        right = 0.0
        for j in range(lag, gap - 1, -1):
            products[j - gap, j] = middle + right
            if j > gap:
                right += step[steps - j] * step[steps - j + gap]
        left = 0.0
        for j in range(gap, lag + 1):
            products[j - gap, j] += left
            if j < lag:
                left += step[lag - j - 1] * step[lag - j - 1 + gap]
    for j in range(lag + 1):
        lagged = step[lag - j : steps - j]
        product = 0.0
        total = 0.0
        for t in range(rows):
            product += level[lag + t] * lagged[t]
            total += lagged[t]
        products[j, lag + 1] = product
        sums[j] = total
    for t in range(lag, steps):
        products[lag + 1, lag + 1] += level[t] * level[t]
        sums[lag + 1] += level[t]
    for i in range(lag + 2):
        for j in range(i, lag + 2):
            if constant:
                products[i, j] -= sums[i] * sums[j] / rows
            products[j, i] = products[i, j]
    return products


@compiled(error_model="numpy")
def _best_lag(products: Floats, rows: int, information: int, constant: bool) -> int:
    """The number of lags with the least information criterion; −1 where no model can be fitted."""
    size = len(products)
    order = np.empty(size, np.int64)  # level, lags, and the difference that they explain
    order[0] = size - 1
    for i in range(1, size - 1):
        order[i] = i
    order[size - 1] = 0
    unit = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            norm = np.sqrt(products[order[i], order[i]]) * np.sqrt(products[order[j], order[j]])
            unit[i, j] = products[order[i], order[j]] / norm if norm > 0 else 0.0
    if unit[0, 0] <= DEPENDENT or unit[size - 1, size - 1] <= DEPENDENT:
        return -1
    penalty = 2.0 if information == 1 else np.log(rows)
    parameters = 1 if constant else 0
    best = -1
    least = np.inf
    for i in range(size - 1):
        pivot = unit[i, i]
        # a dependent lag explains nothing more and costs no parameter, as for a pseudo-inverse
        if pivot > DEPENDENT:
            parameters += 1
            for a in range(i + 1, size):
                share = unit[i, a] / pivot
                for b in range(a, size):
                    unit[a, b] -= share * unit[i, b]
        residual = unit[size - 1, size - 1]
        if residual <= DEPENDENT:
            return -1
        criterion = rows * np.log(residual) + penalty * parameters
        if parameters < rows and criterion < least:
            least = criterion
            best = i
    return best


@compiled(error_model="numpy", fastmath={"reassoc"})
def _project(column: Floats, step: Floats, lag: int, constant: bool, cholesky: Floats, norms: Floats) -> None:
    """Takes the lags (and the mean) out of `column`, in place."""
    rows = len(column)
    steps = len(step)
    weights = np.empty(lag)
    for _ in range(2):  # the second time on what is left: the refinement
        if constant:
            mean = 0.0
            for t in range(rows):
                mean += column[t]
            mean /= rows
            for t in range(rows):
                column[t] -= mean
        for j in range(lag):
            lagged = step[lag - j - 1 : steps - j - 1]
            product = 0.0
            for t in range(rows):
                product += column[t] * lagged[t]
            weights[j] = product / norms[j]
        for i in range(lag):
            for j in range(i):
                weights[i] -= cholesky[i, j] * weights[j]
            weights[i] /= cholesky[i, i]
        for i in range(lag - 1, -1, -1):
            for j in range(i + 1, lag):
                weights[i] -= cholesky[j, i] * weights[j]
            weights[i] /= cholesky[i, i]
        for j in range(lag):
            lagged = step[lag - j - 1 : steps - j - 1]
            weight = weights[j] / norms[j]
            for t in range(rows):
                column[t] -= weight * lagged[t]
    if constant:
        mean = 0.0
        for t in range(rows):
            mean += column[t]
        mean /= rows
        for t in range(rows):
            column[t] -= mean


@compiled(error_model="numpy", fastmath={"reassoc"})
def _fit(level: Floats, step: Floats, lag: int, constant: bool, products: Floats) -> tuple[float, float]:
    """λ and its t statistic: the regression of what the lags leave of the difference on what they leave of
    the level.
    """
    norms = np.empty(lag)
    cholesky = np.zeros((lag, lag))
    for i in range(lag):
        norms[i] = np.sqrt(products[i + 1, i + 1])
        if not norms[i] > 0:
            return np.nan, np.nan
        for j in range(i + 1):
            left = products[i + 1, j + 1] / norms[i] / norms[j]
            for m in range(j):
                left -= cholesky[i, m] * cholesky[j, m]
            if i > j:
                cholesky[i, j] = left / cholesky[j, j]
            elif left > DEPENDENT:
                cholesky[i, i] = np.sqrt(left)
            else:
                return np.nan, np.nan
    steps = len(step)
    rows = steps - lag
    explaining = level[lag:steps].copy()
    explained = step[lag:].copy()
    _project(explaining, step, lag, constant, cholesky, norms)
    _project(explained, step, lag, constant, cholesky, norms)
    square = 0.0
    product = 0.0
    for t in range(rows):
        square += explaining[t] * explaining[t]
        product += explaining[t] * explained[t]
    if not square > DEPENDENT * products[lag + 1, lag + 1]:
        return np.nan, np.nan
    slope = product / square
    residual = 0.0
    for t in range(rows):
        left = explained[t] - slope * explaining[t]
        residual += left * left
    freedom = rows - lag - (2 if constant else 1)
    if freedom < 1 or not residual > DEPENDENT * products[0, 0]:
        return np.nan, np.nan
    return slope, slope * np.sqrt(square * freedom / residual)


@compiled(error_model="numpy", fastmath={"reassoc"})
def _unit_root(series: Floats, max_lag: int, information: int, constant: bool) -> tuple[float, float, int]:
    rows = len(series)
    if max_lag < 0 or rows < 2 * (max_lag + (2 if constant else 1)):
        return np.nan, np.nan, -1
    first = series[0]
    mean = 0.0
    for t in range(rows):
        mean += series[t] - first
    mean /= rows
    largest = 0.0
    square = 0.0
    for t in range(rows):
        left = series[t] - first - mean
        square += left * left
        largest = max(largest, abs(series[t]))
    scale = np.sqrt(square / rows)
    if not (np.isfinite(scale) and scale > ROUNDING * abs(first + mean)):
        return np.nan, np.nan, -1
    level = np.empty(rows)
    step = np.empty(rows - 1)
    # a constant lets every column be shifted
    drift = (series[rows - 1] - first) / (rows - 1) if constant else 0.0
    centre = mean if constant else -first
    square = 0.0
    for t in range(rows):
        level[t] = (series[t] - first - centre) / scale
    for t in range(rows - 1):
        step[t] = (series[t + 1] - series[t] - drift) / scale
        square += step[t] * step[t]
    if not (np.sqrt(square / rows) * scale > ROUNDING * largest):
        return np.nan, np.nan, -1
    products = _products(level, step, max_lag, constant)
    lag = max_lag
    if information > 0:
        lag = _best_lag(products, rows - 1 - max_lag, information, constant)
        if lag < 0:
            return np.nan, np.nan, -1
        if lag < max_lag:
            products = _products(level, step, lag, constant)
    slope, stat = _fit(level, step, lag, constant, products)
    if not (np.isfinite(slope) and np.isfinite(stat)):
        return np.nan, np.nan, -1
    return slope, stat, lag
