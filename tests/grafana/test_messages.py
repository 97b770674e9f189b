"""What a message says: each kind of alert on an installed Grafana, word for word."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.database.connection import connect
from flows.database.wal import settle
from tests.conftest import emptied
from tests.grafana.installed import HEAR_S, NEEDED, Database, Post, eventually, grafana_on, post_office
from tests.grafana.rows import insert
from tests.line import Ports

pytestmark = NEEDED
PAIR = {
    "subject": "BTCUSDT-ETHUSDT",
    "timeframe": "1m",
    "metric": "zscore",
    "method": "kalman",
    "complete": True,
    "coint_pvalue": 0.012,
}
SYMBOL = {"subject": "BTCUSDT", "timeframe": "1s", "complete": True}
LEFT = "7.7 bp are left after costs."
TESTED = "Cointegrated: 85% of its last tests passed, the newest with p 0.012."
# rule → its row, summary, description (SINCE stands for the time it opened)
ALERTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "z high": (
        PAIR | {"value": 3.21, "threshold": 3.0, "side": "above", "edge_bps": 7.7},
        "z high: BTCUSDT-ETHUSDT 1m, zscore 3.21",
        f"Sell BTCUSDT, buy ETHUSDT for a return to the mean. zscore 3.21 (opens above 3), since SINCE. {TESTED} {LEFT}",
    ),
    "z low": (
        PAIR
        | {
            "value": -2.5,
            "threshold": -3.0,
            "side": "below",
            "edge_bps": -12.25,
            "complete": False,
            "stale": True,
        },
        "z low: BTCUSDT-ETHUSDT 1m, zscore -2.5",
        "Buy BTCUSDT, sell ETHUSDT for a return to the mean. zscore -2.5 (opens below -3), since SINCE. "
        f"{TESTED} Nothing is left after costs (-12.2 bp). Its windows miss trades. A price in it is old: there are no new trades.",
    ),
    "z either": (
        PAIR
        | {
            "subject": "BNBUSDT-SOLUSDT",
            "value": -3.5,
            "threshold": 3.0,
            "side": "outside",
            "edge_bps": 7.7,
            "coint_pvalue": None,
        },
        "z either: BNBUSDT-SOLUSDT 1m, zscore -3.5",
        "Buy BNBUSDT, sell SOLUSDT for a return to the mean. zscore -3.5 (opens outside ±3), since SINCE. "
        f"Not tested for cointegration yet. {LEFT}",
    ),
    "z unknown": (
        PAIR | {"value": None, "threshold": 3.0, "side": "above", "edge_bps": None},
        "z unknown: BTCUSDT-ETHUSDT 1m, zscore",
        f"zscore (opens above 3), since SINCE. {TESTED}",
    ),
    "breakdown": (
        PAIR
        | {
            "subject": "XRPUSDT-ADAUSDT",
            "metric": "correlation",
            "value": 0.31,
            "threshold": 0.5,
            "side": "below",
            "edge_bps": 7.7,
        }
        | {"stale": True},
        "breakdown: XRPUSDT-ADAUSDT 1m, correlation 0.31",
        f"correlation 0.31 (opens below 0.5), since SINCE. Not cointegrated: 10% of its last tests passed, the newest with p 0.012. {LEFT} "
        "A price in it is old: there are no new trades.",
    ),
    "btc": (
        SYMBOL | {"metric": "price", "value": 65123.4, "threshold": 65000.0, "side": "above"},
        "btc: BTCUSDT 1s, price 65123.4",
        "price 65123.4 (opens above 65000), since SINCE.",
    ),
}
SHARES = {"BTCUSDT-ETHUSDT": 0.85, "XRPUSDT-ADAUSDT": 0.1}


@dataclass(frozen=True)
class Said:
    since: int  # seconds since the epoch: when every episode opened
    told: dict[tuple[str, str], dict[str, str]]  # by rule and state; by way, what was told


@pytest.fixture(scope="module")
def said(server: Database, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Said:
    emptied(server.endpoint)
    since, told = int(time.time()), {}
    tests = [
        {"ts": since, "pair": pair, "timeframe": "1m", "method": "ols", "coint_share": share}
        for pair, share in SHARES.items()
    ]
    episode = {"priority": "high", "episode": since * 1_000_000}
    with (
        post_office() as post,
        grafana_on(tmp_path_factory.mktemp("messages"), server, free_ports) as grafana,
    ):
        grafana.start(**post.env())
        with connect(server.endpoint) as connection:
            insert(connection, "cointegration", tests)
            for state in ("firing", "resolved"):
                for rule, (row, *_) in ALERTS.items():
                    insert(
                        connection,
                        "alerts",
                        [row | episode | {"ts": int(time.time()), "rule": rule, "active": state == "firing"}],
                    )
                settle(server.endpoint)
                for rule in ALERTS:
                    # firing is kept for a while
                    told[rule, state] = eventually(lambda of=(rule, state): both(post, *of), 4 * HEAR_S)
    return Said(since, told)


def both(post: Post, rule: str, state: str) -> dict[str, str] | None:
    """What was told of a rule by webhook and by e-mail, once it has come both ways."""
    ways = {each.way: each.about for each in post.of(f"{rule}: ") if each.status == state}
    return ways if len(ways) == 2 else None


@pytest.mark.parametrize("rule", ALERTS)
def test_a_message_says_what_which_way_how_far_since_when_and_what_is_left(said: Said, rule: str) -> None:
    row, summary, description = ALERTS[rule]
    ways = said.told[rule, "firing"]
    told = json.loads(ways["webhook"])["annotations"]
    assert told["summary"].strip() == summary
    assert told["description"].strip() == description.replace(
        "SINCE", f"{datetime.fromtimestamp(said.since, UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
    )
    board = (
        f"pairflow-pair?var-pair={row['subject']}"
        if "-" in row["subject"]
        else f"pairflow-market?var-symbol={row['subject']}"
    )
    method = "&var-method=kalman" if "method" in row else ""
    assert told["link"].endswith(
        f"/d/{board}&var-timeframe={row['timeframe']}{method}&time={said.since}000&time.window=3600000"
    )
    letter = " ".join(ways["email"].split())
    assert summary in letter and " ".join(told["description"].split()) in letter.replace("&#43;", "+")


@pytest.mark.parametrize("rule", ALERTS)
def test_the_message_that_it_is_over_says_so(said: Said, rule: str) -> None:
    assert json.loads(said.told[rule, "resolved"]["webhook"])["annotations"]["description"].startswith(
        "Over: "
    )
    assert f"Over: {ALERTS[rule][1]}" in " ".join(said.told[rule, "resolved"]["email"].split())
