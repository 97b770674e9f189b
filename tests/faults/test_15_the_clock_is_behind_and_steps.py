"""Row 15: the machine's clock is 1.3 s behind, steps ±1 h.

docs/faults.md says what Pairflow promises in this case.
"""

import random
import time
from dataclasses import replace

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from operators.columns import SECOND_US
from tests.faults.stage import QUICK, Tables, lasting, live, same, tables

BEHIND_US = 1_300_000
HOUR_US = 3_600 * SECOND_US


def test_bars_do_not_look_at_the_clock(
    settings: Settings, played: Background, database: Endpoint, r: Tables, chance: random.Random
) -> None:
    looked = 0

    def clock_us() -> int:
        nonlocal looked
        looked += 1
        return time.time_ns() // 1_000 - BEHIND_US + chance.choice((-HOUR_US, 0, HOUR_US))

    with live(settings, database, options=replace(QUICK, wall_us=clock_us)) as line:
        line.begun()
        played.control("faults", skew_us=BEHIND_US, drop=0.01)
        lasting(played, line, len(r["trades"]))
    assert looked
    same(tables(database), r)
