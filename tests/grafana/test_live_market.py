"""Everything together: a simulated market, the pipeline, QuestDB and an installed Grafana.

The test waits until a z-score beyond 3 has been reported and is over.
"""

import json
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from flows.database.connection import Endpoint
from grafana.rules import KEEP_FIRING
from tests import forked
from tests.grafana.installed import HEAR_S, NEEDED, READER, Database, eventually, grafana_on
from tests.grafana.post import post_office
from tests.line import LAST_S, Ports

pytestmark = [NEEDED, pytest.mark.long]
CONFIGURATION = """
source: {{exchange: simulated}}
bars: {{timeframes: [1s, 1m]}}
defaults:
  timeframes: [1s]
  hedge: {{window: 60}}
  zscore: {{window: 20}}
  correlation: {{window: 20}}
  adf: {{window: 60, every: 60}}
pairs:
  - [BTCUSDT, ETHUSDT]
  - [BNBUSDT, SOLUSDT]
  - [BTCUSDT, BNBUSDT]
  - [ETHUSDT, SOLUSDT]
  - [BTCUSDT, SOLUSDT]
  - [ETHUSDT, BNBUSDT]
alerts:
  - {{name: z over 3, metric: zscore, timeframes: [1s], above: 3, exit: 1, priority: high,
      only_stationary: false}}
  - {{name: z under -3, metric: zscore, timeframes: [1s], below: -3, exit: -1, priority: high,
      only_stationary: false}}
questdb: {{http_port: {http}, pg_port: {pg}}}
"""
SINCE = re.compile(r"since (\S+ \S+ \+0000)")
CROSSES_S = 200.0  # among six z-scores of 20 s windows, one crosses 3 several times a minute


def test_a_z_score_beyond_3_is_reported_within_25_s_and_is_over_once(
    tmp_path: Path, free_ports: Ports
) -> None:
    http, pg = free_ports(2)
    (tmp_path / "pipeline.yaml").write_text(CONFIGURATION.format(http=http, pg=pg))
    database = Database(tmp_path, http, pg)
    assert database.endpoint == Endpoint("127.0.0.1", http, pg, tmp_path)
    with (
        (tmp_path / "log").open("wb") as log,
        post_office() as post,
        grafana_on(tmp_path / "grafana", database, free_ports) as grafana,
    ):
        flow = forked.start(
            [sys.executable, "-m", "flows.command", "run"],
            cwd=tmp_path,
            env={**os.environ, "QDB_PG_READONLY_PASSWORD": READER},
            stdout=log,
            stderr=log,
        )
        try:
            grafana.start(**post.env())
            webhook = eventually(
                lambda: [each for each in post.received if each.way == "webhook"], CROSSES_S
            )[0]
            arrived = time.time()
            alert = json.loads(webhook.about)
            rule, subject = alert["labels"]["rule"], alert["labels"]["subject"]
            assert webhook.status == "firing" and rule in ("z over 3", "z under -3")
            text = alert["annotations"]["description"]
            assert ("Sell" if rule == "z over 3" else "Buy") + f" {subject.split('-')[0]}" in text
            match = SINCE.search(text)
            assert (
                match and arrived - datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S %z").timestamp() <= HEAR_S
            )
            about = f"{rule}: {subject}"
            both = {
                ("webhook", "firing"),
                ("email", "firing"),
                ("webhook", "resolved"),
                ("email", "resolved"),
            }
            kept = float(KEEP_FIRING["high"].removesuffix("s"))
            eventually(
                lambda: {(each.way, each.status) for each in post.of(about)} == both,
                CROSSES_S + kept + 2 * HEAR_S,
            )
            states = [each.status for each in post.of(about) if each.way == "webhook"]
            assert states == ["firing", "resolved"] * (len(states) // 2) + ["firing"] * (len(states) % 2)
        finally:
            flow.terminate()
            flow.wait(LAST_S)
