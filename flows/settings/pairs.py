"""Reads `defaults` and `pairs` of pipeline.yaml.

What a pair sets itself overrides `defaults`, and that overrides what is built in, key by key.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from flows.settings.fields import Spellings
from flows.settings.model import Costs, Pair, Window
from flows.settings.strict_yaml import Field, either
from flows.settings.timeframes import read_timeframe, read_timeframes
from operators.methods import LONGEST_WINDOW, METHODS, MOST_LAGS, OLS, OPTIONS, Option

Number = TypeVar("Number", int, float)
COST_BPS = 10_000  # the highest fee: 100 % of the trade
# What every pair starts from.
BUILT_IN: dict[str, Any] = {
    "timeframes": ["1s", "1m"],
    "prices": "log",
    "hedge": {
        "method": OLS,
        "window": {"1s": 1800, "1m": 1440},
        **{name: option.default for name, (_, option) in OPTIONS.items()},
    },
    "zscore": {"window": {"1s": 300, "1m": 240}},
    "correlation": {"window": {"1s": 120, "1m": 20}, "of": "returns"},
    "adf": {"window": {"1s": 1800, "1m": 1440}, "every": {"1s": 60, "1m": 15}, "lags": "aic"},
    "costs": {"fee_bps": 10, "slippage_bps": 1},
}
BY_DEFAULT, BY_USER, BY_PAIR = range(3)  # who set a pair's setting: nobody, `defaults:`, the pair itself
# the smallest counts of bars
LEAST = {"hedge.window": 20, "zscore.window": 10, "correlation.window": 5, "adf.window": 30, "adf.every": 1}


def read_pairs(
    top: Field, keys: Mapping[str, Field], timeframes: tuple[str, ...], spellings: Spellings
) -> tuple[Pair, ...]:
    """The pairs in the order of the file, with windows for their timeframes among `timeframes`."""
    defaults = _leaves(Field(top.where, "defaults", BUILT_IN, BY_DEFAULT))
    if "defaults" in keys:
        written = _leaves(keys["defaults"].ranked(BY_USER))
        _verify(written, timeframes)
        defaults |= written
    pairs: dict[str, Pair] = {}
    for field in (
        keys["pairs"].elements("a list of pairs such as [BTCUSDT, ETHUSDT]") if "pairs" in keys else ()
    ):
        pair = _pair(field, defaults, timeframes, spellings)
        if pair.name in pairs:
            raise field.wrong(f"the pair {pair.name} is listed twice")
        pairs[pair.name] = pair
    return tuple(pairs.values())


def _leaves(field: Field, *also: str) -> dict[str, Field]:
    """What a pair or `defaults` sets: one entry for each setting, such as `hedge.window`.

    So the settings of a pair can override others key by key.
    """
    leaves: dict[str, Field] = {}
    for key, setting in field.keys(*also, *BUILT_IN).items():
        group = BUILT_IN.get(key)
        if isinstance(group, dict):
            leaves |= {f"{key}.{leaf}": below for leaf, below in setting.keys(*group).items()}
        else:
            leaves[key] = setting
    return leaves


def _verify(leaves: Mapping[str, Field], timeframes: tuple[str, ...]) -> None:
    """Refuse a wrong default even if no pair uses it."""
    for leaf, field in leaves.items():
        match leaf:
            case "timeframes":
                read_timeframes(field, timeframes)
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


def _pair(
    field: Field, defaults: Mapping[str, Field], timeframes: tuple[str, ...], spellings: Spellings
) -> Pair:
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
        raise legs.wrong(f"the legs of a pair must differ, got {y} twice")
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
            raise field.wrong(
                f"{method} mixes the units of both legs: use it with prices: log, or leave it out"
            )
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
    if (
        isinstance(field.content, bool)
        or not isinstance(field.content, int)
        or not 0 <= field.content <= LONGEST_WINDOW
    ):
        raise field.expected("aic, bic or an integer ≥ 0")
    if field.content > MOST_LAGS:
        raise field.expected(
            f"aic, bic or an integer ≤ {MOST_LAGS} (more take longer than there is time between bars)"
        )
    return field.content


def _cost(field: Field) -> float:
    return field.number(f"a number from 0 to {COST_BPS} (basis points)", lambda bps: 0 <= bps <= COST_BPS)


def _option(field: Field, option: Option) -> float | dict[str, float]:
    """A number in the option's range, or one for each timeframe."""
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
    """Refuse a mapping that is empty, or has a key that is no timeframe."""
    if not field.content:
        raise field.expected(f"{what}, or one per timeframe")
    for key in field.content if isinstance(field.content, dict) else ():
        read_timeframe(Field(field.where, field.path, key))


def _counts(field: Field, least: int) -> int | dict[str, int]:
    """A count of bars, or one for each timeframe."""
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
                "no timeframes: none of 1s, 1m is among bars.timeframes: set defaults.timeframes to some "
                f"of {', '.join(timeframes)}"
            )
    else:
        own = read_timeframes(words, timeframes)
    counts = {
        leaf: _by_timeframe(pair, leaf, leaves[leaf], _counts(leaves[leaf], least), own)
        for leaf, least in LEAST.items()
    }
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
                    f"{method} allows a hedge.window of at most {METHODS[method].longest_window} (more rows "
                    "take longer than there is time between bars), "
                    f"got {window.hedge} at {window.timeframe}: shorten it, or choose another method"
                )
        if window.zscore > window.hedge:
            zscore, hedge = leaves["zscore.window"], leaves["hedge.window"]
            if zscore.rank >= hedge.rank:
                raise zscore.wrong(
                    f"expected an integer ≤ hedge.window ({window.hedge} at {window.timeframe}), got "
                    f"{window.zscore}"
                )
            raise hedge.wrong(
                f"expected an integer ≥ zscore.window ({window.zscore} at {window.timeframe}), got "
                f"{window.hedge}"
            )
        most = window.adf // 2 - 2  # with more lags the regression, with its constant, has too few rows
        if isinstance(lags, int) and lags > most:
            raise leaves["adf.lags"].expected(
                f"aic, bic or an integer ≤ {most} "
                f"(half of adf.window, {window.adf} at {window.timeframe}, less 2)"
            )
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
                f"a setting of {method.name}, which is not among the methods of this pair: add it to "
                "hedge.method, or remove this"
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
            f"nothing for {', '.join(missing)}: expected a number, or one each for {', '.join(timeframes)}; "
            f"got {', '.join(counts)}{origin}"
        )
    return counts
