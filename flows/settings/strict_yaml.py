"""Parses YAML into fields that know their path: one document, no duplicate keys, no surprises of YAML 1.1.

Plain `NO`, `on`, `12:30:00`, `2024-08-09`, `1_000`, `017` and `0x1F` are text here, as they look. Only
true/false, null and decimal numbers have other types, and text in quotes is always text. Every mistake
becomes one line: file:line:column for the YAML itself, file: path.of.the[0].key for its content.

msgspec.convert would check the content, but its messages do not show the value that was found, suggest no
key, and know nothing of settings that depend on each other.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import yaml

from flows.errors import UserError

TAG = "tag:yaml.org,2002:"
LONGEST_GOT = 60  # characters of a wrong value that a message quotes
MOST_GOT = 4  # elements of a wrong list that a message quotes
SECRETS = ("password", "token", "secret", "api_key", "apikey", "user", "webhook")

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = LONGEST_GOT


class _Loader(yaml.SafeLoader):
    """Resolves the core schema of YAML 1.2 without its octal and hexadecimal numbers."""


_Loader.yaml_implicit_resolvers = {}
_DECIMAL = r"(0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_DECIMAL}", list("-+0123456789")),
    (
        "float",
        rf"[-+]?(\.[0-9]+|{_DECIMAL}(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(TAG + _tag, re.compile(rf"(?:{_pattern})\Z", re.ASCII), _first)


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the document with its path, which every error message names."""

    where: str  # the file's name
    path: str  # pairs[0].hedge.window; empty for the document itself
    content: object
    rank: int = 0  # if two settings contradict each other, the message names the one with the higher rank

    def ranked(self, rank: int) -> "Field":
        """The same field with another rank, also for all below it."""
        return replace(self, rank=rank)

    def wrong(self, complaint: str) -> UserError:
        """The error of this field, in one line."""
        line = f"{self.where}: {self.path}: {complaint}" if self.path else f"{self.where}: {complaint}"
        return UserError(" ".join(line.splitlines()))

    def expected(self, what: str) -> UserError:
        return self.wrong(f"expected {what}, got {shown(self.content)}")

    def child(self, key: str, content: object) -> "Field":
        return Field(self.where, f"{self.path}.{key}" if self.path else key, content, self.rank)

    def entries(self, what: str) -> dict[str, "Field"]:
        """The entries of a mapping, whatever their keys."""
        if not isinstance(self.content, dict):
            raise self.expected(what)
        return {key: self.child(key, content) for key, content in self.content.items()}

    def keys(self, *known: str) -> dict[str, "Field"]:
        """The entries of a mapping that may have the `known` keys only."""
        entries = self.entries(f"a mapping with {either(known)}")
        for key in entries:
            if key in known:
                continue
            # the message does not quote the value: it may be a real secret
            if any(secret in key.lower() for secret in SECRETS):
                raise self.child(key, None).wrong(
                    "secrets come from the environment, not from this file: remove it"
                )
            if key == "<<":
                raise self.wrong(
                    "unknown key '<<': merge keys are no part of YAML 1.2: put what pairs share under "
                    "defaults"
                )
            raise self.wrong(f"unknown key {shown(key)}, {suggested(key, known)}")
        return entries

    def elements(self, what: str) -> list["Field"]:
        if not isinstance(self.content, list):
            raise self.expected(what)
        return [
            Field(self.where, f"{self.path}[{i}]", content, self.rank)
            for i, content in enumerate(self.content)
        ]

    def text(self, what: str, accept: Callable[[str], bool] = bool) -> str:
        if not isinstance(self.content, str) or not accept(self.content):
            raise self.expected(what)
        return self.content

    def one_of(self, words: Sequence[str]) -> str:
        if not isinstance(self.content, str) or self.content not in words:
            raise self.expected(either(words))
        return self.content

    def flag(self) -> bool:
        if not isinstance(self.content, bool):
            raise self.expected("true or false")
        return self.content

    def integer(self, low: int, high: int) -> int:
        if not isinstance(self.content, int) or isinstance(self.content, bool) or self.content < low:
            raise self.expected(f"an integer ≥ {low}")
        if self.content > high:
            raise self.expected(f"an integer ≤ {high}")
        return self.content

    def number(self, what: str, accept: Callable[[float], bool]) -> float:
        if not isinstance(self.content, int | float) or isinstance(self.content, bool):
            raise self.expected(what)
        try:
            number = float(self.content)
        except OverflowError:
            raise self.expected(what) from None
        if not math.isfinite(number) or not accept(number):
            raise self.expected(what)
        return number


def shown(content: object) -> str:
    """A value for an error message, in one line and shortened.

    The content of a mapping is not shown: it may be a password.
    """
    if content is None:
        return "nothing"
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, dict):
        return "a mapping"
    if isinstance(content, list):
        some = ", ".join(
            "[…]" if isinstance(element, list) else shown(element) for element in content[:MOST_GOT]
        )
        return f"[{some}, …]" if len(content) > MOST_GOT else f"[{some}]"
    return _shortened.repr(content)


def either(words: Iterable[str]) -> str:
    """`a, b or c`"""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def suggested(word: str, known: Sequence[str]) -> str:
    """A suggestion in place of a wrong word: the nearest known one, or all of them."""
    near = difflib.get_close_matches(word.lower(), known, 1) or difflib.get_close_matches(
        word.upper(), known, 1
    )
    return f"did you mean {near[0]}?" if near else f"expected {either(known)}"


def parse(text: str, where: str) -> Field:
    """Parse the one document in `text`; `where` is the name of the file for error messages."""
    try:
        node = _Loader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - before.rfind("\n")
        raise UserError(
            f"{where}:{before.count(chr(10)) + 1}:{column}: the character {shown(chr(error.character))} is "
            "not allowed in YAML"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{where}:{_position(error.problem_mark)}: {_reason(error)}") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply to be a configuration") from None
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF" that names no character
        raise UserError(f"{where}: not valid YAML: an escape names no character") from None
    if node is None:
        raise UserError(f"{where}: empty: expected at least pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`")
    try:
        return Field(where, "", _content(node, where, {}, set()))
    except RecursionError:
        raise UserError(f"{where}: nested too deeply to be a configuration") from None


def _content(node: yaml.Node, where: str, done: dict[int, object], open_nodes: set[int]) -> object:
    """The content of a node. Aliases share it, so nested aliases stay small; one of itself is refused."""
    if id(node) in done:
        return done[id(node)]
    at = f"{where}:{_position(node.start_mark)}"
    if id(node) in open_nodes:
        raise UserError(f"{at}: an alias is inside what it refers to")
    open_nodes.add(id(node))
    content: object
    if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
        content = _mapping(node, where, done, open_nodes)
    elif isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
        content = [_content(element, where, done, open_nodes) for element in node.value]
    elif isinstance(node, yaml.ScalarNode):
        content = _scalar(node, at)
    else:
        raise UserError(f"{at}: unknown tag {shown(node.tag)}: remove it")
    open_nodes.discard(id(node))
    done[id(node)] = content
    return content


def _mapping(
    node: yaml.MappingNode, where: str, done: dict[int, object], open_nodes: set[int]
) -> dict[str, object]:
    content: dict[str, object] = {}
    lines: dict[Hashable, int] = {}
    for key, below in node.value:
        at = f"{where}:{_position(key.start_mark)}"
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{at}: a key must be a word")
        if key.value in lines:
            raise UserError(f"{at}: duplicate key {shown(key.value)}: line {lines[key.value]} has it already")
        lines[key.value] = key.start_mark.line + 1
        content[key.value] = _content(below, where, done, open_nodes)
    return content


def _scalar(node: yaml.ScalarNode, at: str) -> object:
    written = cast(str, node.value)
    try:
        match node.tag.removeprefix(TAG):
            case "str":
                return written
            case "null" if written in ("~", "null", "Null", "NULL", ""):
                return None
            case "bool" if written.lower() in ("true", "false"):
                return written.lower() == "true"
            case "int":
                return int(written)
            case "float":
                return float(re.sub(r"\.(inf|nan)\Z", r"\1", written.lower()))
    except ValueError:  # !!int abc, or more digits than Python converts
        raise UserError(f"{at}: expected a number, got {shown(written)}") from None
    raise UserError(f"{at}: unknown tag {shown(node.tag)}: remove it")


def _position(mark: yaml.Mark | None) -> str:
    return f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in problem:
        return "a tab: YAML is indented with blanks"
    if "but found another document" in problem:
        return "a second document begins: expected one, without `---`"
    if error.context and error.problem:
        problem = f"{problem} ({' '.join(str(error.context).split())})"
    return f"not valid YAML: {problem}"
