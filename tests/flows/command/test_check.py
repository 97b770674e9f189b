"""`pairflow check`, line by line; it reads and leaves nothing behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from flows.command.check import database, report
from flows.database.connection import Endpoint
from flows.database.server_settings import server_settings
from flows.runtime.running import FINGERPRINT, own_recovery
from flows.sandbox.background import Background, background
from flows.settings.decoding import load
from flows.settings.model import QuestDB, Settings
from tests.line import configuration, used_store

Ports = Callable[[int], list[int]]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Background]:
    with background(symbols=("BTCUSDT", "ETHUSDT")) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, exchange: Background, free_ports: Ports) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(configuration(free_ports, exchange.ws_url, exchange.rest_url))
    return path


def content(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_everything_ready_is_said_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(home.parent)
    assert report(home) == 0
    *lines, end = capsys.readouterr().out.splitlines()
    names = ("configuration", "kernels", "database", "disk", "recovery", "exchange", "stream")
    assert [line.split(": ")[0] for line in lines] == [f"ok   {name}" for name in names]
    assert lines[4].endswith("recovery will be made")
    assert end == "ready: pairflow run"
    assert content(home.parent) == before


def test_a_recovery_store_is_compared_and_not_touched(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    used_store(load(home))
    before = content(home.parent)
    assert report(home) == 0
    assert "is of this configuration" in capsys.readouterr().out
    assert content(home.parent) == before
    home.write_text(home.read_text().replace("1s: 60, 1m: 10", "1s: 50, 1m: 10"))
    before = content(home.parent)
    assert report(home) == 1
    assert "NOT  recovery: " in (out := capsys.readouterr().out) and "was 60, is 50" in out
    assert content(home.parent) == before
    (home.parent / "recovery" / FINGERPRINT).unlink()
    assert report(home) == 1
    assert "without fingerprint" in capsys.readouterr().out
    assert not (home.parent / "recovery" / FINGERPRINT).exists()


def test_a_damaged_recovery_store_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    used_store(load(home)).write_bytes(b"x" * 10_000)
    assert report(home) == 1
    assert "part-0.sqlite3 is damaged (file is not a database): start anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "line"), [("db", "database: questdb.dir"), ("recovery", "recovery: recovery.dir")]
)
def test_a_directory_that_cannot_be_made_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], key: str, line: str
) -> None:
    (home.parent / "notes").write_text("")
    home.write_text(home.read_text().replace(f"dir: {key}", f"dir: notes/{key}"))
    assert report(home) == 1
    assert (
        f"NOT  {line}: {home.parent}/notes/{key} cannot be made ({home.parent}/notes is a file): "
        in capsys.readouterr().out
    )


def test_a_jar_that_is_yet_to_be_fetched_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.database.jar.cache_dir", lambda: home.parent / "cache")
    assert report(home) == 0
    assert "; its jar will be fetched once over the network" in capsys.readouterr().out


def test_a_run_on_the_recovery_directory_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own_recovery(load(home)):
        assert report(home) == 1
    assert "another run is under way" in capsys.readouterr().out
    assert report(home) == 0


def test_a_websocket_that_does_not_answer_is_a_line_of_its_own(
    home: Path, exchange: Background, capsys: pytest.CaptureFixture[str], free_ports: Ports
) -> None:
    (nobody,) = free_ports(1)
    good = home.read_text()
    home.write_text(good.replace(exchange.ws_url, f"ws://127.0.0.1:{nobody}"))
    assert report(home) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].startswith("ok   exchange")
    assert (
        lines[6].startswith(f"NOT  stream: source.ws_url: ws://127.0.0.1:{nobody}: ")
        and "refused" in lines[6]
    )
    assert lines[7] == "not ready"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"ws_status": 451}, "HTTP 451, it does not serve this country"),
        ({"handshake_delay_s": 3.0}, "no answer within 0.2 s"),
    ],
)
def test_a_websocket_that_is_refused_says_why(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, float],
    why: str,
    exchange: Background,
) -> None:
    monkeypatch.setattr("flows.command.check.HANDSHAKE_S", 0.2)
    with background(symbols=("BTCUSDT", "ETHUSDT")) as refusing:
        refusing.control("faults", **fault)
        home.write_text(home.read_text().replace(exchange.ws_url, refusing.ws_url))
        assert report(home) == 1
    assert why in capsys.readouterr().out


def test_a_simulated_market_is_ready_without_recovery_and_beside_the_real_database(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.write_text(home.read_text().replace("source: {", "source: {exchange: simulated, "))
    assert report(home) == 0
    out = capsys.readouterr().out
    assert "db-simulated" in out and "recovery: off" in out


def test_an_external_server_that_lacks_the_settings_is_named_with_them(
    questdb: Endpoint, logins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert questdb.directory is not None
    external = QuestDB(
        embedded=False,
        host=questdb.host,
        http_port=questdb.http_port,
        pg_port=questdb.pg_port,
        dir=questdb.directory,
    )
    settings = cast(Settings, SimpleNamespace(questdb=external))
    assert database(settings) == f"QuestDB at {questdb.host}:{questdb.http_port} answers"
    monkeypatch.setitem(server_settings(), "QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE", "3m")
    monkeypatch.setitem(server_settings(), "QDB_SHARED_WORKER_NAP_THRESHOLD", "11")
    said = database(settings)
    assert said.endswith("set QDB_CAIRO_O3_PARTITION_SPLIT_MIN_SIZE=3m QDB_SHARED_WORKER_NAP_THRESHOLD=11")
    assert "2 of its settings make a day of running dear" in said


def test_kernels_that_are_compiled_at_every_start_are_told_and_are_no_hindrance(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.runtime.compiling.uncached", lambda: "no directory for them can be written")
    assert report(home) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ok   kernels: ")]
    assert "set NUMBA_CACHE_DIR" in told
