"""`pairflow export`: a table to CSV or Parquet."""

import argparse
from typing import Any

from flows.command.configured import in_dir, load
from flows.command.telling import say
from flows.errors import UserError


def export_table(options: argparse.Namespace) -> int:
    from flows.database.embedded import running
    from flows.database.export import export, refuse_wrong
    from flows.database.prepare import prepare

    chosen = {name: getattr(options, name) for name in ("start", "end", "symbol", "pair", "timeframe")}
    refuse_wrong(options.table, options.format, options.output, **chosen)
    if options.dir is not None and not (options.dir / "db").is_dir():
        raise UserError(
            f"export: --dir {options.dir}: no database is there: give that of a replay, or the demo's "
            "(.pairflow/demo/questdb)"
        )
    with running(exported(options), say) as endpoint:
        prepare(endpoint)
        export(
            endpoint,
            options.table,
            options.format,
            options.output,
            **chosen,
            progress=say,
        )
    return 0


def exported(options: argparse.Namespace) -> Any:
    """The database that an export reads: that of --dir, without any configuration, or the configured one."""
    from flows.settings.model import QuestDB

    if options.dir is None or options.config:
        settings = load(options)
        if options.dir is None:
            return settings.questdb
    return in_dir(QuestDB(http_port=0, pg_port=0), options.dir)  # any free ports: only the export uses them
