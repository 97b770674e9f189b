"""What more than one section of pipeline.yaml holds: symbols, shares, directories, hosts."""

import re
from pathlib import Path

from flows.settings.strict_yaml import Field, shown
from flows.settings.symbols import symbol_name


class Spellings:
    """The symbols of one configuration: btcusdt and BTC/USDT are read as BTCUSDT, but one symbol is written
    in one way.
    """

    def __init__(self) -> None:
        self._written: dict[str, str] = {}  # by symbol

    def symbol(self, field: Field) -> str:
        name = symbol_name(field.content) if isinstance(field.content, str) else None
        if name is None or field.content != str(field.content).strip():
            raise field.expected("a symbol such as BTCUSDT (2 to 40 letters, digits and _)")
        before = self._written.setdefault(name, str(field.content))
        if before != field.content:
            raise field.wrong(
                f"{name} is written in two ways, {shown(before)} and {shown(field.content)}: write {name} everywhere"
            )
        return name


def read_share(field: Field) -> float:
    return field.number("a number from 0 to 1", lambda share: 0 <= share <= 1)


def read_directory(field: Field, below: Path) -> Path:
    written = field.text("a directory", lambda name: name.strip() == name != "" and name.isprintable())
    try:
        return below / (Path.home() / written[2:] if written.startswith("~/") else written)
    except RuntimeError:
        raise field.wrong(
            f"this user has no home directory: write all of the path, got {shown(written)}"
        ) from None


def is_host(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9:]([A-Za-z0-9._:-]{0,252})", name) is not None
