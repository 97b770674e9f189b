"""The command's own mistakes: one line, exit code not 0, nothing half-written; and `check`, line by line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from flows.exchange import background

PAIRS = (
    "pairs: [[BTCUSDT, ETHUSDT]]\nquestdb: {{dir: db, http_port: {http}, pg_port: {pg}}}\nsource: {{ws_url: '{ws}', rest_url: '{rest}'}}\n"
)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = said.err.splitlines()
    assert last.startswith("pairflow: ")
    return last


def test_a_missing_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert "pipeline.yaml: no such file" in refusal(capsys, "run")


def test_a_foreign_recording_is_named_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    Path("notes.txt").write_text("buy low\n")
    assert "notes.txt: line 1" in refusal(capsys, "replay", "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "pipeline.yaml"]


def test_a_recording_of_other_symbols_says_what_to_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    Path("DOGEUSDT-trades-2024-08-09.csv").write_text("1,0.1,100,10,1723161600000,True,True\n")
    assert "hold DOGEUSDT" in refusal(capsys, "replay", "DOGEUSDT-trades-2024-08-09.csv")


def test_an_unreachable_exchange_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_ports: Callable[[int], list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    http, pg, nobody = free_ports(3)
    url = f"http://127.0.0.1:{nobody}"
    Path("pipeline.yaml").write_text(PAIRS.format(http=http, pg=pg, ws=url.replace("http", "ws"), rest=url))
    assert f"127.0.0.1:{nobody}" in refusal(capsys, "run")
    assert not Path("db").exists()


@pytest.mark.parametrize(("symbols", "code"), [(("BTCUSDT", "ETHUSDT"), 0), (("BTCUSDT", "SOLUSDT"), 1)])
def test_check_says_what_is_ready_and_what_is_not(
    symbols: tuple[str, ...],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_ports: Callable[[int], list[int]],
) -> None:
    monkeypatch.chdir(tmp_path)
    http, pg = free_ports(2)
    with background(symbols=symbols) as exchange:
        Path("pipeline.yaml").write_text(PAIRS.format(http=http, pg=pg, ws=exchange.ws_url, rest=exchange.rest_url))
        assert main(["check"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["ok   configuration", "ok   database", "ok   disk", "ok   recovery"]
    assert lines[4].startswith("ok   exchange" if code == 0 else "NOT  exchange")
    assert ("ETHUSDT" in lines[4]) == (code == 1)
    assert lines[5] == ("ready: pairflow run" if code == 0 else "not ready")
