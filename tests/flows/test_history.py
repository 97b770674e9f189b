"""A pipeline that begins in the middle of things has the rows of one that had been running: from the exchange's past, and from the database."""

from pathlib import Path

import numpy as np
import pytest

from flows.exchange import background
from tests.line import Ports, configure, finish, follow, rows, running, tables

SECOND_US = 1_000_000
NUMBERS = ("signals", "cointegration", "activity", "alerts")


def from_on(table: str, ts: str) -> list[dict[str, str]]:
    return [row for row in rows(table) if row["ts"] >= ts]


def same(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> None:
    """Equal but for the last bits of sums: the exchange's candles are decimal, ours are floats."""
    assert len(ours) == len(theirs) > 0
    for our, their in zip(ours, theirs, strict=True):
        for name, text in their.items():
            if our[name] != text and not (
                name == "complete" and our[name] == "true"
            ):  # the recording's first second is not whole, theirs is
                assert float(our[name]) == pytest.approx(float(text), rel=1e-12), (name, our, their)


def test_a_warm_start_has_the_rows_of_a_pipeline_that_had_been_running(
    replayed: tuple[Path, dict[str, str]],
    recording: Path,
    tmp_path: Path,
    free_ports: Ports,
) -> None:
    _, expected = replayed
    everything = expected["trades"].count("\n")
    with background(paths=[recording], speed=20.0, since_us=400 * SECOND_US, begin="now") as exchange:
        home = configure(tmp_path / "warm", free_ports, exchange.ws_url, exchange.rest_url)
        with running(home) as run:
            follow(run, "history: from the exchange")
            while not exchange.call(exchange.exchange.clock)["ended"]:
                follow(run, "alert episodes")
            follow(run, "alert episodes")
            finish(run)
    found = tables(home)
    begun = rows(found["trades"])[0]["ts"]
    assert 100 < found["trades"].count("\n") < everything
    assert found["trades"].splitlines()[1:] == [line for line in expected["trades"].splitlines()[1:] if line >= begun]
    minute = str(np.datetime64(begun[:-1], "m") + 1)
    for table in NUMBERS:
        same(from_on(found[table], minute), from_on(expected[table], minute))
    assert from_on(found["bars"], minute)
    same(from_on(found["bars"], minute), from_on(expected["bars"], minute))
    assert all(row["complete"] == "true" for row in rows(found["bars"], timeframe="1s"))
