"""What `pairflow export` refuses, and what works with `--dir` alone."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from flows.command.cli import main
from flows.database.connection import Endpoint
from flows.database.embedded import running as database
from flows.settings.decoding import load
from flows.settings.model import QuestDB
from tests.flows.command.refusing import refusal
from tests.line import Ports, configure


def test_an_export_looks_at_its_arguments_before_it_starts_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    assert "there is no table 'signal'" in refusal(capsys, "export", "signal", "-o", "-")
    assert "expected a time" in refusal(capsys, "export", "signals", "-o", "-", "--start", "soon")
    for place in ("nowhere", "."):
        assert "no database is there" in refusal(capsys, "export", "signals", "-o", "-", "--dir", place)
    assert "a file that ends in .xlsx cannot be written" in refusal(
        capsys, "export", "signals", "-o", "signals.xlsx"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


def test_verbs_with_a_directory_need_no_configuration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_ports: Ports,
    questdb: Endpoint,
) -> None:
    """On the session's server, which the command finds running."""
    monkeypatch.chdir(tmp_path)
    where = str(questdb.directory)
    assert main(["export", "trades", "-o", "trades.csv.gz", "--dir", where]) == 0
    assert gzip.decompress(Path("trades.csv.gz").read_bytes()).startswith(b"ts,symbol,id,")
    capsys.readouterr()
    served: list[QuestDB] = []
    monkeypatch.setattr("flows.database.embedded.serve", lambda database, _: served.append(database) or 0)
    assert main(["questdb", "--dir", "db"]) == 0
    assert served[-1].dir == tmp_path / "db" and served[-1].embedded
    http, pg = free_ports(2)
    Path("pipeline.yaml").write_text(
        f"pairs: [[BTCUSDT, ETHUSDT]]\nquestdb: {{http_port: {http}, pg_port: {pg}}}\n"
    )
    assert main(["questdb", "--dir", "db"]) == 0
    assert (served[-1].http_port, served[-1].pg_port) == (http, pg)
    Path("pipeline.yaml").write_text("pairs: nonsense\n")
    assert main(["questdb", "--dir", "db"]) == 0
    assert "pipeline.yaml is left out, so its ports are not used: pipeline.yaml: " in capsys.readouterr().err
    for verb in (["questdb", "--dir", "db"], ["export", "trades", "-o", "-", "--dir", where], ["exchange"]):
        assert "missing.yaml: no such file" in refusal(capsys, "--config", "missing.yaml", *verb)
    assert "pipeline.yaml: pairs" in refusal(capsys, "export", "trades", "-o", "-")
    assert "pipeline.yaml: pairs" in refusal(capsys, "questdb")
    with pytest.raises(SystemExit):
        main(["questdb", "--dir", ""])
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "pairflow questdb: error: argument --dir: expected a directory, got ''"
    )


def test_an_export_to_a_full_device_or_a_closed_one_is_one_line(tmp_path: Path, free_ports: Ports) -> None:
    home = configure(tmp_path / "home", free_ports)
    with database(load(home / "pipeline.yaml").questdb):
        ended = [
            subprocess.run(
                ["/bin/sh", "-c", f"exec {sys.executable} -m flows.command export trades -o - {target}"],
                cwd=home,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            for target in (">/dev/full", ">&-")
        ]
    for done in ended:
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(
            "pairflow: export: standard output cannot be written ("
        )
