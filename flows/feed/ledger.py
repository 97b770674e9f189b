"""Rows of the table `gaps`: the ledger of missing trade ids."""

import numpy as np

from flows.database.columns import Rows, Symbols
from flows.feed.gaps import CAUSES, FILLED, STATUSES, Gap
from operators.columns import NEVER


def gap_rows(gaps: list[Gap], symbols: tuple[str, ...], now_us: int) -> Rows:
    """The ledger's lines as rows."""
    first_id, last_id = (
        np.array([getattr(gap, name) for gap in gaps], np.int64) for name in ("first_id", "last_id")
    )
    return Rows(
        "gaps",
        {
            "ts": np.array([gap.ts for gap in gaps], np.int64),
            "symbol": Symbols(np.array([gap.symbol for gap in gaps], np.int32), symbols),
            "first_id": first_id,
            "last_id": last_id,
            "trades": np.array([gap.trades for gap in gaps], np.int64),
            "cause": Symbols(np.array([CAUSES.index(gap.cause) for gap in gaps], np.int32), CAUSES),
            "status": Symbols(np.array([STATUSES.index(gap.status) for gap in gaps], np.int32), STATUSES),
            "filled_at": np.array([now_us if gap.status == FILLED else NEVER for gap in gaps], np.int64),
        },
    )
