"""Row 28: ADF on constant, short or collinear series.

docs/faults.md says what Pairflow promises in this case.
"""

import warnings

import numpy as np
import pytest

from operators.adf import adf
from operators.cointegration import engle_granger
from operators.columns import NEVER, SECOND_US, Floats
from operators.half_life import half_life
from operators.measures import Measurer
from tests.faults.numbers import ADF, SPEC, bars, walks

STEP = np.repeat([0.0, 1.0], 30)


@pytest.mark.parametrize(
    "series",
    [np.full(60, 11.5), np.zeros(0), np.ones(3), np.arange(60.0)],
    ids=["constant", "empty", "short", "straight"],
)
def test_the_test_is_undefined_without_a_warning(series: Floats) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stat, pvalue, lags = adf(series)
        assert np.isnan(stat) and np.isnan(pvalue) and lags == -1
        for y, x in ((series, series), (series, np.arange(len(series)) ** 2.0), (2 * series + 1, series)):
            assert np.isnan(engle_granger(y, x)).all()
        assert not np.isfinite(half_life(series)) or half_life(series) > 0
    assert said == []


@pytest.mark.parametrize("flat", [[0], [1], [0, 1]], ids=["y", "x", "both"])
def test_its_row_is_null_in_every_column(flat: list[int]) -> None:
    closes = walks(1, 5 * ADF)
    for leg in flat:
        closes[leg] = closes[leg, 0]
    _is_null(closes)


def test_legs_that_are_multiples_of_each_other_have_no_test() -> None:
    closes = walks(1, 5 * ADF)
    closes[0] = 3 * closes[1]
    _is_null(closes)


def _is_null(closes: Floats) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tests = Measurer(2, SECOND_US, [SPEC]).update(bars(closes)).tests
    assert said == [] and len(tests.ts) > 5
    for name in ("adf_stat", "adf_pvalue", "coint_stat", "coint_pvalue", "half_life"):
        assert np.isnan(getattr(tests, name)).all(), name
    assert (tests.adf_lags == NEVER).all() and not tests.stationary.any()
