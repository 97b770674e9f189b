"""The plain sections of pipeline.yaml: source, questdb, recovery, retention."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from flows.errors import UserError
from flows.markets import BINANCE, CONTIGUOUS, MARKETS, SPARSE
from flows.settings.fields import Spellings, is_host, read_directory
from flows.settings.model import SIMULATED, QuestDB, Recovery, Retention, Source
from flows.settings.strict_yaml import Field, either, shown
from flows.settings.timeframes import UNITS_US, read_duration_us
from operators.columns import DAY_US

IDS = (CONTIGUOUS, SPARSE)  # what a jump in a symbol's ids means: a hole, or nothing
SOURCE_KEYS = ("exchange", "quiet", "stale", "stream", "ids", "ws_url", "rest_url", "symbols")
LONGEST_TTL_DAYS = 36_500


def read_sources(one: Field | None, several: Field | None) -> tuple[Source, ...]:
    """The sources that `source` or `sources` describes, without their symbols; Binance spot where there is
    neither.
    """
    if one is not None and several is not None:
        raise several.wrong("both source and sources are given: keep one of them")
    if several is None:
        return (_source(one),)
    what = "a list of sources such as [{exchange: binance}]"
    sources: dict[str, Source] = {}
    for element in several.elements(what):
        source = _source(element)
        if source.exchange in sources:
            raise element.wrong(f"{source.exchange} is listed twice")
        sources[source.exchange] = source
    if not sources:
        raise several.expected(what)
    if SIMULATED in sources and len(sources) > 1:
        raise several.wrong("a simulated market runs alone: remove it, or the other sources")
    return tuple(sources.values())


def read_symbols(
    one: Field | None, several: Field | None, sources: Sequence[Source], spellings: Spellings
) -> tuple[str, ...]:
    """The symbols that the `sources` list in addition to the legs of pairs."""
    symbols: list[str] = []
    fields = several.elements("") if several is not None else (one,)
    for field, source in zip(fields, sources, strict=True):
        keys = field.keys(*SOURCE_KEYS) if field is not None else {}
        if field is None or "symbols" not in keys:
            continue
        for element in keys["symbols"].elements("a list of symbols such as [BNBUSDT, SOLUSDT]"):
            symbol = spellings.symbol(element, source.market)
            if symbol in symbols:
                raise element.wrong(f"{symbol} is listed twice")
            symbols.append(symbol)
    return tuple(symbols)


def _source(field: Field | None) -> Source:
    keys = field.keys(*SOURCE_KEYS) if field is not None else {}
    exchange = keys["exchange"].one_of((*MARKETS, SIMULATED)) if "exchange" in keys else BINANCE.name
    market = Source(exchange=exchange).market
    chosen: dict[str, Any] = {
        "stream": market.streams[0], "ids": market.ids, "ws_url": market.ws_url, "rest_url": market.rest_url,
    }  # fmt: skip
    if "quiet" in keys:
        chosen["quiet_us"] = read_duration_us(
            keys["quiet"], "a duration from 1ms to 1h, such as 3s", UNITS_US["ms"], UNITS_US["h"]
        )
    if "stale" in keys:
        chosen["stale_us"] = read_duration_us(
            keys["stale"], "a duration from 1s to 1h, such as 60s", UNITS_US["s"], UNITS_US["h"]
        )
    if "stream" in keys:
        chosen["stream"] = keys["stream"].one_of(market.streams)
    if "ids" in keys:
        chosen["ids"] = keys["ids"].one_of(IDS)
    if "ws_url" in keys:
        chosen["ws_url"] = _url(keys["ws_url"], ("ws", "wss"))
    if "rest_url" in keys:
        chosen["rest_url"] = _url(keys["rest_url"], ("http", "https"))
    return Source(exchange=exchange, **chosen)


def _url(field: Field, schemes: Sequence[str]) -> str:
    what = f"an address that begins with {either([scheme + '://' for scheme in schemes])}"
    written = field.text(what)
    if "@" in written:  # not quoted: there may be a real password in it
        raise field.wrong(
            "an address takes no user or password: secrets come from the environment, not from this file"
        )
    if "?" in written or "#" in written:
        raise field.wrong("expected an address without ? and #: streams and parameters are added to it")
    try:
        parts = urlsplit(written)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise field.expected(what) from None
    characters = re.fullmatch(r"[A-Za-z0-9._~:/\[\]-]{1,300}", written)
    if not characters or parts.scheme not in schemes or not host or not is_host(host) or port == 0:
        raise field.expected(what)
    return written.rstrip("/")


def read_questdb(field: Field | None, directory: Path, environ: Mapping[str, str]) -> QuestDB:
    keys = field.keys("embedded", "host", "dir", "http_port", "pg_port") if field else {}
    embedded = keys["embedded"].flag() if "embedded" in keys else True
    chosen: dict[str, Any] = {"embedded": embedded, "dir": directory / QuestDB().dir}
    if "dir" in keys:
        if not embedded:
            raise keys["dir"].wrong(
                "only an embedded database has a directory here: remove it, or set embedded: true"
            )
        chosen["dir"] = read_directory(keys["dir"], directory)
    if "host" in keys:
        if embedded:
            raise keys["host"].wrong(
                "an embedded database runs on this machine: remove host, or set embedded: false"
            )
        chosen["host"] = keys["host"].text("a host name or address", is_host)
    elif not embedded and field and not environ.get("PAIRFLOW_QUESTDB_HOST"):
        raise field.wrong(
            "expected a host, as embedded is false (or PAIRFLOW_QUESTDB_HOST in the environment)"
        )
    for key in ("http_port", "pg_port"):
        if key in keys:
            chosen[key] = keys[key].integer(1, 65535)
    questdb = QuestDB(**chosen)
    if field and questdb.http_port == questdb.pg_port:
        raise field.wrong(f"http_port and pg_port are both {questdb.http_port}: give each its own")
    if host := environ.get("PAIRFLOW_QUESTDB_HOST"):
        if not is_host(host):
            raise UserError(
                f"environment: PAIRFLOW_QUESTDB_HOST: expected a host name or address, got {shown(host)}"
            )
        return msgspec.structs.replace(questdb, embedded=False, host=host)
    return questdb


def read_recovery(field: Field | None, directory: Path) -> Recovery:
    if field is None:
        return Recovery(dir=directory / ".pairflow" / "recovery")
    if field.content is False:
        return Recovery(dir=None)
    if not isinstance(field.content, dict):
        raise field.expected("a mapping with dir or every, or false for none")
    keys = field.keys("dir", "every")
    every_us = Recovery().every_us
    if "every" in keys:
        every_us = read_duration_us(
            keys["every"], "a duration from 10ms to 1h, such as 1s", 10 * UNITS_US["ms"], UNITS_US["h"]
        )
    return Recovery(
        dir=read_directory(keys["dir"], directory) if "dir" in keys else directory / ".pairflow" / "recovery",
        every_us=every_us,
    )


def read_retention(field: Field | None) -> Retention:
    days: dict[str, str] = {}
    for table, ttl in (field.keys("trades", "bars", "signals") if field else {}).items():
        what = "whole days such as 7d (partitions are days)"
        us = read_duration_us(ttl, what, DAY_US, LONGEST_TTL_DAYS * DAY_US)
        if us % DAY_US:
            raise ttl.expected(what)
        days[table] = f"{us // DAY_US}d"
    return Retention(**days)
