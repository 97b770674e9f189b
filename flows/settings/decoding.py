"""pipeline.yaml to frozen, typed settings; every mistake is one line that says where it is and what was
expected.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from flows.errors import UserError
from flows.markets import market_of
from flows.settings.alerts import read_alerts
from flows.settings.fields import Spellings, read_share
from flows.settings.model import Settings
from flows.settings.pairs import read_pairs
from flows.settings.sections import read_questdb, read_recovery, read_retention, read_sources, read_symbols
from flows.settings.strict_yaml import parse
from flows.settings.timeframes import TIMEFRAMES, read_timeframes


def load(path: Path, environ: Mapping[str, str] = os.environ, directory: Path | None = None) -> Settings:
    """The settings in the file at `path`; relative directories in it are below `directory`, by default the
    file's own.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file: name one with --config, or let `pairflow init` write one"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8 text: is this the configuration?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return decode(text, str(path), path.absolute().parent if directory is None else directory, environ)


def decode(
    text: str, where: str, directory: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings that `text` spells out; `where` names it in messages.

    PAIRFLOW_QUESTDB_HOST in `environ`, when set, means the QuestDB on that host instead of an embedded one,
    with the ports of the file (inside docker compose the database is another container).
    """
    top = parse(text, where)
    keys = top.keys(
        "source",
        "sources",
        "bars",
        "defaults",
        "pairs",
        "alerts",
        "questdb",
        "recovery",
        "retention",
        "alerts_tolerate",
    )
    directory = directory or Path()
    bars = keys["bars"].keys("timeframes") if "bars" in keys else {}
    timeframes = read_timeframes(bars["timeframes"]) if "timeframes" in bars else TIMEFRAMES
    sources = read_sources(keys.get("source"), keys.get("sources"))
    spellings = Spellings([source.market for source in sources])
    pairs = read_pairs(top, keys, timeframes, spellings)
    extra = read_symbols(keys.get("source"), keys.get("sources"), sources, spellings)
    symbols = tuple(sorted({leg for pair in pairs for leg in (pair.y, pair.x)} | set(extra)))
    if not symbols:
        raise top.wrong(
            "nothing to stream: give pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`, or source.symbols"
        )
    for source in sources if "sources" in keys else ():
        if not any(market_of(symbol) is source.market for symbol in symbols):
            raise keys["sources"].wrong(
                f"no symbol comes from {source.exchange}: use one, or remove the source"
            )
    questdb = read_questdb(keys.get("questdb"), directory, environ or {})
    recovery = read_recovery(keys.get("recovery"), directory)
    if (
        questdb.embedded
        and recovery.dir is not None
        and os.path.normpath(recovery.dir) == os.path.normpath(questdb.dir)
    ):
        raise top.wrong("recovery.dir and questdb.dir are the same directory: give each its own")
    return Settings(
        sources=sources,
        symbols=symbols,
        timeframes=timeframes,
        pairs=pairs,
        alerts=read_alerts(keys.get("alerts"), pairs, symbols, timeframes),
        alerts_tolerate=read_share(keys["alerts_tolerate"]) if "alerts_tolerate" in keys else 0.01,
        questdb=questdb,
        recovery=recovery,
        retention=read_retention(keys.get("retention")),
    )
