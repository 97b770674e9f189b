"""The messages about each kind of alert, word for word, on an installed Grafana."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.database.connection import connect
from flows.database.wal import settle
from tests.conftest import emptied
from tests.grafana.installed import HEAR_S, NEEDED, Database, eventually, grafana_on
from tests.grafana.post import Post, post_office
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
# rule → its row, summary, description. In a description, SINCE is replaced by the time when the alert opened.
ALERTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "z high": (
        PAIR | {"value": 3.21, "threshold": 3.0, "side": "above", "edge_bps": 7.7},
        "z high: BTCUSDT-ETHUSDT 1m, zscore 3.21",
        "Sell BTCUSDT, buy ETHUSDT for a return to the mean. zscore 3.21 (opens above 3), since SINCE. "
        f"{TESTED} {LEFT}",
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
        f"{TESTED} Nothing is left after costs (-12.2 bp). Its windows miss trades. A price in it is old: "
        "there are no new trades.",
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
        "correlation 0.31 (opens below 0.5), since SINCE. Not cointegrated: 10% of its last tests passed, "
        f"the newest with p 0.012. {LEFT} "
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
class Messages:
    """The messages about every alert."""

    since: int  # when every episode opened, in seconds since 1970
    texts: dict[tuple[str, str], dict[str, str]]  # by rule and state: the text of each way


@pytest.fixture(scope="module")
def messages(server: Database, tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Messages:
    emptied(server.endpoint)
    since, texts = int(time.time()), {}
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
                    # Grafana keeps an alert firing for a while after its episode is over.
                    texts[rule, state] = eventually(lambda of=(rule, state): both(post, *of), 4 * HEAR_S)
    return Messages(since, texts)


def both(post: Post, rule: str, state: str) -> dict[str, str] | None:
    """The texts about a rule by webhook and by e-mail, or None until both have arrived."""
    ways = {each.way: each.about for each in post.of(f"{rule}: ") if each.status == state}
    return ways if len(ways) == 2 else None


@pytest.mark.parametrize("rule", ALERTS)
def test_a_message_states_the_legs_to_trade_the_value_since_when_and_the_edge(
    messages: Messages, rule: str
) -> None:
    row, summary, description = ALERTS[rule]
    ways = messages.texts[rule, "firing"]
    annotations = json.loads(ways["webhook"])["annotations"]
    assert annotations["summary"].strip() == summary
    assert annotations["description"].strip() == description.replace(
        "SINCE", f"{datetime.fromtimestamp(messages.since, UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
    )
    board = (
        f"pairflow-pair?var-pair={row['subject']}"
        if "-" in row["subject"]
        else f"pairflow-market?var-symbol={row['subject']}"
    )
    method = "&var-method=kalman" if "method" in row else ""
    assert annotations["link"].endswith(
        f"/d/{board}&var-timeframe={row['timeframe']}{method}&time={messages.since}000&time.window=3600000"
    )
    letter = " ".join(ways["email"].split())
    assert summary in letter and " ".join(annotations["description"].split()) in letter.replace("&#43;", "+")


@pytest.mark.parametrize("rule", ALERTS)
def test_the_message_about_an_alert_that_is_over_says_so(messages: Messages, rule: str) -> None:
    assert json.loads(messages.texts[rule, "resolved"]["webhook"])["annotations"]["description"].startswith(
        "Over: "
    )
    assert f"Over: {ALERTS[rule][1]}" in " ".join(messages.texts[rule, "resolved"]["email"].split())
