"""The settings of the QuestDB server that keep a day of running cheap: questdb/server.env, for the embedded
server and compose alike.
"""

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
    """What a running server has of other values, and the values wanted; a setting that its version does not
    know is left out.
    """
    has = dict(connection.execute("SELECT env_var_name, value FROM (SHOW PARAMETERS)").fetchall())
    return {
        name: value
        for name, value in server_settings().items()
        if name in has and _plain(has[name]) != _plain(value)
    }


def _plain(value: str) -> str:
    """A value without its unit: 1m, 1M and 1048576 are one."""
    text = value.strip().lower()
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1:], 1)
    number = text.rstrip("kmg")
    return str(int(number) * factor) if number.isdigit() else text
