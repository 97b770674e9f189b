"""`python -m grafana.build` writes the dashboards and the alert rules from their sources.

A test compares the committed files with what the sources make.
"""

import json
from pathlib import Path

from grafana import rules
from grafana.boards.alerts import alerts
from grafana.boards.health import health
from grafana.boards.market import market
from grafana.boards.overview import overview
from grafana.boards.pair import pair

DASHBOARDS = {"alerts": alerts, "health": health, "market": market, "overview": overview, "pair": pair}


def files() -> dict[str, str]:
    """The text of every generated file, by its path in grafana/."""
    boards = {name: make() for name, make in DASHBOARDS.items()}
    panels = {
        name: {panel["title"]: panel["id"] for panel in board["panels"]} for name, board in boards.items()
    }
    made = {
        f"dashboards/{name}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }
    return made | {"provisioning/alerting/rules.yaml": rules.text_of(panels)}


def main() -> None:
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
