"""A connection that is refused says why."""

import pytest

from flows.database.connection import Endpoint, connect
from flows.errors import UserError


def test_a_refused_password_is_named(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDB_PG_PASSWORD", "wrong")
    with pytest.raises(UserError, match=r"user or password refused: set QDB_PG_USER and QDB_PG_PASSWORD"):
        connect(database)
