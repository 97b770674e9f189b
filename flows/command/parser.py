"""Every verb of the command and its options. Nothing heavy is imported here, nor at the top of a verb:
`pairflow -h` answers at once.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from flows.command.arguments import count, directory, port, positive, seconds_or_time
from flows.command.demo import demo
from flows.command.exchange import FAULTS, exchange
from flows.command.export import export_table
from flows.command.init import init
from flows.command.questdb import questdb
from flows.command.replay import replay
from flows.command.run import run


def parser() -> argparse.ArgumentParser:
    """Every verb and its options, with the text that `-h` shows."""
    top = argparse.ArgumentParser(
        prog="pairflow",
        description="Live trades of an exchange to statistical-arbitrage signals in QuestDB, watched in Grafana.",
        epilog="examples:\n"
        "  pairflow demo                                  everything, on a simulated market; nothing to set up\n"
        "  pairflow check && pairflow run                 the pipeline on pipeline.yaml\n"
        "  pairflow replay --dir /tmp/day trades.csv.gz   recorded trades through the same flow\n"
        "  pairflow export signals --format parquet -o signals.parquet --pair BTCUSDT-ETHUSDT\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: pipeline.yaml in this directory)",
    )
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(
        name: str,
        function: Callable[[argparse.Namespace], int],
        text: str,
        more: str = "",
        last: str | None = None,
    ) -> argparse.ArgumentParser:
        added = verbs.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip(), epilog=last
        )
        added.set_defaults(verb=function)
        return added

    verb(
        "init",
        init,
        "write a pipeline.yaml to begin with",
        "Into this directory, or as the FILE of --config. One that is there stays.",
    )
    run_ = verb(
        "run",
        run,
        "the pipeline, live",
        "Resumes where it stopped; Ctrl-C writes what is under way and ends it.",
    )
    run_.add_argument(
        "--fresh",
        action="store_true",
        help="forget the recovery store: go on where the database ends, if that is recent, else begin at the newest trade",
    )
    add_workers(run_)
    replay_ = verb(
        "replay",
        replay,
        "recorded trades through the same flow",
        "Event time only: the speed changes no row, and a second replay changes none.",
    )
    replay_.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="recorded trades: frames, JSON, CSV, Parquet, Feather, packed or not",
    )
    replay_.add_argument(
        "--speed",
        type=positive,
        metavar="N",
        help="times the market's own speed (default: as fast as possible)",
    )
    add_dir(replay_)
    add_workers(replay_)
    demo_ = verb(
        "demo",
        demo,
        "everything on a simulated market",
        "Its database is its own (.pairflow/demo) and begins empty each time.",
    )
    demo_.add_argument(
        "--seconds", type=positive, metavar="N", help="end by itself after N seconds of streaming"
    )
    demo_.add_argument("--http-port", type=port, metavar="P", help="of its QuestDB (default 9000)")
    demo_.add_argument("--pg-port", type=port, metavar="P", help="of its QuestDB (default 8812)")
    add_exchange(
        verb(
            "exchange",
            exchange,
            "the local exchange alone",
            "Speaks Binance's streams and REST on one port of 127.0.0.1.",
            "faults: " + ", ".join(f"{name} ({what})" for name, what in FAULTS.items()),
        )
    )
    verb("check", check, "what is ready and what is not", "Exit code 0 when everything is.")
    export_ = verb("export", export_table, "a table to CSV or Parquet")
    export_.add_argument("table", metavar="TABLE")
    export_.add_argument(
        "--format", choices=("csv", "parquet"), help="default: what FILE's ending says, else csv"
    )
    export_.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="ends in .csv, .csv.gz, .csv.bz2, .csv.xz, .csv.zst or .parquet; - is standard output",
    )
    export_.add_argument(
        "--start", metavar="TIME", help="first ts, such as 2024-08-09 or 2024-08-09T00:05:00Z"
    )
    export_.add_argument("--end", metavar="TIME", help="ts before this time")
    for name in ("symbol", "pair", "timeframe"):
        export_.add_argument(f"--{name}")
    add_dir(export_)
    add_dir(verb("questdb", questdb, "the embedded database alone"))
    return top


def add_workers(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--workers",
        type=count,
        default=1,
        metavar="N",
        help="worker threads (default 1: the fastest for one connection)",
    )


def add_dir(to: argparse.ArgumentParser) -> None:
    to.add_argument("--dir", type=directory, metavar="DIR", help="an embedded database of its own in DIR")


def add_exchange(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="recordings to play (default: a simulated market)"
    )
    to.add_argument("--port", type=port, default=9443, metavar="P", help="(default 9443)")
    to.add_argument(
        "--seed", type=int, default=1, metavar="S", help="of the simulated market and of injected faults"
    )
    to.add_argument(
        "--begin",
        choices=("subscription", "now"),
        default="",
        help="when to begin (default: a recording at the first subscription)",
    )
    to.add_argument(
        "--speed", type=positive, default=1.0, metavar="N", help="recording: times the market's own speed"
    )
    to.add_argument(
        "--as-fast-as-possible",
        action="store_const",
        dest="speed",
        const=0.0,
        help="recording: as fast as clients read",
    )
    to.add_argument(
        "--since",
        type=seconds_or_time,
        metavar="T",
        help="recording: begin at this time, or so many seconds after its first trade",
    )
    to.add_argument(
        "--symbols", nargs="+", metavar="SYMBOL", help="market: (default BTCUSDT ETHUSDT BNBUSDT SOLUSDT)"
    )
    to.add_argument(
        "--rate",
        type=positive,
        default=40.0,
        metavar="N",
        help="market: trades a second and symbol on average (default 40)",
    )
    to.add_argument(
        "--history",
        type=positive,
        default=0.0,
        metavar="S",
        help="market: begin so many seconds ago and catch up with the clock",
    )
    to.add_argument(
        "--catch-up",
        type=positive,
        default=90.0,
        metavar="N",
        help="market: times its own speed until then (default 90)",
    )
    to.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="inject a fault of those below, such as drop=0.01",
    )
    # a child of `demo` ends with it, however that ends
    to.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)


def check(options: argparse.Namespace) -> int:
    from flows.command.check import report

    return report(options.config or Path("pipeline.yaml"))
