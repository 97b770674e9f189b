"""The median of the slopes between all pairs of points, without looking at all pairs.

    median { (y_i − y_j) / (x_i − x_j) : x_i ≠ x_j }        of an even number of slopes the mean of the middle two

How many slopes lie below b is how many pairs of points, in order of x, are in the reverse order of y − b·x: a
merge sort counts these in n·log n steps. A random sample of slopes (the same for the same points) proposes
values of b; a few counts bracket the median between two of them. The few slopes within the bracket are the
pairs whose order differs between both ends: an insertion sort from the one order to the other lists them, and
the median is selected among these.

The comparison is exact, for points as close as prices are: y − b·x is held in two doubles, and b is put
halfway to the double below it, where no rounded quotient lies. So slopes that are equal, of prices in ticks
very many, are told from those that are not.

Shapes: `ys`, `xs` float64 (n,); the result is a float, in the units of y per x.

Undefined (NaN): all x are equal. Not for NaN or infinities.

Equal to the median of all slopes as they are computed one by one, to the last bit where the differences of
the legs are exact (all of a leg within a factor of two, or on one grid of ticks), else to within rounding.
300 points cost 0.1 ms, 1,800 points 0.7 ms, 20,000 points 13 ms, 100,000 points 100 ms.

References: Cole, Salowe, Steiger and Szemerédi, "An optimal-time algorithm for slope selection" (1989);
Matoušek, "Randomized optimal algorithm for slope selection" (1991); Dekker, "A floating-point technique for
extending the available precision" (1971).

>>> median_slope(np.array([0.0, 1.0, 2.0, 3.0, 90.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
1.0
"""

from math import frexp, ldexp

import numpy as np

from operators.columns import Floats, Longs
from operators.compiled import compiled
from operators.selection import middle_two, put_in_place

ALL_PAIRS = 112  # points up to which looking at all pairs is cheaper
PER_POINT = 8  # slopes a point that are cheaper listed than bracketed further
LEAST_SAMPLE = 1_024
MARGIN = 1.0  # standard deviations of the median's rank in the sample, on either side of where it is expected
BLOCK = 16  # points that an insertion sort puts in order
SPLIT = 134_217_729.0  # 2²⁷ + 1: halves a double's digits
# of legs of size 1: slopes nearer to 0 are not told from it, or from −TINY; doubles lose digits there
TINY = 1e-280


@compiled(error_model="numpy")
def median_slope(ys: Floats, xs: Floats) -> float:
    """The median slope between the points."""
    order = np.argsort(xs)
    scale_y, scale_x = frexp(np.abs(ys).max())[1], frexp(np.abs(xs).max())[1]
    # so that no product leaves the range of a double
    ys, xs = _halved(ys[order], scale_y), _halved(xs[order], scale_x)
    rows = len(xs)
    total = rows * (rows - 1) // 2
    start = 0
    for i in range(1, rows + 1):
        if i == rows or xs[i] != xs[start]:
            # of points with the same x none is before another: in order of y they make no reversed pair
            if i - start > 1:
                ys[start:i] = np.sort(ys[start:i])
                total -= (i - start) * (i - start - 1) // 2
            start = i
    if total < 1:
        return np.nan
    if rows <= ALL_PAIRS:
        lower, upper = middle_two(_all_slopes(ys, xs, total))
        return ldexp(0.5 * (lower + upper), scale_y - scale_x)
    sample = _sample(ys, xs)
    upper, next_below = _slope_of_rank(ys, xs, sample, total, total // 2)
    if total % 2 == 1:
        return ldexp(upper, scale_y - scale_x)
    if np.isnan(next_below):
        next_below, _ = _slope_of_rank(ys, xs, sample, total, total // 2 - 1)
    return ldexp(0.5 * (next_below + upper), scale_y - scale_x)


@compiled(error_model="numpy")
def _halved(values: Floats, times: int) -> Floats:
    """The values halved so many times, which changes no digit."""
    halved = np.empty(len(values))
    for i in range(len(values)):
        halved[i] = ldexp(values[i], -times)
    return halved


@compiled(error_model="numpy")
def _all_slopes(ys: Floats, xs: Floats, total: int) -> Floats:
    slopes = np.empty(total)
    n = 0
    for i in range(1, len(xs)):
        for j in range(i):
            if xs[i] != xs[j]:
                slopes[n] = (ys[i] - ys[j]) / (xs[i] - xs[j])
                n += 1
    return slopes


@compiled(error_model="numpy")
def _sample(ys: Floats, xs: Floats) -> Floats:
    """Slopes between random pairs of points, in order."""
    rows = len(xs)
    sample = np.empty(max(rows, LEAST_SAMPLE))
    n = 0
    state = np.uint64(88172645463325252)
    for _ in range(4 * len(sample)):
        state ^= state << np.uint64(13)  # Marsaglia's xorshift
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        i = ((state >> np.uint64(32)) * np.uint64(rows)) >> np.uint64(32)
        j = ((state & np.uint64(0xFFFFFFFF)) * np.uint64(rows)) >> np.uint64(32)
        if xs[i] != xs[j]:
            sample[n] = (ys[i] - ys[j]) / (xs[i] - xs[j])
            n += 1
            if n == len(sample):
                break
    return np.sort(sample[:n])


@compiled(error_model="numpy")
def _slope_of_rank(ys: Floats, xs: Floats, sample: Floats, total: int, rank: int) -> tuple[float, float]:
    """The slope that has `rank` others before it in order; and the one right before it where that is known,
    else NaN.

    The bracket is low ≤ slope < high, with `below` slopes under low and `under` slopes under high. Of the
    sample's slopes `first` lie under low and `last` under high.
    """
    rows = len(xs)
    high_parts, low_parts, order = np.empty(rows), np.empty(rows), np.empty(rows, np.int32)
    work, work_order = np.empty(rows), np.empty(rows, np.int32)
    low, below, first = -np.inf, 0, 0
    high, under, last = np.inf, total, len(sample)
    while under - below > PER_POINT * rows and last > first:
        share = (rank + 0.5 - below) / (under - below)
        expected = first + (last - first) * share
        margin = MARGIN * np.sqrt((last - first) * share * (1.0 - share)) + 1.0
        raises = rank - below > under - rank  # the end that is further from the rank is the one to move
        at = min(max(int(expected - margin if raises else expected + margin), first), last - 1)
        pivot = sample[at]
        if abs(pivot) < TINY:
            pivot = 0.0 if pivot >= 0.0 else -TINY
        if pivot <= low:
            pivot = _next_slope(low)
            if pivot >= high:
                return low, low if below < rank else np.nan
        _keys(ys, xs, pivot, high_parts, low_parts)
        count = _reversed_pairs(high_parts, low_parts, order, work, work_order)
        if count <= rank:
            low, below, first = pivot, count, np.searchsorted(sample, pivot, side="left")
        else:
            high, under, last = pivot, count, np.searchsorted(sample, pivot, side="left")
    if low > -np.inf and _next_slope(low) >= high:
        return low, low if below < rank else np.nan
    _keys(ys, xs, low, high_parts, low_parts)
    _reversed_pairs(high_parts, low_parts, order, work, work_order)
    _keys(ys, xs, high, high_parts, low_parts)
    kept = _slopes_between(ys, xs, high_parts, low_parts, order, under - below)
    at = min(max(rank - below, 0), len(kept) - 1)
    put_in_place(kept, at)
    return kept[at], (kept[:at].max() if at > 0 else np.nan)


@compiled(error_model="numpy")
def _next_slope(slope: float) -> float:
    if slope == -TINY:
        return 0.0
    return TINY if slope == 0.0 else float(np.nextafter(slope, np.inf))


@compiled(error_model="numpy")
def _keys(ys: Floats, xs: Floats, slope: float, high_parts: Floats, low_parts: Floats) -> None:
    """y − b·x of every point as the sum of two doubles, b halfway between the slope and the double below it."""
    if np.isinf(slope):  # −∞: in order of x, +∞: in the reverse order; where x is the same, in order of y
        for i in range(len(xs)):
            high_parts[i], low_parts[i] = -xs[i] if slope > 0.0 else xs[i], ys[i]
        return
    half = 0.5 * (slope - np.nextafter(slope, -np.inf))
    wide = SPLIT * slope
    slope_high = wide - (wide - slope)
    slope_low = slope - slope_high
    for i in range(len(xs)):
        x, y = xs[i], ys[i]
        wide = SPLIT * x
        x_high = wide - (wide - x)
        x_low = x - x_high
        product = slope * x
        # product + lost = slope·x
        lost = ((slope_high * x_high - product) + slope_high * x_low + slope_low * x_high) + slope_low * x_low
        left = y - product
        part = left - y
        rounded = (y - (left - part)) - (product + part)  # left + rounded = y − product
        rest = rounded + (half * x - lost)
        high_parts[i] = left + rest
        low_parts[i] = rest - (high_parts[i] - left)


@compiled(error_model="numpy")
def _reversed_pairs(
    high_parts: Floats, low_parts: Floats, order: Longs, work: Floats, work_order: Longs
) -> int:
    """How many pairs of points are not in the order of their keys.

    `order` becomes that of the keys, and `high_parts` is sorted.
    """
    rows = len(high_parts)
    count = 0
    for start in range(0, rows, BLOCK):
        for i in range(start, min(start + BLOCK, rows)):
            key, low = high_parts[i], low_parts[i]
            j = i
            while j > start and (
                key < high_parts[j - 1] or (key == high_parts[j - 1] and low < low_parts[order[j - 1]])
            ):
                high_parts[j], order[j] = high_parts[j - 1], order[j - 1]
                j -= 1
            high_parts[j], order[j] = key, i
            count += i - j
    source, source_order, target, target_order = high_parts, order, work, work_order
    width = BLOCK
    while width < rows:
        for start in range(0, rows, 2 * width):
            middle, end = min(start + width, rows), min(start + 2 * width, rows)
            i, j = start, middle
            for k in range(start, end):
                right = i >= middle
                if not right and j < end:
                    right = source[j] < source[i] or (
                        source[j] == source[i] and low_parts[source_order[j]] < low_parts[source_order[i]]
                    )
                if right:
                    target[k], target_order[k] = source[j], source_order[j]
                    count += middle - i
                    j += 1
                else:
                    target[k], target_order[k] = source[i], source_order[i]
                    i += 1
        source, source_order, target, target_order = target, target_order, source, source_order
        width *= 2
    if width > BLOCK and source is not high_parts:
        high_parts[:], order[:] = source, source_order
    return count


@compiled(error_model="numpy")
def _slopes_between(
    ys: Floats, xs: Floats, high_parts: Floats, low_parts: Floats, order: Longs, expected: int
) -> Floats:
    """Slopes of the pairs that are in another order by these keys than in `order`, which becomes that of the
    keys.
    """
    kept = np.empty(expected)
    n = 0
    for i in range(len(order)):
        point = order[i]
        key, low = high_parts[point], low_parts[point]
        j = i
        while j > 0:
            other = order[j - 1]
            if not (key < high_parts[other] or (key == high_parts[other] and low < low_parts[other])):
                break
            if n < len(kept):
                kept[n] = (ys[point] - ys[other]) / (xs[point] - xs[other])
            n += 1
            order[j] = other
            j -= 1
        order[j] = point
    return kept[: min(n, len(kept))]
