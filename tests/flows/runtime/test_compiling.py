"""One line reports that kernels are compiled, and whether at every start."""

import time

import pytest

from flows.runtime.compiling import AT_EVERY_START, COMPILING, compiled_anew, telling_of_compiling


@pytest.fixture(autouse=True)
def _a_cache_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.runtime.compiling.uncached", lambda: "")
    monkeypatch.setattr("flows.runtime.compiling.LOOK_S", 0.01)


@pytest.mark.parametrize("fresh", [True, False])
def test_compiling_is_told_once_and_only_when_it_happens(
    monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    monkeypatch.setattr("flows.runtime.compiling._compiled", lambda: fresh)
    told: list[str] = []
    with telling_of_compiling(told.append):
        time.sleep(0.2)
    assert told == [COMPILING] * fresh


def test_without_a_cache_that_is_said_instead_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.runtime.compiling.uncached", lambda: "no directory for them can be written")
    monkeypatch.setattr("flows.runtime.compiling._compiled", lambda: True)
    told: list[str] = []
    with telling_of_compiling(told.append):
        assert told == [AT_EVERY_START.format(why="no directory for them can be written")]
        assert "NUMBA_CACHE_DIR" in told[0]
    assert told == [compiled_anew()]


def test_a_cache_that_fails_in_the_block_is_told_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.runtime.compiling._compiled", lambda: False)
    told: list[str] = []
    with telling_of_compiling(told.append):
        monkeypatch.setattr("flows.runtime.compiling.uncached", lambda: "[Errno 28] No space left on device")
    assert told == [AT_EVERY_START.format(why="[Errno 28] No space left on device")]
