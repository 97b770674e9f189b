"""Reads durations and timeframes such as 250ms, 1s or 5m."""

import re
from collections.abc import Sequence

from flows.settings.strict_yaml import Field, shown
from operators.columns import DAY_US, MINUTE_US, SECOND_US

UNITS_US = {"ms": 1_000, "s": SECOND_US, "m": MINUTE_US, "h": 60 * MINUTE_US, "d": DAY_US}
TIMEFRAMES = ("1s", "5s", "10s", "30s", "1m", "5m")  # the default of bars.timeframes
LONGEST_TIMEFRAME_S = 300


def timeframe_us(word: str) -> int:
    """The length of a timeframe such as `1s` or `5m` in µs."""
    return int(word[:-1]) * UNITS_US[word[-1]]


def read_duration_us(field: Field, what: str, low_us: int, high_us: int) -> int:
    """A duration in µs within these bounds; `what` describes it in the error message."""
    written = (
        re.fullmatch(r"([0-9]{1,12})(ms|s|m|h|d)", field.content) if isinstance(field.content, str) else None
    )
    us = int(written[1]) * UNITS_US[written[2]] if written else -1
    if not low_us <= us <= high_us:
        raise field.expected(what)
    return us


def read_timeframe(field: Field) -> str:
    """A timeframe in its one spelling: 1m, not 60s."""
    written = (
        re.fullmatch(r"([1-9][0-9]{0,6})(ms|s|m|h|d)", field.content)
        if isinstance(field.content, str)
        else None
    )
    us = int(written[1]) * UNITS_US[written[2]] if written else 0
    seconds = us // UNITS_US["s"]
    if us % UNITS_US["s"] or not 1 <= seconds <= LONGEST_TIMEFRAME_S:
        raise field.expected("a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or 1m")
    word = f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
    if field.content != word:
        raise field.wrong(f"write {word}, got {shown(field.content)}")
    return word


def read_timeframes(
    field: Field, among: Sequence[str] | None = None, among_name: str = "bars.timeframes"
) -> tuple[str, ...]:
    """Timeframes, the shortest first. `among`: the only ones allowed, with their name for error messages."""
    words: list[str] = []
    for element in field.elements("a list of timeframes such as [1s, 1m]"):
        word = read_timeframe(element)
        if among is not None and word not in among:
            raise element.expected(f"one of {among_name} ({', '.join(among)})")
        if word in words:
            raise element.wrong(f"{word} is listed twice")
        words.append(word)
    if not words:
        raise field.expected("at least one timeframe")
    return tuple(sorted(words, key=timeframe_us))
