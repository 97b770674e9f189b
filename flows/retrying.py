"""Trying again: how long to wait after so many failures, and which of them are logged."""

import math


def backoff(failures: int, first_s: float, longest_s: float = math.inf) -> float:
    """Seconds to wait after a failure that `failures` others came before.

    `first_s` at first, then twice as long each time, up to `longest_s`.

    >>> [backoff(failures, 0.5, 3.0) for failures in range(5)]
    [0.5, 1.0, 2.0, 3.0, 3.0]
    """
    return min(first_s * 2.0 ** min(failures, 30), longest_s)


def is_told(before: int, now: int) -> bool:
    """Whether to log a count that has grown: at 1, 2, 4, 8 …, so that the log stays short.

    >>> [count for count in range(1, 20) if is_told(count - 1, count)]
    [1, 2, 4, 8, 16]
    """
    return now.bit_length() > before.bit_length()
