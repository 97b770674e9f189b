"""pipeline.yaml to frozen, typed settings; every mistake is one line that says where it is and what was expected."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from flows.errors import UserError
from flows.settings.strict_yaml import Field, either, parse, shown, suggested
from flows.settings.symbols import symbol_name
from operators.columns import DAY_US
from operators.methods import LONGEST_WINDOW, METHODS, MOST_LAGS, OLS, OPTIONS, Option
from operators.metrics import METRICS, PAIR, SIDES, SYMBOL, Metric

CONTIGUOUS = "contiguous"
IDS = (CONTIGUOUS, "sparse")  # what a jump in a symbol's ids means: a hole, or nothing
Number = TypeVar("Number", int, float)
PRIORITIES = ("high", "medium", "low")

TIMEFRAMES = ("1s", "5s", "10s", "30s", "1m", "5m")  # the default of bars.timeframes
LONGEST_TIMEFRAME_S = 300
USUAL_TIMEFRAME = "1m"  # what an alert rule watches unless it says otherwise
LEAST_STALE_BARS = 3
REACHABLE = 0.8  # of the largest |z| a window can give: the share an alert's threshold may ask for
COST_BPS = 10_000  # a fee of the whole trade
LONGEST_TTL_DAYS = 36_500

UNITS_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US}

# What every pair starts from; `defaults:` in the file goes over it key by key, the pair's own keys over both.
BUILT_IN: dict[str, Any] = {
    "timeframes": ["1s", "1m"],
    "prices": "log",
    "hedge": {"method": OLS, "window": {"1s": 1800, "1m": 1440}, **{name: option.default for name, (_, option) in OPTIONS.items()}},
    "zscore": {"window": {"1s": 300, "1m": 240}},
    "correlation": {"window": {"1s": 120, "1m": 20}, "of": "returns"},
    "adf": {"window": {"1s": 1800, "1m": 1440}, "every": {"1s": 60, "1m": 15}, "lags": "aic"},
    "costs": {"fee_bps": 10, "slippage_bps": 1},
}
BY_DEFAULT, BY_USER, BY_PAIR = range(3)  # who set a pair's setting: nobody, `defaults:`, the pair itself
LEAST = {"hedge.window": 20, "zscore.window": 10, "correlation.window": 5, "adf.window": 30, "adf.every": 1}  # bars


class Source(msgspec.Struct, frozen=True, kw_only=True):
    exchange: str = "binance"  # binance | simulated
    quiet_us: int = 3_000_000
    stale_us: int = 60_000_000  # a leg without a trade for longer opens no episode of its pairs
    stream: str = "trade"  # trade | aggTrade
    ids: str = CONTIGUOUS  # contiguous | sparse
    ws_url: str = "wss://data-stream.binance.vision"
    rest_url: str = "https://api.binance.com"


class Costs(msgspec.Struct, frozen=True):
    fee_bps: float = 10.0
    slippage_bps: float = 1.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One pair's settings on one timeframe; windows are counted in bars."""

    timeframe: str
    hedge: int
    zscore: int
    correlation: int
    adf: int
    adf_every: int
    options: dict[str, float] = {}  # of the pair's methods, by name (operators/methods.py)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    y: str
    x: str
    prices: str = "log"  # log | raw
    methods: tuple[str, ...] = (OLS,)
    correlation_of: str = "returns"  # returns | prices
    adf_lags: str | int = "aic"
    costs: Costs = Costs()
    windows: tuple[Window, ...]  # one per timeframe, shortest first

    @property
    def name(self) -> str:
        return f"{self.y}-{self.x}"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert rule on one subject and timeframe: rules in YAML are expanded to these."""

    rule: str
    metric: str  # a name in operators/metrics.py
    subject: str  # the pair's name, or the symbol
    timeframe: str
    side: str  # above | below | outside
    threshold: float
    exit: float
    priority: str  # high | medium | low
    only_stationary: bool = False


class QuestDB(msgspec.Struct, frozen=True, kw_only=True):
    embedded: bool = True
    host: str = "127.0.0.1"
    dir: Path = Path(".pairflow/questdb")
    http_port: int = 9000
    pg_port: int = 8812


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    dir: Path | None = Path(".pairflow/recovery")  # None: no recovery store
    every_us: int = 1_000_000


class Retention(msgspec.Struct, frozen=True):
    trades: str = "7d"
    bars: str = "365d"
    signals: str = "365d"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    source: Source
    symbols: tuple[str, ...]  # the universe: legs of the pairs and source.symbols, sorted; a symbol's code is its index here
    timeframes: tuple[str, ...]  # bars.timeframes, shortest first
    pairs: tuple[Pair, ...]
    alerts: tuple[Alert, ...]
    alerts_tolerate: float
    questdb: QuestDB
    recovery: Recovery
    retention: Retention


def load(path: Path, environ: Mapping[str, str] = os.environ, directory: Path | None = None) -> Settings:
    """The settings in the file at `path`; relative directories in it are below `directory`, by default the file's own."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: name one with --config, or let `pairflow init` write one") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8 text: is this the configuration?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return decode(text, str(path), path.absolute().parent if directory is None else directory, environ)


def decode(text: str, where: str, directory: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that `text` spells out; `where` names it in messages.

    PAIRFLOW_QUESTDB_HOST in `environ`, when set, means the QuestDB on that host instead of an embedded one, with the ports of the file
    (inside docker compose the database is another container).
    """
    top = parse(text, where)
    keys = top.keys("source", "bars", "defaults", "pairs", "alerts", "questdb", "recovery", "retention", "alerts_tolerate")
    directory = directory or Path()
    bars = keys["bars"].keys("timeframes") if "bars" in keys else {}
    timeframes = _timeframes(bars["timeframes"]) if "timeframes" in bars else TIMEFRAMES
    spellings = Spellings()
    pairs = _pairs(top, keys, timeframes, spellings)
    source, extra = _source(keys.get("source"), spellings)
    symbols = tuple(sorted({leg for pair in pairs for leg in (pair.y, pair.x)} | set(extra)))
    if not symbols:
        raise top.wrong("nothing to stream: give pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`, or source.symbols")
    questdb = _questdb(keys.get("questdb"), directory, environ or {})
    recovery = _recovery(keys.get("recovery"), directory)
    if questdb.embedded and recovery.dir is not None and os.path.normpath(recovery.dir) == os.path.normpath(questdb.dir):
        raise top.wrong("recovery.dir and questdb.dir are the same directory: give each its own")
    return Settings(
        source=source,
        symbols=symbols,
        timeframes=timeframes,
        pairs=pairs,
        alerts=_alerts(keys.get("alerts"), pairs, symbols, timeframes),
        alerts_tolerate=_share(keys["alerts_tolerate"]) if "alerts_tolerate" in keys else 0.01,
        questdb=questdb,
        recovery=recovery,
        retention=_retention(keys.get("retention")),
    )


def timeframe_us(word: str) -> int:
    """The length of a timeframe such as `1s` or `5m` in µs."""
    return int(word[:-1]) * UNITS_US[word[-1]]


def stale_after(settings: Settings, timeframe: str) -> int:
    """Bars of the timeframe without a trade, the newest among them, up to which a leg is not stale."""
    return max(settings.source.stale_us // timeframe_us(timeframe), LEAST_STALE_BARS)


def largest_zscore(window: int) -> float:
    """The bound of |z| over n values, the newest included: (n − 1)/√n."""
    return (window - 1) / math.sqrt(window)


# --- durations, timeframes, names ---------------------------------------------------------------------------------------------


def _duration_us(field: Field, what: str, low_us: int, high_us: int) -> int:
    written = re.fullmatch(r"([0-9]{1,12})(ms|s|m|h|d)", field.content) if isinstance(field.content, str) else None
    us = int(written[1]) * UNITS_US[written[2]] if written else -1
    if not low_us <= us <= high_us:
        raise field.expected(what)
    return us


def _timeframe(field: Field) -> str:
    written = re.fullmatch(r"([1-9][0-9]{0,6})(ms|s|m|h|d)", field.content) if isinstance(field.content, str) else None
    us = int(written[1]) * UNITS_US[written[2]] if written else 0
    seconds = us // UNITS_US["s"]
    if us % UNITS_US["s"] or not 1 <= seconds <= LONGEST_TIMEFRAME_S:
        raise field.expected("a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or 1m")
    word = f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
    if field.content != word:
        raise field.wrong(f"write {word}, got {shown(field.content)}")
    return word


def _timeframes(field: Field, among: Sequence[str] | None = None, among_name: str = "bars.timeframes") -> tuple[str, ...]:
    words: list[str] = []
    for element in field.elements("a list of timeframes such as [1s, 1m]"):
        word = _timeframe(element)
        if among is not None and word not in among:
            raise element.expected(f"one of {among_name} ({', '.join(among)})")
        if word in words:
            raise element.wrong(f"{word} is listed twice")
        words.append(word)
    if not words:
        raise field.expected("at least one timeframe")
    return tuple(sorted(words, key=timeframe_us))


class Spellings:
    """The symbols of one configuration: btcusdt and BTC/USDT are read as BTCUSDT, but one symbol is written in one way."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}  # by symbol

    def symbol(self, field: Field) -> str:
        name = symbol_name(field.content) if isinstance(field.content, str) else None
        if name is None or field.content != str(field.content).strip():
            raise field.expected("a symbol such as BTCUSDT (2 to 40 letters, digits and _)")
        before = self._written.setdefault(name, str(field.content))
        if before != field.content:
            raise field.wrong(f"{name} is written in two ways, {shown(before)} and {shown(field.content)}: write {name} everywhere")
        return name


def _share(field: Field) -> float:
    return field.number("a number from 0 to 1", lambda share: 0 <= share <= 1)


def _directory(field: Field, below: Path) -> Path:
    written = field.text("a directory", lambda name: name.strip() == name != "" and name.isprintable())
    try:
        return below / (Path.home() / written[2:] if written.startswith("~/") else written)
    except RuntimeError:
        raise field.wrong(f"this user has no home directory: write all of the path, got {shown(written)}") from None


# --- the sections -------------------------------------------------------------------------------------------------------------


def _source(field: Field | None, spellings: Spellings) -> tuple[Source, tuple[str, ...]]:
    keys = field.keys("exchange", "quiet", "stale", "stream", "ids", "ws_url", "rest_url", "symbols") if field else {}
    chosen: dict[str, Any] = {}
    if "exchange" in keys:
        chosen["exchange"] = keys["exchange"].one_of(("binance", "simulated"))
    if "quiet" in keys:
        chosen["quiet_us"] = _duration_us(keys["quiet"], "a duration from 1ms to 1h, such as 3s", UNITS_US["ms"], UNITS_US["h"])
    if "stale" in keys:
        chosen["stale_us"] = _duration_us(keys["stale"], "a duration from 1s to 1h, such as 60s", UNITS_US["s"], UNITS_US["h"])
    if "stream" in keys:
        chosen["stream"] = keys["stream"].one_of(("trade", "aggTrade"))
    if "ids" in keys:
        chosen["ids"] = keys["ids"].one_of(IDS)
    if "ws_url" in keys:
        chosen["ws_url"] = _url(keys["ws_url"], ("ws", "wss"))
    if "rest_url" in keys:
        chosen["rest_url"] = _url(keys["rest_url"], ("http", "https"))
    symbols: list[str] = []
    for element in keys["symbols"].elements("a list of symbols such as [BNBUSDT, SOLUSDT]") if "symbols" in keys else ():
        symbol = spellings.symbol(element)
        if symbol in symbols:
            raise element.wrong(f"{symbol} is listed twice")
        symbols.append(symbol)
    return Source(**chosen), tuple(symbols)


def _url(field: Field, schemes: Sequence[str]) -> str:
    what = f"an address that begins with {either([scheme + '://' for scheme in schemes])}"
    written = field.text(what)
    if "@" in written:  # not quoted: there may be a real password in it
        raise field.wrong("an address takes no user or password: secrets come from the environment, not from this file")
    if "?" in written or "#" in written:
        raise field.wrong("expected an address without ? and #: streams and parameters are added to it")
    try:
        parts = urlsplit(written)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise field.expected(what) from None
    characters = re.fullmatch(r"[A-Za-z0-9._~:/\[\]-]{1,300}", written)
    if not characters or parts.scheme not in schemes or not host or not _is_host(host) or port == 0:
        raise field.expected(what)
    return written.rstrip("/")


def _questdb(field: Field | None, directory: Path, environ: Mapping[str, str]) -> QuestDB:
    keys = field.keys("embedded", "host", "dir", "http_port", "pg_port") if field else {}
    embedded = keys["embedded"].flag() if "embedded" in keys else True
    chosen: dict[str, Any] = {"embedded": embedded, "dir": directory / QuestDB().dir}
    if "dir" in keys:
        if not embedded:
            raise keys["dir"].wrong("only an embedded database has a directory here: remove it, or set embedded: true")
        chosen["dir"] = _directory(keys["dir"], directory)
    if "host" in keys:
        if embedded:
            raise keys["host"].wrong("an embedded database runs on this machine: remove host, or set embedded: false")
        chosen["host"] = keys["host"].text("a host name or address", _is_host)
    elif not embedded and field and not environ.get("PAIRFLOW_QUESTDB_HOST"):
        raise field.wrong("expected a host, as embedded is false (or PAIRFLOW_QUESTDB_HOST in the environment)")
    for key in ("http_port", "pg_port"):
        if key in keys:
            chosen[key] = keys[key].integer(1, 65535)
    questdb = QuestDB(**chosen)
    if field and questdb.http_port == questdb.pg_port:
        raise field.wrong(f"http_port and pg_port are both {questdb.http_port}: give each its own")
    if host := environ.get("PAIRFLOW_QUESTDB_HOST"):
        if not _is_host(host):
            raise UserError(f"environment: PAIRFLOW_QUESTDB_HOST: expected a host name or address, got {shown(host)}")
        return msgspec.structs.replace(questdb, embedded=False, host=host)
    return questdb


def _is_host(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9:]([A-Za-z0-9._:-]{0,252})", name) is not None


def _recovery(field: Field | None, directory: Path) -> Recovery:
    if field is None:
        return Recovery(dir=directory / ".pairflow" / "recovery")
    if field.content is False:
        return Recovery(dir=None)
    if not isinstance(field.content, dict):
        raise field.expected("a mapping with dir or every, or false for none")
    keys = field.keys("dir", "every")
    every_us = Recovery().every_us
    if "every" in keys:
        every_us = _duration_us(keys["every"], "a duration from 10ms to 1h, such as 1s", 10 * UNITS_US["ms"], UNITS_US["h"])
    return Recovery(dir=_directory(keys["dir"], directory) if "dir" in keys else directory / ".pairflow" / "recovery", every_us=every_us)


def _retention(field: Field | None) -> Retention:
    days: dict[str, str] = {}
    for table, ttl in (field.keys("trades", "bars", "signals") if field else {}).items():
        what = "whole days such as 7d (partitions are days)"
        us = _duration_us(ttl, what, DAY_US, LONGEST_TTL_DAYS * DAY_US)
        if us % DAY_US:
            raise ttl.expected(what)
        days[table] = f"{us // DAY_US}d"
    return Retention(**days)


# --- pairs --------------------------------------------------------------------------------------------------------------------


def _pairs(top: Field, keys: Mapping[str, Field], timeframes: tuple[str, ...], spellings: Spellings) -> tuple[Pair, ...]:
    defaults = _leaves(Field(top.where, "defaults", BUILT_IN, BY_DEFAULT))
    if "defaults" in keys:
        written = _leaves(keys["defaults"].ranked(BY_USER))
        _verify(written, timeframes)
        defaults |= written
    pairs: dict[str, Pair] = {}
    for field in keys["pairs"].elements("a list of pairs such as [BTCUSDT, ETHUSDT]") if "pairs" in keys else ():
        pair = _pair(field, defaults, timeframes, spellings)
        if pair.name in pairs:
            raise field.wrong(f"the pair {pair.name} is listed twice")
        pairs[pair.name] = pair
    return tuple(pairs.values())


def _leaves(field: Field, *also: str) -> dict[str, Field]:
    """What a pair, or `defaults`, sets: one entry a setting, named `hedge.window`, so that whoever is nearer overrides key by key."""
    leaves: dict[str, Field] = {}
    for key, setting in field.keys(*also, *BUILT_IN).items():
        group = BUILT_IN.get(key)
        if isinstance(group, dict):
            leaves |= {f"{key}.{leaf}": below for leaf, below in setting.keys(*group).items()}
        else:
            leaves[key] = setting
    return leaves


def _verify(leaves: Mapping[str, Field], timeframes: tuple[str, ...]) -> None:
    """Refuse a broken default even where no pair uses it."""
    for leaf, field in leaves.items():
        match leaf:
            case "timeframes":
                _timeframes(field, timeframes)
            case "prices":
                field.one_of(("log", "raw"))
            case "hedge.method":
                _listed_methods(field)
            case "correlation.of":
                field.one_of(("returns", "prices"))
            case "adf.lags":
                _lags(field)
            case "costs.fee_bps" | "costs.slippage_bps":
                _cost(field)
            case _ if leaf in LEAST:
                _counts(field, LEAST[leaf])
            case _:
                _option(field, OPTIONS[leaf.removeprefix("hedge.")][1])


def _pair(field: Field, defaults: Mapping[str, Field], timeframes: tuple[str, ...], spellings: Spellings) -> Pair:
    legs, what = field, "a pair such as [BTCUSDT, ETHUSDT] or {legs: [BTCUSDT, ETHUSDT], …}"
    own: dict[str, Field] = {}
    if isinstance(field.content, dict):
        own = _leaves(field.ranked(BY_PAIR), "legs")
        if "legs" not in own:
            raise field.wrong("expected legs, for example legs: [BTCUSDT, ETHUSDT]")
        legs, what = own.pop("legs"), "two symbols such as [BTCUSDT, ETHUSDT]"
    elements = legs.elements(what)
    if len(elements) != 2:
        raise legs.expected(what)
    y, x = (spellings.symbol(element) for element in elements)
    if y == x:
        raise legs.wrong(f"the legs of a pair differ, got {y} twice")
    leaves = {**defaults, **own}
    return Pair(
        y=y,
        x=x,
        prices=leaves["prices"].one_of(("log", "raw")),
        methods=_methods(leaves["hedge.method"], leaves["prices"]),
        correlation_of=leaves["correlation.of"].one_of(("returns", "prices")),
        adf_lags=_lags(leaves["adf.lags"]),
        costs=Costs(fee_bps=_cost(leaves["costs.fee_bps"]), slippage_bps=_cost(leaves["costs.slippage_bps"])),
        windows=_windows(field, leaves, timeframes),
    )


def _methods(field: Field, prices: Field) -> tuple[str, ...]:
    methods = _listed_methods(field)
    for method in methods:
        if METHODS[method].log_prices_only and prices.content == "raw":
            raise field.wrong(f"{method} mixes the units of both legs: use it with prices: log, or leave it out")
    return methods


def _listed_methods(field: Field) -> tuple[str, ...]:
    if isinstance(field.content, str):
        return (field.one_of(tuple(METHODS)),)
    methods: list[str] = []
    for element in field.elements(f"{either(METHODS)}, or a list of these"):
        method = element.one_of(tuple(METHODS))
        if method in methods:
            raise element.wrong(f"{method} is listed twice")
        methods.append(method)
    if not methods:
        raise field.expected(f"{either(METHODS)}, or a list of these")
    return tuple(methods)


def _lags(field: Field) -> str | int:
    if field.content in ("aic", "bic"):
        return str(field.content)
    if isinstance(field.content, bool) or not isinstance(field.content, int) or not 0 <= field.content <= LONGEST_WINDOW:
        raise field.expected("aic, bic or an integer ≥ 0")
    if field.content > MOST_LAGS:
        raise field.expected(f"aic, bic or an integer ≤ {MOST_LAGS} (more take longer than there is time between bars)")
    return field.content


def _cost(field: Field) -> float:
    return field.number(f"a number from 0 to {COST_BPS} (basis points)", lambda bps: 0 <= bps <= COST_BPS)


def _option(field: Field, option: Option) -> float | dict[str, float]:
    """A number, or one per timeframe, in the option's range."""
    if isinstance(field.content, dict):
        _are_timeframes(field, "a number")
        return {key: _in_range(number, option) for key, number in field.entries("").items()}
    return _in_range(field, option)


def _in_range(field: Field, option: Option) -> float:
    if option.kind is int:
        return field.integer(round(option.least), round(option.most))
    what = f"a number from {option.least:g} to {option.most:g}"
    return field.number(what, lambda number: option.least <= number <= option.most)


def _are_timeframes(field: Field, what: str) -> None:
    """Refuse a mapping by timeframe that is empty or has another key."""
    if not field.content:
        raise field.expected(f"{what}, or one per timeframe")
    for key in field.content if isinstance(field.content, dict) else ():
        _timeframe(Field(field.where, field.path, key))


def _counts(field: Field, least: int) -> int | dict[str, int]:
    """A count of bars, or one per timeframe."""
    if not isinstance(field.content, dict):
        return field.integer(least, LONGEST_WINDOW)
    _are_timeframes(field, f"an integer ≥ {least}")
    return {key: count.integer(least, LONGEST_WINDOW) for key, count in field.entries("").items()}


def _windows(pair: Field, leaves: Mapping[str, Field], timeframes: tuple[str, ...]) -> tuple[Window, ...]:
    words = leaves["timeframes"]
    if words.rank == BY_DEFAULT:
        own = tuple(word for word in BUILT_IN["timeframes"] if word in timeframes)
        if not own:
            raise pair.wrong(
                f"no timeframes: none of 1s, 1m is among bars.timeframes: set defaults.timeframes to some of {', '.join(timeframes)}"
            )
    else:
        own = _timeframes(words, timeframes)
    counts = {leaf: _by_timeframe(pair, leaf, leaves[leaf], _counts(leaves[leaf], least), own) for leaf, least in LEAST.items()}
    lags, methods = _lags(leaves["adf.lags"]), _listed_methods(leaves["hedge.method"])
    options = _options(pair, leaves, methods, own)
    windows = tuple(
        Window(
            timeframe=word,
            hedge=counts["hedge.window"][word],
            zscore=counts["zscore.window"][word],
            correlation=counts["correlation.window"][word],
            adf=counts["adf.window"][word],
            adf_every=counts["adf.every"][word],
            options={name: by_timeframe[word] for name, by_timeframe in options.items()},
        )
        for word in own
    )
    for window in windows:
        for method in methods:
            if window.hedge > METHODS[method].longest_window:
                length, by = leaves["hedge.window"], leaves["hedge.method"]
                raise (length if length.rank >= by.rank else by).wrong(
                    f"{method} bears a hedge.window of at most {METHODS[method].longest_window} (more rows take longer than there is time between bars), "
                    f"got {window.hedge} at {window.timeframe}: shorten it, or choose another method"
                )
        if window.zscore > window.hedge:
            zscore, hedge = leaves["zscore.window"], leaves["hedge.window"]
            if zscore.rank >= hedge.rank:
                raise zscore.wrong(f"expected an integer ≤ hedge.window ({window.hedge} at {window.timeframe}), got {window.zscore}")
            raise hedge.wrong(f"expected an integer ≥ zscore.window ({window.zscore} at {window.timeframe}), got {window.hedge}")
        most = window.adf // 2 - 2  # with a constant; beyond it the regression has more unknowns than rows
        if isinstance(lags, int) and lags > most:
            what = f"aic, bic or an integer ≤ {most} (half of adf.window, {window.adf} at {window.timeframe}, less 2)"
            raise leaves["adf.lags"].expected(what)
    return windows


def _options(
    pair: Field, leaves: Mapping[str, Field], methods: tuple[str, ...], timeframes: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """The options of the pair's methods, each by timeframe."""
    found = {}
    for name, (method, option) in OPTIONS.items():
        leaf = f"hedge.{name}"
        field = leaves[leaf]
        if method.name in methods:
            found[name] = _by_timeframe(pair, leaf, field, _option(field, option), timeframes)
        elif field.rank == BY_PAIR:
            raise field.wrong(
                f"a setting of {method.name}, which is not among the methods of this pair: add it to hedge.method, or remove this"
            )
    return found


def _by_timeframe(
    pair: Field, leaf: str, field: Field, counts: Number | dict[str, Number], timeframes: tuple[str, ...]
) -> dict[str, Number]:
    """One number for each of the pair's timeframes."""
    if not isinstance(counts, dict):
        return dict.fromkeys(timeframes, counts)
    place = field if field.rank == BY_PAIR else pair.child(leaf, None)
    for word in counts:
        if field.rank == BY_PAIR and word not in timeframes:
            raise field.wrong(f"{word} is no timeframe of this pair ({', '.join(timeframes)})")
    if missing := [word for word in timeframes if word not in counts]:
        origin = "" if field.rank == BY_PAIR else " by default"
        raise place.wrong(
            f"nothing for {', '.join(missing)}: expected a number, or one each for {', '.join(timeframes)}; got {', '.join(counts)}{origin}"
        )
    return counts


# --- alerts -------------------------------------------------------------------------------------------------------------------


def _alerts(field: Field | None, pairs: tuple[Pair, ...], symbols: tuple[str, ...], timeframes: tuple[str, ...]) -> tuple[Alert, ...]:
    """Every rule on every subject and timeframe it applies to: rules, pairs and symbols in their order, the shortest timeframe first."""
    alerts: list[Alert] = []
    names: set[str] = set()
    for rule in field.elements("a list of rules such as {name: z high, metric: zscore, above: 2}") if field else ():
        keys = rule.keys(
            *("name", "metric", *SIDES, "exit", "priority", "timeframes", "pair", "pairs", "symbol", "symbols", "only_stationary"),
        )
        for key in ("name", "metric"):
            if key not in keys:
                raise rule.wrong(f"expected a {key}")
        name = keys["name"].text("a name (letters, digits, blanks and . _ + - / ( ) % > < =, up to 60)", _is_rule_name)
        if name in names:
            raise keys["name"].wrong(f"two rules are called {shown(name)}")
        names.add(name)
        alerts.extend(_rule(rule, name, keys, pairs, symbols, timeframes))
    return tuple(alerts)


def _is_rule_name(name: str) -> bool:
    return re.fullmatch(r"[\w .+/()%><=-]{1,60}", name) is not None and name == name.strip()


def _rule(
    rule: Field, name: str, keys: Mapping[str, Field], pairs: tuple[Pair, ...], symbols: tuple[str, ...], timeframes: tuple[str, ...]
) -> Iterator[Alert]:
    metric = METRICS[keys["metric"].one_of(tuple(METRICS))]
    side, threshold, exit_ = _levels(rule, metric, keys)
    priority = keys["priority"].one_of(PRIORITIES) if "priority" in keys else "medium"
    only_stationary = metric.strict_when_high and priority == "high"
    if "only_stationary" in keys:
        if metric.subject != PAIR:
            raise keys["only_stationary"].wrong(f"a pair can be stationary, a symbol cannot: remove it from a rule on {metric.name}")
        only_stationary = keys["only_stationary"].flag()
    asked = _timeframes(keys["timeframes"], timeframes) if "timeframes" in keys else None

    named = {pair.name: pair for pair in pairs}
    subjects: Iterable[tuple[str, tuple[str, ...]]]
    if metric.subject == PAIR:
        subjects = [
            (subject, _watched(tuple(window.timeframe for window in named[subject].windows), asked))
            for subject in _subjects(rule, metric, keys, tuple(named))
        ]
    else:
        usual = asked or timeframes[:1] if metric.of_every_bar else _watched(timeframes, asked)
        subjects = [(subject, usual) for subject in _subjects(rule, metric, keys, symbols)]

    for subject, watched in subjects:
        if not watched and (len(subjects) == 1 or "pair" in keys or "pairs" in keys):
            raise keys["timeframes"].wrong(f"{subject} has none of {', '.join(asked or ())}")
        if metric.method and metric.method not in named[subject].methods:
            raise rule.wrong(f"{metric.name} is tested on {metric.method}, which {subject} does not have: add it to its hedge.method")
        if only_stationary and OLS not in named[subject].methods:
            raise rule.wrong(f"{subject} has no {OLS} to be tested on: add it to its hedge.method, or set only_stationary: false")
        for timeframe in watched:
            if metric.name == "zscore":
                window = next(window.zscore for window in named[subject].windows if window.timeframe == timeframe)
                most = REACHABLE * largest_zscore(window)
                if abs(threshold) > most:
                    raise keys[side].wrong(
                        f"out of reach of {subject} at {timeframe}: expected at most {math.floor(most * 100) / 100:g} either way "
                        f"(80 % of the largest |z| of zscore.window {window}), got {threshold:g}"
                    )
            yield Alert(
                rule=name,
                metric=metric.name,
                subject=subject,
                timeframe=timeframe,
                side=side,
                threshold=threshold,
                exit=exit_,
                priority=priority,
                only_stationary=only_stationary,
            )
    if not any(watched for _, watched in subjects):
        raise keys["timeframes"].wrong(f"no pair has any of {', '.join(asked or ())}")


def _levels(rule: Field, metric: Metric, keys: Mapping[str, Field]) -> tuple[str, float, float]:
    """The side, the threshold that opens an episode and the exit that closes it."""
    sides = [side for side in SIDES if side in keys]
    if len(sides) != 1:
        raise rule.wrong(f"expected one of {either(SIDES)}, got {' and '.join(sides) or 'none'}")
    side = sides[0]
    if side == "outside" and not metric.signed:
        raise keys[side].wrong(f"{metric.name} has no two sides: write above or below")
    if side == "below" and metric.only_above:
        raise keys[side].wrong(f"{metric.only_above}: write above")
    threshold = _level(keys[side], metric, side)
    if "exit" not in keys:
        return side, threshold, threshold
    exit_ = _level(keys["exit"], metric, side)
    if exit_ < threshold if side == "below" else exit_ > threshold:
        raise keys["exit"].expected(f"a number {'≥' if side == 'below' else '≤'} {side} ({threshold:g}), where the episode ends")
    return side, threshold, exit_


def _level(field: Field, metric: Metric, side: str) -> float:
    level = metric.level
    if metric.unit == "s" and isinstance(field.content, str):
        return _duration_us(field, level.what, 1, 365 * DAY_US) / UNITS_US["s"]
    if side == "outside":
        return field.number(level.outside or f"{level.what} and > 0", lambda number: number > 0 and level.accepts(number))
    return field.number(level.what, level.accepts)


def _subjects(rule: Field, metric: Metric, keys: Mapping[str, Field], known: tuple[str, ...]) -> tuple[str, ...]:
    """The pairs or symbols a rule is about, in their own order; all of them unless it names some."""
    kind, other = metric.subject, SYMBOL if metric.subject == PAIR else PAIR
    for wrong in (other, f"{other}s"):
        if wrong in keys:
            raise keys[wrong].wrong(f"{metric.name} belongs to a {kind}: write {kind}")
    one, many = keys.get(kind), keys.get(f"{kind}s")
    if one and many:
        raise rule.wrong(f"expected {kind} or {kind}s, got both")
    if not one and not many:
        if metric.one_subject:
            raise rule.wrong(f"expected a {kind}, as a {metric.name} is one {kind}'s")
        if not known:
            raise rule.wrong(f"{metric.name} belongs to a pair, and there are no pairs")
        return known
    chosen: set[str] = set()
    for field in [one] if one else many.elements(f"a list of {kind}s") if many else []:
        subject = _subject(field.text(f"a {kind} such as {known[0] if known else 'BTCUSDT-ETHUSDT'}"), kind, known)
        if subject not in known:
            raise field.wrong(f"unknown {kind} {shown(subject)}" + (f", {suggested(subject, known)}" if known else ": there are no pairs"))
        if subject in chosen:
            raise field.wrong(f"{subject} is listed twice")
        chosen.add(subject)
    if not chosen:
        raise rule.wrong(f"expected at least one of {kind}s, or leave the key out for all")
    return tuple(subject for subject in known if subject in chosen)


def _subject(written: str, kind: str, known: Sequence[str]) -> str:
    """The pair or symbol that is meant, whatever way its symbols are written; what was written where none is."""
    if written in known:
        return written
    if kind == "symbol":
        return symbol_name(written) or written
    # BTC-USDT-ETH-USDT is a pair, too: of the ways to divide it, one is known.
    divided = [(written[:k], written[k + 1 :]) for k, character in enumerate(written) if character == "-"]
    named = {f"{symbol_name(y)}-{symbol_name(x)}" for y, x in divided} & set(known)
    return named.pop() if len(named) == 1 else written


def _watched(own: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The timeframes of a pair (or of all bars) that a rule reads.

    Those it asks for. Else 1m; without 1m the shortest above, and where all are shorter the longest: the nearest to a minute either way.
    """
    if asked is not None:
        return tuple(word for word in own if word in asked)
    usual_us = timeframe_us(USUAL_TIMEFRAME)
    return tuple(word for word in own if timeframe_us(word) >= usual_us)[:1] or own[-1:]


# --- the fingerprint ----------------------------------------------------------------------------------------------------------


def settings_fingerprint(settings: Settings) -> dict[str, Any]:
    """What the operators' state depends on, as JSON-able lists and dicts: a run may resume only where this is the same.

    Left out because no state holds them: priorities, alerts_tolerate, source.quiet, the database, recovery and retention; and costs, of which
    a state holds no more than the edge of a bar that is written.
    """
    source = settings.source
    return {
        "source": {
            "exchange": source.exchange,
            "stale": f"{source.stale_us / UNITS_US['s']:g}s",
            "stream": source.stream,
            "ids": source.ids,
            "ws_url": source.ws_url,
            "rest_url": source.rest_url,
        },
        "symbols": list(settings.symbols),
        "bars": {"timeframes": list(settings.timeframes)},
        "pairs": {pair.name: _pair_fingerprint(pair) for pair in settings.pairs},
        "pairs in order": [pair.name for pair in settings.pairs],
        "alerts": {
            f"{alert.rule} · {alert.subject} · {alert.timeframe}": {
                "metric": alert.metric,
                alert.side: alert.threshold,
                "exit": alert.exit,
                "only_stationary": alert.only_stationary,
            }
            for alert in settings.alerts
        },
        "alerts in order": [f"{alert.rule} · {alert.subject} · {alert.timeframe}" for alert in settings.alerts],
    }


def _pair_fingerprint(pair: Pair) -> dict[str, Any]:
    return {
        "timeframes": [window.timeframe for window in pair.windows],
        "prices": pair.prices,
        "hedge": {
            "method": list(pair.methods),
            "window": {window.timeframe: window.hedge for window in pair.windows},
            **{name: {window.timeframe: window.options[name] for window in pair.windows} for name in pair.windows[0].options},
        },
        "zscore": {"window": {window.timeframe: window.zscore for window in pair.windows}},
        "correlation": {"window": {window.timeframe: window.correlation for window in pair.windows}, "of": pair.correlation_of},
        "adf": {
            "window": {window.timeframe: window.adf for window in pair.windows},
            "every": {window.timeframe: window.adf_every for window in pair.windows},
            "lags": pair.adf_lags,
        },
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How two fingerprints differ, one line a difference: `pairs[BTCUSDT-ETHUSDT].hedge.window.1m: was 1440, is 720`."""
    found = [line for key in dict.fromkeys([*old, *new]) for line in _differences(key, old.get(key), new.get(key))]
    # The order is told only where nothing else is: whatever is added or removed changes it too.
    told = {line.split("[")[0] for line in found}
    return [line for line in found if " in order" not in line or line.split(" in order")[0] not in told]


def _differences(path: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        named = path in ("pairs", "alerts")
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(f"{path}[{key}]" if named else f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield f"{path}: {_change(old, new)}"


def _change(old: object, new: object) -> str:
    if new is None:
        return "was removed"
    if old is None:
        return "was added"
    if isinstance(old, list) and isinstance(new, list):
        gone, come = [str(word) for word in old if word not in new], [str(word) for word in new if word not in old]
        words = [f"without {', '.join(gone)}"] * bool(gone) + [f"with {', '.join(come)}"] * bool(come)
        return f"now {' and '.join(words)}" if words else "the order is another"
    return f"was {old}, is {new}"
