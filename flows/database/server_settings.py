"""The QuestDB settings that keep a running server cheap: questdb/server.env, which compose uses, too."""

from functools import cache
from importlib.resources import files
from typing import Any

SETTINGS = files("flows.database") / "server.env"  # a link to questdb/server.env; a wheel has a copy


@cache
def server_settings() -> dict[str, str]:
    """The settings, by the name of QuestDB's environment variable."""
    lines = (
        line.partition("=")
        for line in SETTINGS.read_text(encoding="utf-8").splitlines()
        if line.startswith("QDB_")
    )
    return {name: value for name, _, value in lines}


def lacking(connection: Any) -> dict[str, str]:
    """The settings that have another value on a running server, with the values wanted.

    Settings that the server's version does not know are left out.
    """
    has = dict(connection.execute("SELECT env_var_name, value FROM (SHOW PARAMETERS)").fetchall())
    return {
        name: value
        for name, value in server_settings().items()
        if name in has and _plain(has[name]) != _plain(value)
    }


def _plain(value: str) -> str:
    """A value without its unit: 1m, 1M and 1048576 are the same."""
    text = value.strip().lower()
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1:], 1)
    number = text.rstrip("kmg")
    return str(int(number) * factor) if number.isdigit() else text
