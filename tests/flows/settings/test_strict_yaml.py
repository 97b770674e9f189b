"""YAML values mean what they look like, or one line says where the YAML is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import UserError
from flows.settings.strict_yaml import either, parse, shown, suggested


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        parse(text, "f.yaml")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "word", ["NO", "on", "yes", "12:30:00", "2024-08-09", "1_000", "017", "0x1F", "+.", "1s"]
)
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(word: str) -> None:
    assert parse(f"a: {word}", "f.yaml").content == {"a": word}


@pytest.mark.parametrize(
    ("word", "content"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'1'", "1"),
    ],
)
def test_only_booleans_null_and_decimal_numbers_are_resolved(word: str, content: object) -> None:
    found = parse(f"a: {word}", "f.yaml").content
    assert found == {"a": content}
    assert type(found["a"]) is type(content)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key 'a': line 1 has it already"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins: expected one, without `---`"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: a tab: YAML is indented with blanks"),
        ("a: &x [*x]\n", "f.yaml:1:4: an alias is inside what it refers to"),
        ("a: !!python/none 1\n", "f.yaml:1:4: unknown tag 'tag:yaml.org,2002:python/none': remove it"),
        ("[a]: 1\n", "f.yaml:1:1: a key must be a word"),
        ("a: !!int abc\n", "f.yaml:1:4: expected a number, got 'abc'"),
        ("a: \x00\n", "f.yaml:1:4: the character '\\x00' is not allowed in YAML"),
        ("# nothing\n", "f.yaml: empty: expected at least pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`"),
        ("[" * 5_000, "f.yaml: nested too deeply to be a configuration"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text: str, line: str) -> None:
    assert refusal(text) == line


def test_an_unknown_key_comes_with_the_nearest_known_one_and_a_secret_without_its_value() -> None:
    field = parse("top: {windw: 3, qdb_password: hunter2}", "f.yaml").entries("a mapping")["top"]
    with pytest.raises(UserError, match=r"^f\.yaml: top: unknown key 'windw', did you mean window\?$"):
        field.keys("window", "every")
    with pytest.raises(
        UserError, match=r"^f\.yaml: top\.qdb_password: secrets come from the environment"
    ) as refused:
        field.keys("windw")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "complaint"), [("abc", "got 'abc'"), ("true", "got true"), ("19", "got 19"), ("", "got nothing")]
)
def test_an_integer_is_an_integer_within_its_bounds(word: str, complaint: str) -> None:
    field = parse(f"- {word}", "f.yaml").elements("a list")[0]
    with pytest.raises(UserError) as refused:
        field.integer(20, 100)
    assert str(refused.value) == f"f.yaml: [0]: expected an integer ≥ 20, {complaint}"


def test_words_for_messages() -> None:
    assert either(["a"]) == "a" and either(["a", "b", "c"]) == "a, b or c"
    assert suggested("BTCUSD", ["BTCUSDT", "ETHUSDT"]) == "did you mean BTCUSDT?"
    assert suggested("zzz", ["above", "below"]) == "expected above or below"
    assert shown({"a": 1}) == "a mapping" and shown([1, [2], "x", None, 5]) == "[1, […], 'x', nothing, …]"
    assert len(shown("x" * 1_000)) < 100


@given(st.text(max_size=60))
def test_any_text_is_a_field_or_one_line(text: str) -> None:
    try:
        parse(text, "f.yaml")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
