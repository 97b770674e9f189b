"""`make screenshots` writes pictures of every dashboard, dark and light, into docs/screenshots/.

They are of the Grafana at GRAFANA_URL; GRAFANA_USER (by default admin) and GRAFANA_PASSWORD are the login.
`make screenshots ARGS="pair --query from=now-15m"` takes one dashboard, with another time range.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from flows.errors import UserError
from grafana.queries import HERE, dashboards
from grafana.tools.api import Grafana, named
from grafana.tools.browser import browser

THEMES: Final = ("dark", "light")
WIDTH: Final = 1_600  # px: a laptop's


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make screenshots", description="pictures of the dashboards of a running Grafana"
    )
    parser.add_argument(
        "names", nargs="*", help="names of dashboards, as in grafana/dashboards (default: all)"
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=HERE.parent / "docs" / "screenshots",
        help="the folder of the pictures (%(default)s)",
    )
    parser.add_argument(
        "--query",
        default="",
        help="query of the address, such as from=now-15m&var-pair=BTCUSDT-ETHUSDT",
    )
    parser.add_argument("--width", type=int, default=WIDTH, help="of the window, px (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        take(chosen.names, chosen.to, chosen.query, chosen.width)
    except UserError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


def take(names: list[str], to: Path, query: str = "", width: int = WIDTH) -> None:
    """Write the pictures, and print the errors that panels show."""
    boards = {board["uid"].removeprefix("pairflow-"): board["uid"] for board in dashboards()}
    if unknown := sorted(set(names) - set(boards)):
        raise UserError(f"{', '.join(unknown)}: no such dashboard: expected some of {', '.join(boards)}")
    grafana = named()
    to.mkdir(parents=True, exist_ok=True)
    with browser(grafana) as opened:
        for name in names or boards:
            refuse(grafana, boards[name])
            for theme in THEMES:
                page = opened.page(f"/d/{boards[name]}?{query}", theme=theme, width=width)
                if not page.settled:
                    raise UserError(
                        f"{grafana.url}/d/{boards[name]}: still loading when the time was up: try --query "
                        "from=now-15m"
                    )
                path = to / f"{name}-{theme}.png"
                path.write_bytes(page.picture)
                print(f"{path}: {len(page.picture) / 1e3:.0f} kB, {len(page.panels)} panels")
                for panel in page.panels:
                    if panel.error:
                        print(f"    {panel.title}: {panel.error}")


def refuse(grafana: Grafana, uid: str) -> None:
    """Raise UserError if the user cannot see the dashboard.

    A page would make many requests, and Grafana locks a user out after a few refusals.
    """
    status, _ = grafana.answer(f"/api/dashboards/uid/{uid}")
    if status in {401, 403}:
        raise UserError(
            f"{grafana.url} refuses {grafana.user}: set GRAFANA_USER and GRAFANA_PASSWORD (after 5 refusals, "
            "in 5 minutes)"
        )
    if status != 200:
        raise UserError(f"{grafana.url} has no dashboard {uid} (HTTP {status}): is it Pairflow's Grafana?")


if __name__ == "__main__":
    sys.exit(main())
