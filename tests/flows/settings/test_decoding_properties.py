"""Any text gives settings or one error line."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UserError
from flows.settings.fingerprint import differences, settings_fingerprint
from flows.settings.strict_yaml import parse
from flows.settings.timeframes import timeframe_us
from tests.flows.settings.examples import EXAMPLE, of


def outcome(text: str) -> str:
    """'' if the text is understood, else the one line. Only UserErrors are caught."""
    try:
        understood = of(text)
    except UserError as refusal:
        line = str(refusal)
        assert line.startswith("pipeline.yaml:"), line
        assert line.splitlines() == [line]
        assert len(line) < 600
        return line
    assert differences(settings_fingerprint(understood), settings_fingerprint(understood)) == []
    return ""


SIGNS = (
    "",
    " ",
    "\n",
    "\t",
    ":",
    "-",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "'",
    '"',
    "#",
    "---",
    "...",
    "%",
    "|",
    ">",
    "~",
    "?",
    "<<",
)
WORDS = (
    "null",
    "true",
    "NO",
    "1e3",
    "-1",
    "0",
    "017",
    ".nan",
    ".inf",
    "1e999",
    "9" * 400,
    "9" * 5000,
    "\\",
    "\x00",
    "\u2028",
    "\ud800",
    "1s",
    "7d",
)
PIECES = st.sampled_from(SIGNS + WORDS)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), PIECES | st.text(max_size=4)),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_is_cut_and_pasted_the_answer_is_settings_or_one_line(
    cuts: list[tuple[int, int, str]],
) -> None:
    text = EXAMPLE
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    outcome(text)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1s", "1m", "3s", "ols", "BTCUSDT", "A1-B1", "zscore", 10**400])
)
TREES = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.just("window"), below, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_the_place_of_a_setting_the_answer_is_settings_or_one_line(
    draw: st.DataObject,
) -> None:
    tree = parse(EXAMPLE, "pipeline.yaml").content
    place = tree
    while True:
        assert isinstance(place, dict | list)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.draw(st.sampled_from(keys))
        below = place[key]  # type: ignore[index]
        if not isinstance(below, dict | list) or not below or draw.draw(st.booleans()):
            break
        place = below
    place[key] = draw.draw(TREES)  # type: ignore[index]
    outcome(json.dumps(tree).replace("NaN", ".nan").replace("Infinity", ".inf"))


@settings(deadline=None)
@given(st.integers(1, 300))
def test_a_timeframe_has_one_spelling(seconds: int) -> None:
    words = [
        word
        for word in (f"{seconds}s", f"{seconds / 60:g}m")
        if outcome(f"bars: {{timeframes: [{word}]}}\nsource: {{symbols: [A1]}}") == ""
    ]
    assert len(words) == 1
    assert timeframe_us(words[0]) == seconds * 1_000_000
