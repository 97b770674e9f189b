"""The panel against a dictionary of cells: shifted, grown, lagging, resumed."""

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.columns import Bars
from operators.panel import Panel

STEP = 60_000_000
SYMBOLS, KEEP, RECENT = 3, 4, 2


def traded(symbol: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Whether the bar has trades: there are runs of up to nine without."""
    return np.isin((column + 2 * symbol) % 13, (0, 3, 4))


def bars(cells: list[tuple[int, int]]) -> Bars:
    """A bar per (symbol, column); close and volume tell which."""
    symbol, column = (np.array([cell[i] for cell in cells], np.int64) for i in (0, 1))
    n = len(cells)
    close = 1.0 + symbol + column / 1_000 + 10
    return Bars(
        symbol=symbol.astype(np.int32),
        timeframe=np.full(n, STEP),
        ts=column * STEP,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=close * 2,
        quote_volume=close,
        trades=traded(symbol, column).astype(np.int64),
        buy_volume=close,
        complete=column % 3 != 0,
        watermark=np.zeros(SYMBOLS, np.int64),
    )


def check(panel: Panel, cells: set[tuple[int, int]], oldest: dict[int, int]) -> None:
    """Every cell that must still be there is, and the bookkeeping agrees."""
    for symbol in range(SYMBOLS):
        mine = sorted(column for s, column in cells if s == symbol)
        assert bool(panel.seen()[symbol]) == bool(mine)
        if not mine:
            continue
        assert panel.ts(panel.filled[symbol] - 1) == mine[-1] * STEP
        assert panel.ts(panel.begun[symbol]) == oldest[symbol] * STEP
        for column in mine[-KEEP:]:
            at = (column * STEP - panel.origin) // STEP
            expected = bars([(symbol, column)])
            assert panel.values[symbol, at] == np.log(expected.close[0])
            assert panel.values[symbol + SYMBOLS, at] == expected.close[0]
            assert panel.volume[symbol, at] == expected.volume[0] or column not in mine[-RECENT:]
            assert panel.incomplete[symbol, at] == (not expected.complete[0])
            before = np.arange(oldest[symbol], column + 1)
            ago = column - before[traded(np.int64(symbol), before)]
            assert panel.untraded[symbol, at] == (ago.min() if len(ago) else len(before))


def test_a_symbol_may_begin_before_the_first_one_seen() -> None:
    panel = Panel(SYMBOLS, STEP, KEEP, RECENT)
    panel.append(bars([(0, 100), (0, 101)]))
    panel.append(bars([(1, 97), (1, 98)]))
    check(panel, {(0, 100), (0, 101), (1, 97), (1, 98)}, {0: 100, 1: 97})


def test_a_laggard_keeps_the_columns_its_windows_need() -> None:
    panel = Panel(SYMBOLS, STEP, KEEP, RECENT)
    cells = [(0, column) for column in range(200)]
    panel.append(bars([(1, 0), (1, 1)]))
    panel.append(bars(cells))
    panel.append(bars([(1, column) for column in range(2, 200)]))
    check(panel, {*cells, *((1, column) for column in range(200))}, {0: 0, 1: 0})
    for column in range(200, 300):
        panel.append(bars([(0, column), (1, column)]))
    assert panel.values.shape[1] < 500


def test_a_panel_without_laggards_does_not_grow() -> None:
    panel = Panel(SYMBOLS, STEP, KEEP, RECENT)
    for column in range(1_000):
        panel.append(bars([(symbol, column) for symbol in range(SYMBOLS)]))
    assert panel.values.shape[1] <= 4 * KEEP


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, SYMBOLS - 1), st.integers(1, 12)), min_size=1, max_size=4),
        max_size=20,
    ),
    st.integers(50, 60),
)
def test_whatever_comes_and_is_pickled_the_cells_still_needed_are_there(
    batches: list[list[tuple[int, int]]], start: int
) -> None:
    panel = Panel(SYMBOLS, STEP, KEEP, RECENT)
    following = [start, start + 3, start - 5]
    oldest = dict(enumerate(following))
    cells: set[tuple[int, int]] = set()
    for batch in batches:
        new = []
        for symbol, count in batch:
            new += [(symbol, column) for column in range(following[symbol], following[symbol] + count)]
            following[symbol] += count
        panel.append(bars(new))
        cells |= set(new)
        check(panel, cells, oldest)
        panel = pickle.loads(pickle.dumps(panel))
        check(panel, cells, oldest)


def test_a_cell_that_was_forgotten_before_the_other_symbol_came_to_it_is_incomplete() -> None:
    panel = Panel(SYMBOLS, STEP, KEEP, RECENT)
    for column in range(1, 41):
        panel.append(bars([(0, column)]))
    panel.append(bars([(1, column) for column in range(1, 41)]))
    missing = np.isnan(panel.values[SYMBOLS])
    first, last = (int((column * STEP - panel.origin) // STEP) for column in (1, 40))
    there = slice(first, last + 1)
    assert missing[there].any() and not missing[last]
    assert (panel.incomplete[0, there] == (missing[there] | (np.arange(1, 41) % 3 == 0))).all()
    assert not panel.incomplete[2].any()
