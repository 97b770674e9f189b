"""Columns: rows that are chosen stay whole."""

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.columns import LIVE, WARM, Bars


def bars(n: int, stage: int) -> Bars:
    """Every column tells its row; the watermark is that of two symbols."""
    row = np.arange(n)
    kinds = {"symbol": np.int32, "timeframe": np.int64, "ts": np.int64, "trades": np.int64}
    names = [column.name for column in fields(Bars) if column.name not in ("watermark", "stage", "complete")]
    columns = {name: (row + 10 * k).astype(kinds.get(name, np.float64)) for k, name in enumerate(names)}
    return Bars(**columns, complete=row % 2 == 0, watermark=np.array([7, 8]), stage=stage)


@given(st.lists(st.booleans(), max_size=12), st.sampled_from([LIVE, WARM]))
def test_chosen_rows_keep_their_columns_their_order_the_watermark_and_the_stage(
    chosen: list[bool], stage: int
) -> None:
    whole = bars(len(chosen), stage)
    part = whole.rows(np.array(chosen, np.bool_))
    kept = [row for row, flag in enumerate(chosen) if flag]
    assert len(part) == len(kept) and part.stage == stage
    for column in fields(Bars):
        if column.name not in ("watermark", "stage"):
            before, after = getattr(whole, column.name), getattr(part, column.name)
            assert after.dtype == before.dtype and after.tolist() == [before.tolist()[row] for row in kept]
    assert part.watermark.tolist() == [7, 8]
