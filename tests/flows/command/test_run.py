"""A `pairflow run` that fails: one line, and nothing is lost or left behind."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.runtime.running import own_recovery
from flows.sandbox.background import background
from flows.settings.decoding import load
from tests.flows.command.refusing import PAIRS, refusal
from tests.line import used_store


def test_an_unreachable_exchange_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_ports: Callable[[int], list[int]],
) -> None:
    monkeypatch.chdir(tmp_path)
    http, pg, nobody = free_ports(3)
    url = f"http://127.0.0.1:{nobody}"
    Path("pipeline.yaml").write_text(PAIRS.format(http=http, pg=pg, ws=url.replace("http", "ws"), rest=url))
    assert f"127.0.0.1:{nobody}" in refusal(capsys, "run")
    assert not Path("db").exists()


def test_a_fresh_start_that_fails_forgets_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_ports: Callable[[int], list[int]],
) -> None:
    monkeypatch.chdir(tmp_path)
    http, pg, nobody = free_ports(3)
    with (
        background(symbols=("BTCUSDT", "ETHUSDT")) as exchange,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        of_exchange = {"ws": exchange.ws_url, "rest": exchange.rest_url}
        Path("pipeline.yaml").write_text(PAIRS.format(http=taken.getsockname()[1], pg=pg, **of_exchange))
        store = used_store(load(Path("pipeline.yaml")))
        before = store.read_bytes()
        assert "is taken by another program" in refusal(capsys, "run", "--fresh")
        assert store.read_bytes() == before
    url = f"http://127.0.0.1:{nobody}"
    Path("pipeline.yaml").write_text(PAIRS.format(http=http, pg=pg, ws=url.replace("http", "ws"), rest=url))
    refusal(capsys, "run", "--fresh")
    assert store.read_bytes() == before


def test_a_start_that_fails_leaves_no_store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_ports: Callable[[int], list[int]],
) -> None:
    monkeypatch.chdir(tmp_path)
    (pg,) = free_ports(1)
    with (
        background(symbols=("BTCUSDT", "ETHUSDT")) as exchange,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        Path("pipeline.yaml").write_text(
            PAIRS.format(http=taken.getsockname()[1], pg=pg, ws=exchange.ws_url, rest=exchange.rest_url)
        )
        assert "is taken by another program" in refusal(capsys, "run")
    assert [path.name for path in Path(".pairflow/recovery").iterdir()] == ["run.lock"]


def test_a_second_run_on_a_recovery_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    with own_recovery(load(Path("pipeline.yaml"))):
        for arguments in (["run"], ["run", "--fresh"]):
            assert "another run is under way on it" in refusal(capsys, *arguments)
