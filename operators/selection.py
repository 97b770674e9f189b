"""Selection: what would stand at a place if the values were in order, without putting them in order.

References: Hoare, "Algorithm 65: find" (1961).

>>> import numpy as np
>>> values = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
>>> put_in_place(values, 2)
>>> float(values[2]), sorted(values[:2].tolist())
(3.0, [1.0, 2.0])
"""

from operators.columns import Floats
from operators.compiled import compiled


@compiled(error_model="numpy")
def put_in_place(values: Floats, at: int) -> None:
    """What belongs at that place is put there, nothing larger before it and nothing smaller behind. Not for
    NaN.

    As `np.partition`, which takes ten times as long to compile.
    """
    first, last = 0, len(values) - 1
    while first < last:
        pivot = values[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if at <= j:
            last = j
        elif at >= i:
            first = i
        else:
            return


@compiled(error_model="numpy")
def middle_two(values: Floats) -> tuple[float, float]:
    """The two values whose mean is the median: twice the same where their number is odd. Changes their
    places.

    >>> import numpy as np
    >>> middle_two(np.array([3.0, 1.0, 4.0, 2.0]))
    (2.0, 3.0)
    """
    upper = len(values) // 2
    put_in_place(values, upper)
    if len(values) % 2 == 1:
        return values[upper], values[upper]
    return values[:upper].max(), values[upper]
