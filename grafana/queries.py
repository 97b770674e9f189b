"""Every statement that Grafana sends to QuestDB, read from the generated files.

Tests and benchmarks run the statements as QuestDB gets them, after Grafana has expanded its macros.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from grafana.vocabulary import POINTS

HERE = Path(__file__).parent
MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Grafana rounds the interval of a chart: below the first number of milliseconds to the second.
NICE = (
    *((1_500, 1_000), (3_500, 2_000), (7_500, 5_000), (12_500, 10_000), (17_500, 15_000)),
    *((25_000, 20_000), (45_000, 30_000), (90_000, 60_000), (210_000, 120_000), (450_000, 300_000)),
    *((750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000)),
    *((5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000), (32_400_000, 21_600_000)),
)


@dataclass(frozen=True)
class Query:
    """One statement of a dashboard or a rule, as its file has it, with Grafana's macros."""

    where: str
    text: str
    shape: str  # time_series | table | variable
    minimum: str = "1s"  # the shortest $__interval: a duration, or $timeframe
    points: int = POINTS  # about how many points the chart shows

    def expanded(self, choice: dict[str, str], since: datetime, until: datetime) -> str:
        """The statement as QuestDB gets it, for a time range and the chosen values of the variables."""

        def stamp(time: datetime) -> str:
            return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

        def quoted(match: re.Match[str]) -> str:
            return "'" + choice[match[1]].replace("'", "''") + "'"

        least = choice.get(self.minimum[1:], self.minimum)  # empty while the variable has no value
        interval = max(
            nice(1_000 * (until - since).total_seconds() / self.points), milliseconds(least) if least else 0
        )
        text = re.sub(
            r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{stamp(since)}' AND '{stamp(until)}'", self.text
        )
        text = text.replace("$__timeFrom()", f"'{stamp(since)}'").replace("$__timeTo()", f"'{stamp(until)}'")
        text = text.replace("$__interval_ms", str(interval)).replace("$__interval", f"{interval // 1_000}s")
        return re.sub(r"\$\{(\w+):sqlstring\}", quoted, text)


def milliseconds(duration: str) -> int:
    """The length of a duration such as `10s` or `1h`."""
    return int(duration[:-1]) * MS[duration[-1]]


def nice(interval: float) -> int:
    """The milliseconds to which Grafana rounds an interval in milliseconds."""
    return next((rounded for limit, rounded in NICE if interval < limit), MS["d"])


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard, as its file has it."""
    return [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((HERE / "dashboards").glob("*.json"))
    ]


def rules() -> list[dict[str, Any]]:
    """Every alert rule, as rules.yaml has it."""
    groups = yaml.safe_load((HERE / "provisioning/alerting/rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[Query]:
    """Every statement of the dashboards and the rules."""
    found = []
    for board in dashboards():
        name = board["title"]
        found += [
            Query(f"{name}, variable {each['name']}", each["query"], "variable")
            for each in board["templating"]["list"]
        ]
        for each in board["annotations"]["list"]:
            found.append(Query(f"{name}, annotation {each['name']}", each["target"]["rawSql"], "table"))
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                where = f"{name}, panel {panel['title']}, {target['refId']}"
                found.append(
                    Query(
                        where,
                        target["rawSql"],
                        target["format"],
                        panel.get("interval", "1s"),
                        panel["maxDataPoints"],
                    )
                )
    for rule in rules():
        for part in rule["data"]:
            if part["datasourceUid"] != "__expr__":
                found.append(
                    Query(
                        f"rule {rule['title']}, {part['refId']}",
                        part["model"]["rawSql"],
                        part["model"]["format"],
                    )
                )
    return found
