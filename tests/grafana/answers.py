"""What a Grafana answers to requests of its HTTP API and to statements."""

import re
from collections.abc import Iterator
from typing import Any

from grafana.queries import dashboards
from grafana.tools.api import Grafana


def uids(grafana: Grafana) -> dict[str, list[str]]:
    """The uids of everything that is provisioned in Grafana, by kind."""

    def of(path: str, key: str = "uid") -> list[str]:
        status, found = grafana.answer(path)
        assert status == 200, (path, found)
        return sorted(each[key] for each in found)

    return {
        "dashboards": of("/api/search?type=dash-db"),
        "folders": of("/api/folders"),
        "data sources": of("/api/datasources"),
        "rules": of("/api/v1/provisioning/alert-rules"),
        "contact points": of("/api/v1/provisioning/contact-points"),
    }


def query(grafana: Grafana, sql: str, shape: str = "table", **more: Any) -> tuple[int, Any]:
    """The answer of Grafana's data source to a statement: status and decoded body."""
    asked = {
        "refId": "A",
        "datasource": {"uid": "questdb"},
        "format": shape,
        "rawSql": sql,
        "intervalMs": 60_000,
        "maxDataPoints": 500,
        **more,
    }
    return grafana.answer("/api/ds/query", {"queries": [asked], "from": "now-3h", "to": "now"})


def through(grafana: Grafana, choice: dict[str, str]) -> Iterator[tuple[str, int, Any]]:
    """Grafana's answers to every statement of the dashboards, with these values of the variables.

    Yields where the statement is, the status, and the decoded body.
    """
    for board in dashboards():
        asked = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
        asked += [(each["name"], each["target"]) for each in board["annotations"]["list"]]
        asked += [
            (each["name"], {"rawSql": each["query"]})
            for each in board["templating"]["list"]
            if each["type"] == "query"
        ]
        for title, target in asked:
            text = re.sub(
                r"\$\{(\w+):sqlstring\}", lambda match: quoted(choice.get(match[1], "")), target["rawSql"]
            )
            status, answer = query(grafana, text, target.get("format", "table"))
            yield f"{board['title']}, {title}, {target.get('refId', 'variable')}", status, answer


def quoted(text: str) -> str:
    """The text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def cells(answer: Any) -> list[Any]:
    """Every value of an answer that is not NULL."""
    frames = [frame for result in answer["results"].values() for frame in result.get("frames", [])]
    return [
        cell for frame in frames for column in frame["data"]["values"] for cell in column if cell is not None
    ]
