"""`pairflow demo`: the whole pipeline on a simulated market."""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from flows.command.run import stream
from flows.command.simulated import erase, simulated
from flows.errors import UserError
from flows.markets import BINANCE
from flows.settings.model import SIMULATED

DEMO: Final = Path(__file__).parents[1] / "sandbox" / "demo.yaml"


def demo(options: argparse.Namespace) -> int:
    from flows.settings.decoding import load as load_settings

    settings = load_settings(options.config or DEMO, directory=Path.cwd())
    if any(source.market is not BINANCE for source in settings.sources):
        raise UserError(
            "demo: the simulated market is one of Binance spot: give it a configuration with symbols of it only"
        )
    home = Path.cwd() / ".pairflow" / "demo"
    database = msgspec.structs.replace(
        settings.questdb,
        embedded=True,
        dir=home / "questdb",
        http_port=options.http_port or settings.questdb.http_port,
        pg_port=options.pg_port or settings.questdb.pg_port,
    )
    if database.http_port == database.pg_port:
        raise UserError(
            f"demo: port {database.http_port} is wanted for both HTTP and PostgreSQL: give --http-port and "
            "--pg-port two ports"
        )
    settings = msgspec.structs.replace(
        settings,
        questdb=database,
        recovery=msgspec.structs.replace(settings.recovery, dir=None),
        sources=(msgspec.structs.replace(settings.source, exchange=SIMULATED),),
    )
    erase(database)
    with simulated(settings) as settings:
        return stream(settings, 1, options.seconds)
