"""Reads `alerts` of pipeline.yaml: one `Alert` for each rule, subject and timeframe."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flows.markets import native
from flows.settings.model import Alert, Pair
from flows.settings.strict_yaml import Field, either, shown, suggested
from flows.settings.symbols import symbol_name
from flows.settings.timeframes import UNITS_US, read_duration_us, read_timeframes, timeframe_us
from operators.columns import DAY_US
from operators.methods import OLS
from operators.metrics import METRICS, PAIR, SIDES, SYMBOL, Metric

PRIORITIES = ("high", "medium", "low")
USUAL_TIMEFRAME = "1m"  # what an alert rule watches by default
REACHABLE = 0.8  # the highest threshold of a rule, as a share of the largest |z| that a window can have


def largest_zscore(window: int) -> float:
    """The bound of |z| over n values, the newest included: (n − 1)/√n."""
    return (window - 1) / math.sqrt(window)


def read_alerts(
    field: Field | None, pairs: tuple[Pair, ...], symbols: tuple[str, ...], timeframes: tuple[str, ...]
) -> tuple[Alert, ...]:
    """Every rule on every subject and timeframe that it applies to.

    Rules, pairs and symbols keep their order; the shortest timeframe comes first.
    """
    alerts: list[Alert] = []
    names: set[str] = set()
    for rule in (
        field.elements("a list of rules such as {name: z high, metric: zscore, above: 2}") if field else ()
    ):
        keys = rule.keys(
            *(
                "name",
                "metric",
                *SIDES,
                "exit",
                "priority",
                "timeframes",
                "pair",
                "pairs",
                "symbol",
                "symbols",
                "only_stationary",
            ),
        )
        for key in ("name", "metric"):
            if key not in keys:
                raise rule.wrong(f"expected a {key}")
        name = keys["name"].text(
            "a name (letters, digits, blanks and . _ + - / ( ) % > < =, up to 60)", _is_rule_name
        )
        if name in names:
            raise keys["name"].wrong(f"two rules are called {shown(name)}")
        names.add(name)
        alerts.extend(_rule(rule, name, keys, pairs, symbols, timeframes))
    return tuple(alerts)


def _is_rule_name(name: str) -> bool:
    return re.fullmatch(r"[\w .+/()%><=-]{1,60}", name) is not None and name == name.strip()


def _rule(
    rule: Field,
    name: str,
    keys: Mapping[str, Field],
    pairs: tuple[Pair, ...],
    symbols: tuple[str, ...],
    timeframes: tuple[str, ...],
) -> Iterator[Alert]:
    metric = METRICS[keys["metric"].one_of(tuple(METRICS))]
    side, threshold, exit_ = _levels(rule, metric, keys)
    priority = keys["priority"].one_of(PRIORITIES) if "priority" in keys else "medium"
    only_stationary = metric.strict_when_high and priority == "high"
    if "only_stationary" in keys:
        if metric.subject != PAIR:
            raise keys["only_stationary"].wrong(
                f"a pair can be stationary, a symbol cannot: remove it from a rule on {metric.name}"
            )
        only_stationary = keys["only_stationary"].flag()
    asked = read_timeframes(keys["timeframes"], timeframes) if "timeframes" in keys else None

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
            raise rule.wrong(
                f"{metric.name} is tested on {metric.method}, which {subject} does not have: add it to its "
                "hedge.method"
            )
        if only_stationary and OLS not in named[subject].methods:
            raise rule.wrong(
                f"{subject} has no {OLS} to be tested on: add it to its hedge.method, or set "
                "only_stationary: false"
            )
        for timeframe in watched:
            if metric.name == "zscore":
                window = next(
                    window.zscore for window in named[subject].windows if window.timeframe == timeframe
                )
                most = REACHABLE * largest_zscore(window)
                if abs(threshold) > most:
                    raise keys[side].wrong(
                        f"out of reach of {subject} at {timeframe}: expected at most "
                        f"{math.floor(most * 100) / 100:g} either way "
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
    """The side, the threshold that opens an episode, and the exit that closes it."""
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
        raise keys["exit"].expected(
            f"a number {'≥' if side == 'below' else '≤'} {side} ({threshold:g}), where the episode ends"
        )
    return side, threshold, exit_


def _level(field: Field, metric: Metric, side: str) -> float:
    level = metric.level
    if metric.unit == "s" and isinstance(field.content, str):
        return read_duration_us(field, level.what, 1, 365 * DAY_US) / UNITS_US["s"]
    if side == "outside":
        return field.number(
            level.outside or f"{level.what} and > 0", lambda number: number > 0 and level.accepts(number)
        )
    return field.number(level.what, level.accepts)


def _subjects(
    rule: Field, metric: Metric, keys: Mapping[str, Field], known: tuple[str, ...]
) -> tuple[str, ...]:
    """The pairs or symbols that a rule is about, in the order of `known`; by default all of them."""
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
        subject = _subject(
            field.text(f"a {kind} such as {known[0] if known else 'BTCUSDT-ETHUSDT'}"), kind, known
        )
        if subject not in known:
            raise field.wrong(
                f"unknown {kind} {shown(subject)}"
                + (f", {suggested(subject, known)}" if known else ": there are no pairs")
            )
        if subject in chosen:
            raise field.wrong(f"{subject} is listed twice")
        chosen.add(subject)
    if not chosen:
        raise rule.wrong(f"expected at least one of {kind}s, or leave the key out for all")
    return tuple(subject for subject in known if subject in chosen)


def _subject(written: str, kind: str, known: Sequence[str]) -> str:
    """The known name of a pair or symbol, in whatever spelling; an unknown one is left as it is written.

    The venues may be left out where that leaves one subject.
    """
    if written in known:
        return written
    # BTC-USDT-ETH-USDT is a pair, too: one of the ways to divide it gives two known symbols.
    parts = [(written[:k], written[k + 1 :]) for k, letter in enumerate(written) if letter == "-"]
    ways = {tuple(map(_spelled, part)) for part in ([(written,)] if kind == SYMBOL else parts)}
    legs = {subject: tuple(subject.split("-")) for subject in known}
    named = [subject for subject, symbols in legs.items() if symbols in ways]
    named = named or [subject for subject, symbols in legs.items() if tuple(map(native, symbols)) in ways]
    return named[0] if len(named) == 1 else written


def _spelled(written: str) -> str:
    name, dot, venue = written.partition(".")
    return (symbol_name(name) or name) + dot + venue


def _watched(own: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The timeframes of a pair, or of all bars, that a rule reads.

    These are the ones that the rule asks for; by default 1m. Without 1m it is the shortest of the longer
    ones, or, if all are shorter, the longest.
    """
    if asked is not None:
        return tuple(word for word in own if word in asked)
    usual_us = timeframe_us(USUAL_TIMEFRAME)
    return tuple(word for word in own if timeframe_us(word) >= usual_us)[:1] or own[-1:]
