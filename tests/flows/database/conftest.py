"""Fixtures of the tests that start embedded servers."""

import os

import pytest

from flows.database import jar


@pytest.fixture(scope="module")
def fetched() -> None:
    """The jar is in the cache: what a start reports must not depend on whether this machine has had one."""
    jar.jar()


@pytest.fixture
def no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the QuestDB variables that other tests need: each directory here has its own passwords."""
    for name in [name for name in os.environ if name.startswith("QDB_")]:
        monkeypatch.delenv(name)
