"""Row 12: symbol unknown at the start / delisted while running.

docs/faults.md says what Pairflow promises in this case.
"""

import logging

import pytest

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from flows.settings.model import Settings
from tests.faults.stage import Home, Stops, Tables, live, records, same, tables


def test_an_unknown_symbol_is_named_and_ends_the_start(home: Home) -> None:
    text = (home.path / "pipeline.yaml").read_text()
    (home.path / "pipeline.yaml").write_text(text.replace("source: {", "source: {symbols: [NOSUCHUSDT], "))
    with home.running() as run:
        assert run.ends() == 1
        assert [line for line in run.lines if "NOSUCHUSDT" in line] == run.lines[
            -1:
        ] and "does not trade" in run.lines[-1]


def test_a_delisted_symbol_is_named_once_and_the_other_goes_on(
    settings: Settings, played: Background, database: Endpoint, r: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    btc = records(r["trades"], "trades", symbol="BTCUSDT")
    market = Stops(played, 60)
    with live(settings, database) as line:
        line.until(market.reached)
        played.control("delist", symbol="ETHUSDT")
        played.call(played.exchange.disconnect)
        market.go_on()
        line.until(lambda: len(line.ids("BTCUSDT")) == len(btc))
        line.until(lambda: any("ETHUSDT" in record.getMessage() for record in caplog.records))
    assert len([record for record in caplog.records if "ETHUSDT" in record.getMessage()]) == 1
    found = tables(database)
    of = {
        "trades": [row for row in found["trades"] if row[1] == "BTCUSDT"],
        "bars": [row for row in found["bars"] if row[1] == "BTCUSDT"],
    }
    same(of, {name: [row for row in r[name] if row[1] == "BTCUSDT"] for name in of}, of)
