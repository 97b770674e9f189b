"""Row 14: DNS or TLS failure, HTTP 451 (geo-block) at connect.

docs/faults.md says what Pairflow promises in this case.
"""

import logging
import random
import threading
import time
from itertools import pairwise

import pytest

from flows.live.socket import Inbox, Stream, Timing
from flows.sandbox.background import Background
from flows.venues.binance.venue import VENUE
from tests.faults.stage import Home, eventually

SCALE = 100  # how much faster than the wall clock time passes
TIMING = Timing(
    connect_s=5.0, backoff_s=Timing().backoff_s / SCALE, backoff_cap_s=Timing().backoff_cap_s / SCALE
)
WINDOW_S = 300 / SCALE
ALLOWED = 300


def test_attempts_back_off_with_jitter_to_far_below_the_limit(
    played: Background, caplog: pytest.LogCaptureFixture
) -> None:
    played.control("faults", ws_status=451)
    stream = Stream(VENUE, played.ws_url, ["btcusdt@trade"], Inbox(10), random.Random(1), TIMING)
    stream.start()
    time.sleep(WINDOW_S)
    stream.stop()
    connects = played.stats()["connects"]
    assert 5 < len(connects) < ALLOWED / 4
    waits = [after - before for before, after in pairwise(connects)]
    assert waits[0] < TIMING.backoff_cap_s / 4 and max(waits) < 2 * TIMING.backoff_cap_s
    late = [round(wait, 3) for wait in waits[7:]]
    assert len(set(late)) > 1, "jitter"
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert all(
        "HTTP 451, it does not serve this country: give source.ws_url another host" in line
        and "\n" not in line
        for line in said
    )
    assert 1 <= len(said) <= len(connects).bit_length(), "no flood"


@pytest.mark.parametrize("where", ["wss://127.0.0.1:{port}", "ws://no-such-host.invalid"], ids=["TLS", "DNS"])
def test_the_reason_is_logged_in_a_clear_line(
    played: Background, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    stream = Stream(
        VENUE, where.format(port=played.port), ["btcusdt@trade"], Inbox(10), random.Random(1), TIMING
    )
    stream.start()
    try:
        eventually(lambda: caplog.records)
    finally:
        stream.stop()
    (line, *_) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        line.startswith(where.format(port=played.port))
        and line.endswith("; connecting again")
        and "\n" not in line
    )
    assert "0x" not in line and "Traceback" not in line
    assert not [thread for thread in threading.enumerate() if thread.name == "stream"]


def test_a_start_where_rest_is_blocked_ends_with_one_line(home: Home, played: Background) -> None:
    played.control("faults", rest_status=451)
    with home.running() as run:
        assert run.ends() == 1
        assert len(run.lines) == 1 and "HTTP 451, it does not serve this country" in run.lines[0]
