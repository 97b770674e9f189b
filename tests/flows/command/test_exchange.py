"""The arguments of `pairflow exchange`."""

from pathlib import Path

import msgspec
import pytest

from flows.command.cli import main
from flows.command.exchange import FAULTS
from flows.sandbox.faults import Faults, Ids, Misreport
from tests.flows.command.refusing import refusal


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("drop=2", "exchange: --fault drop=2: expected float <= 1.0, got '2'"),
        ("half=-0.1", "exchange: --fault half=-0.1: expected float >= 0.0, got '-0.1'"),
        ("silent=1", "exchange: --fault silent=1: expected bool, got int, got '1'"),
        ("drop", "exchange: --fault drop: expected a value after =, got ''"),
        ("dorp=0.1", "exchange: --fault dorp=0.1: there is no fault 'dorp': choose of drop, duplicate, "),
    ],
)
def test_a_fault_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], fault: str, told: str) -> None:
    assert refusal(capsys, "exchange", "--fault", fault).startswith(f"pairflow: {told}")


def test_symbols_of_the_exchange_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--symbols: x' OR 1=1--: expected" in refusal(capsys, "exchange", "--symbols", "x' OR 1=1--")


def test_the_local_exchange_needs_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    played: list[object] = []
    monkeypatch.setattr("flows.sandbox.background.serve", lambda options, _: played.append(options))
    assert main(["exchange"]) == 0
    assert len(played) == 1


def test_the_help_lists_the_faults_that_a_value_can_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(FAULTS) == {
        each.name
        for each in msgspec.structs.fields(Faults)
        if each.type not in (list[Ids], list[Misreport], list[str])
    }
    with pytest.raises(SystemExit):
        main(["exchange", "-h"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} ({what})" in shown for name, what in FAULTS.items())
