"""`pairflow questdb`: the embedded database alone."""

import argparse
from pathlib import Path
from typing import Any

from flows.command.configured import in_dir, load
from flows.command.telling import say
from flows.errors import UserError


def questdb(options: argparse.Namespace) -> int:
    from flows.database.embedded import serve

    database = load(options).questdb if options.dir is None else in_dir(known_ports(options), options.dir)
    if not database.embedded:
        raise UserError(
            "questdb: the configuration names a server elsewhere (questdb.embedded: false): start that one"
        )
    return serve(database, say)


def known_ports(options: argparse.Namespace) -> Any:
    """A database on the ports of the configuration, if there is one; with --dir only these are used."""
    from flows.settings.model import QuestDB

    if options.config is None and not Path("pipeline.yaml").exists():
        return QuestDB()
    try:
        return load(options).questdb
    except UserError as error:
        if options.config:
            raise
        say(f"pipeline.yaml is left out, so its ports are not used: {error}")
        return QuestDB()
