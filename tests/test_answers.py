"""Kept answers: they are looked up by the bytes of the arguments, and a sample is computed again."""

import numpy as np
import pytest

from operators.columns import Floats
from tests import answers
from tests.answers import EVERY, kept, number_of

SERIES = [np.arange(k, k + 5.0) for k in range(200)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first number of each series for which `mean` was computed. The answers for SERIES are kept."""
    known = {number_of(f"{__name__}.mean", (series, "a")): (float(series.mean()),) for series in SERIES}
    monkeypatch.setattr(answers, "answers", lambda: known)
    monkeypatch.setattr(answers, "computed", {})
    ASKED.clear()
    return ASKED


ASKED: list[float] = []


@kept
def mean(series: Floats, word: str) -> tuple[float, ...]:
    ASKED.append(series[0])
    return (float(series.mean()),)


def test_only_a_sample_is_computed(asked: list[float]) -> None:
    assert [mean(series, "a")[0] for series in SERIES] == [series.mean() for series in SERIES]
    assert 0 < len(asked) < 4 * len(SERIES) / EVERY


def test_other_arguments_are_computed(asked: list[float]) -> None:
    assert mean(SERIES[0] + 1.0, "b") == (3.0,)
    assert mean(SERIES[0] * 2.0, "a") == (4.0,)
    assert asked == [1.0, 0.0]


def test_a_wrong_kept_answer_is_found(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dict.fromkeys(answers.answers(), (0.0,))
    monkeypatch.setattr(answers, "answers", lambda: wrong)
    with pytest.raises(AssertionError, match=r"python -m tests\.answers"):
        for series in SERIES:
            mean(series, "a")


def test_the_answers_of_statsmodels_are_there() -> None:
    assert len(answers.answers()) > 1_500
