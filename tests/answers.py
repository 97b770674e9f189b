"""Answers of slow libraries, kept in answers.npz. `python -m tests.answers` computes all of them again.

A reference that is decorated with `kept` looks up its arguments by their bytes and returns the kept answer.
One answer in EVERY is computed nevertheless, and must equal the kept one. Arguments without a kept answer
are computed, too: another processor may round a random number differently.
"""

import functools
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

EVERY = 25
SAME = 1e-9  # relative: another processor's linear algebra differs in the last digits
FILE = Path(__file__).with_suffix(".npz")
ANEW = "PAIRFLOW_ANSWERS_ANEW"
TESTS = (
    "tests/operators/test_adf.py",
    "tests/operators/test_cointegration.py",
    "tests/operators/test_exactness.py",
)

Answer = tuple[float, ...]
computed: dict[int, Answer] = {}  # what this process has computed, by number


@functools.cache
def answers() -> dict[int, Answer]:
    """The kept answers, by the number of their function and arguments."""
    if ANEW in os.environ or not FILE.exists():
        return {}
    with np.load(FILE) as file:
        rows = zip(file["number"].tolist(), file["length"].tolist(), file["answer"].tolist(), strict=True)
        return {number: tuple(answer[:length]) for number, length, answer in rows}


def number_of(name: str, arguments: tuple[object, ...]) -> int:
    """A hash of the function's name and its arguments."""
    digest = hashlib.sha256(name.encode())
    for argument in arguments:
        digest.update(argument.tobytes() if isinstance(argument, np.ndarray) else repr(argument).encode())
        digest.update(b";")
    return int.from_bytes(digest.digest()[:8], "big")


def kept(reference: Callable[..., Answer]) -> Callable[..., Answer]:
    """Decorates a reference. Its arguments are arrays and strings, its answer is a few numbers."""

    @functools.wraps(reference)
    def answer(*arguments: object) -> Answer:
        number = number_of(f"{reference.__module__}.{reference.__qualname__}", arguments)
        known = answers().get(number)
        if known is not None and number % EVERY:
            return known
        computed[number] = reference(*arguments)
        assert known is None or computed[number] == pytest.approx(known, rel=SAME, abs=SAME, nan_ok=True), (
            "python -m tests.answers"
        )
        return computed[number]

    return answer


def main() -> int:
    os.environ[ANEW] = "1"
    from tests import answers as used  # the module that the tests import; this one is __main__

    failed = pytest.main(["-n", "0", *TESTS])
    if not failed:
        found = sorted(used.computed.items())
        table = np.full((len(found), max(len(answer) for _, answer in found)), np.nan)
        for row, (_, answer) in zip(table, found, strict=True):
            row[: len(answer)] = answer
        number = np.array([number for number, _ in found], np.uint64)
        np.savez_compressed(
            FILE, number=number, length=np.array([len(answer) for _, answer in found], np.uint8), answer=table
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
