"""Edge after costs: by hand and by its symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.edge import edge_bps

PRICES = st.floats(1e-6, 1e6)


def test_log_prices_by_hand() -> None:
    # 0.5 % is 50 bp; a round trip on 1 + 0.8 of notional at 10 + 1 bp a fill is 39.6 bp
    assert edge_bps(-0.005, -0.8, 60_000.0, 2_500.0, True, 10.0, 1.0) == pytest.approx(10.4, rel=1e-12)


def test_raw_prices_by_hand() -> None:
    # 300 of 60,000 is 50 bp; β·x/y = 12 · 2,500 / 60,000 = 0.5
    assert edge_bps(300.0, 12.0, 60_000.0, 2_500.0, False, 10.0, 1.0) == pytest.approx(17.0, rel=1e-12)


def test_undefined_inputs_give_undefined_edges_without_a_warning() -> None:
    deviation = np.array([np.nan, 1.0, 1.0, 1.0])
    slope = np.array([1.0, np.nan, 1.0, 1.0])
    y_close = np.array([1.0, 1.0, np.nan, 0.0])
    assert np.isnan(edge_bps(deviation, slope, y_close, np.ones(4), False, 10.0, 1.0)).all()


def test_rows_are_each_their_own() -> None:
    columns = (
        np.array([0.01, 300.0]),
        np.array([0.5, 12.0]),
        np.array([60_000.0] * 2),
        np.array([2_500.0] * 2),
    )
    both = edge_bps(*columns, np.array([True, False]), np.array([10.0, 7.5]), np.array([1.0, 0.0]))
    alone = [edge_bps(*(c[k] for c in columns), k == 0, (10.0, 7.5)[k], (1.0, 0.0)[k]) for k in (0, 1)]
    assert list(both) == [float(edge) for edge in alone]


@given(deviation=st.floats(0, 1), slope=st.floats(-5, 5), y=PRICES, x=PRICES, fee=st.floats(0, 100))
def test_the_sign_of_the_deviation_and_of_the_hedge_ratio_do_not_matter(
    deviation: float, slope: float, y: float, x: float, fee: float
) -> None:
    for log_prices in (True, False):
        edge = edge_bps(deviation, slope, y, x, log_prices, fee, 1.0)
        assert edge == edge_bps(-deviation, -slope, y, x, log_prices, fee, 1.0)
        assert edge <= edge_bps(deviation, slope, y, x, log_prices, 0.0, 0.0)


@given(deviation=st.floats(1e-6, 1), slope=st.floats(-5, 5), y=PRICES, x=PRICES, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_money_does_not_matter(
    deviation: float, slope: float, y: float, x: float, unit: float
) -> None:
    edge = edge_bps(deviation * y, slope, y, x, False, 10.0, 1.0)
    assert edge_bps(unit * deviation * y, slope, unit * y, unit * x, False, 10.0, 1.0) == pytest.approx(
        float(edge), rel=1e-9, abs=1e-6
    )
