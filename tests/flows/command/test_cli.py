"""Mistakes in the use of the command are one line, the exit code is not 0, and nothing is half-written."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.command.cli import main
from flows.sandbox.background import background
from flows.settings.decoding import load
from tests.flows.command.refusing import PAIRS, refusal


def test_a_locale_without_our_letters_gets_them_escaped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    to = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(to, encoding="ascii"))
    assert main(["--config", "ü.yaml", "init"]) == 0
    sys.stdout.flush()
    assert to.getvalue().startswith(b"\\xfc.yaml: written. ")


def test_a_missing_configuration_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "pipeline.yaml: no such file" in refusal(capsys, "run")


def test_init_writes_a_configuration_that_is_right_and_never_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert load(Path("pipeline.yaml")).pairs
    assert capsys.readouterr().out.startswith("pipeline.yaml: written. ")
    Path("pipeline.yaml").write_text("mine")
    assert "pipeline.yaml is there already: edit it" in refusal(capsys, "init")
    assert Path("pipeline.yaml").read_text() == "mine"
    assert main(["--config", "other.yaml", "init"]) == 0 and load(Path("other.yaml")).pairs
    capsys.readouterr()
    assert "cannot be written (No such file or directory)" in refusal(
        capsys, "--config", "nowhere/p.yaml", "init"
    )


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
        Path("pipeline.yaml").write_text(
            PAIRS.format(http=http, pg=pg, ws=exchange.ws_url, rest=exchange.rest_url)
        )
        assert main(["check"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [
        "ok   configuration",
        "ok   kernels",
        "ok   database",
        "ok   disk",
        "ok   recovery",
    ]
    assert lines[5].startswith("ok   exchange" if code == 0 else "NOT  exchange")
    assert ("ETHUSDT" in lines[5]) == (code == 1)
    assert lines[7] == ("ready: pairflow run" if code == 0 else "not ready")


@pytest.mark.parametrize(
    "arguments",
    [
        ("exchange", "--since", "inf"),
        ("exchange", "--since", "nan"),
        ("exchange", "--history", "1e300"),
        ("exchange", "--rate", "1e300"),
        ("exchange", "--rate", "fast"),
        ("demo", "--seconds", "1e300"),
    ],
)
def test_a_number_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith(f"pairflow {arguments[0]}: error: argument {arguments[1]}: expected a ")
    )


def test_a_demo_on_one_port_for_two_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "port 9123 is wanted for both" in refusal(
        capsys, "demo", "--http-port", "9123", "--pg-port", "9123"
    )
    assert not list(tmp_path.iterdir())
