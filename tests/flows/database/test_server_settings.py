"""The embedded server and compose have the same settings; those that a running server lacks are reported."""

from pathlib import Path

import pytest
import yaml

from flows.database.connection import Endpoint, connect
from flows.database.server_settings import lacking, server_settings

ROOT = Path(__file__).parents[3]


class Server:
    """What SHOW PARAMETERS would answer."""

    def __init__(self, **has: str) -> None:
        self._has = has

    def execute(self, _: str) -> "Server":
        return self

    def fetchall(self) -> list[tuple[str, str]]:
        return list(self._has.items())


def test_the_embedded_server_has_all_of_them(questdb: Endpoint) -> None:
    with connect(questdb) as connection:
        assert lacking(connection) == {}
        known = dict(connection.execute("SELECT env_var_name, value FROM (SHOW PARAMETERS)").fetchall())
    assert server_settings().keys() <= known.keys()  # the server would silently ignore a misspelt name


def test_compose_has_all_of_them() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["questdb"]["env_file"] == ["questdb/server.env"]


def test_a_value_is_compared_and_not_its_notation() -> None:
    wanted = server_settings()["QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE"]
    assert wanted == "32k"
    for same in ("32K", "32768"):
        assert lacking(Server(QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE=same)) == {}
    assert lacking(Server(QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE="50M")) == {
        "QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE": "32k"
    }


@pytest.mark.parametrize("name", ["QDB_NOT_A_SETTING", "QDB_HTTP_PASSWORD"])
def test_what_is_not_ours_is_not_compared(name: str) -> None:
    assert lacking(Server(**{name: "x"})) == {}
