"""A thread beside the pipeline: a failure is said once and tried again, and it ends with its block though it
rests for a minute.
"""

import logging
import time

import pytest

from flows.database.connection import Endpoint
from flows.venues.binance.api import BinanceApi
from flows.watchers.beside import Beside


class Rounds(Beside):
    def __init__(self) -> None:
        super().__init__("rounds", Endpoint("127.0.0.1", 9, 9), BinanceApi("http://127.0.0.1:9"))
        self.rounds = self.lost = 0

    def _round(self) -> float:
        self.rounds += 1
        if self.rounds == 1:
            raise OSError("away")
        return 60.0

    def _lost(self) -> None:
        self.lost += 1


def test_a_failure_is_said_once_and_the_round_is_gone_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Rounds() as rounds:
        until = time.monotonic() + 20
        while rounds.rounds < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert not rounds._thread.is_alive()
    assert rounds.lost == 1
    assert len([record for record in caplog.records if "away" in record.getMessage()]) == 1
