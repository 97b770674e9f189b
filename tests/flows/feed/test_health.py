"""Rows of `health` carry what the monitor and audit threads measure, and NULL until then."""

from typing import Any

import numpy as np

from flows.feed.health import RATED, Health, Vitals
from operators.columns import NEVER

SYMBOLS = ("BTCUSDT", "ETHUSDT")
CODES = np.array([0, 1])


def values(vitals: Vitals) -> dict[str, list[Any]]:
    return {name: column.tolist() for name, column in vitals.columns(CODES).items()}  # type: ignore[union-attr]


def test_what_nobody_has_found_yet_is_null() -> None:
    found = values(Vitals(SYMBOLS))
    assert np.isnan(found.pop("skew_ms")).all() and np.isnan(found.pop("mismatch_rate")).all()
    assert found == {
        "wal_pending": [NEVER] * 2,
        "suspended": [NEVER] * 2,
        "audited": [0, 0],
        "mismatched": [0, 0],
    }


def test_the_mismatch_rate_is_of_the_newest_bars_of_the_symbol() -> None:
    vitals = Vitals(SYMBOLS)
    vitals.audited(0, [True, False, False, True])
    found = values(vitals)
    assert (found["audited"], found["mismatched"], found["mismatch_rate"][0]) == ([4, 0], [2, 0], 0.5)
    vitals.audited(0, [False] * (RATED - 1))
    assert values(vitals)["mismatch_rate"][0] == 1 / RATED
    vitals.audited(0, [False])
    assert (values(vitals)["mismatch_rate"][0], values(vitals)["mismatched"][0]) == (0, 2)


def test_a_row_of_health_carries_the_vitals_and_that_of_a_replay_has_none() -> None:
    now = [0]
    vitals = Vitals(SYMBOLS)
    health = Health(SYMBOLS, np.array([1]), lambda: now[0], vitals)
    replayed = Health(SYMBOLS, np.array([1]), lambda: now[0])
    vitals.clocks(-250_000, [0, 1])
    vitals.tables(3, 1)
    vitals.audited(1, [False, True])
    now[0] = 1_000_000
    columns: dict[str, Any] = dict(health.rows(0).columns)
    names = ("skew_ms", "wal_pending", "suspended", "audited", "mismatched", "mismatch_rate")
    assert [columns[name].tolist() for name in names] == [[-250.0], [3], [1], [2], [1], [0.5]]
    assert not set(names) & set(replayed.rows(0).columns)
