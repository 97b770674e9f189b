"""`python -m grafana.build` writes grafana/dashboards/*.json from their sources; a test checks that they are what these make."""

import json
from pathlib import Path

from grafana.market import market
from grafana.pair import pair

DASHBOARDS = {"market": market, "pair": pair}


def text_of(name: str) -> str:
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    folder = Path(__file__).parent / "dashboards"
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
