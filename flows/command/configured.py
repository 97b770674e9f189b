"""The configuration of a command, and the database that `--dir` names instead of the configured one."""

import argparse
from pathlib import Path
from typing import Any

import msgspec


def load(options: argparse.Namespace) -> Any:
    """The settings of --config, or of pipeline.yaml in the current directory."""
    from flows.settings.decoding import load as load_settings

    return load_settings(options.config or Path("pipeline.yaml"))


def in_dir(database: Any, directory: Path | None) -> Any:
    """The database; with --dir an embedded one in that directory, on ports that are free."""
    if directory is None:
        return database
    from flows.database.embedded import free_ports

    http_port, pg_port = free_ports(database.http_port, database.pg_port)
    return msgspec.structs.replace(
        database, embedded=True, dir=directory.absolute(), http_port=http_port, pg_port=pg_port
    )
