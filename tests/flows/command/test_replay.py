"""What `pairflow replay` refuses before it starts anything, and what it reports."""

import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.command.configured import in_dir
from flows.database.connection import Endpoint, connect
from flows.database.embedded import running as database
from flows.database.retention import set_retention
from flows.database.schema import tables
from flows.settings.decoding import load
from tests import forked
from tests.flows.command.refusing import refusal
from tests.line import Ports, configure, pairflow


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


@pytest.mark.parametrize("suffix", [".csv", ".zip"])
def test_a_recording_that_is_broken_in_the_middle_is_named_and_starts_nothing(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    name = f"BTCUSDT-trades-2024-08-09{suffix}"
    rows = [f"{k + 1},60000.0,0.01,600.0,{1_723_161_600_000 + k},True,True" for k in range(60_000)]
    rows[50_000] = "garbage"
    if suffix == ".zip":
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("BTCUSDT-trades-2024-08-09.csv", "\n".join(rows))
    else:
        Path(name).write_text("\n".join(rows))
    assert f"{name}: line 50001: " in refusal(capsys, "replay", name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "pipeline.yaml"])


@pytest.mark.usefixtures("logins")
def test_a_recording_longer_than_the_database_keeps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: Endpoint
) -> None:
    monkeypatch.chdir(tmp_path)
    set_retention(database, trades="7d", bars="365d", signals="365d")
    Path("pipeline.yaml").write_text(
        "pairs: [[BTCUSDT, ETHUSDT]]\n"
        f"questdb: {{embedded: false, host: {database.host}, "
        f"http_port: {database.http_port}, pg_port: {database.pg_port}}}\n"
    )
    # one trade each day
    rows = [f"{k + 1},60000.0,0.01,600.0,{1_723_161_600_000 + k * 86_400_000},True,True" for k in range(10)]
    Path("BTCUSDT-trades-2024-08.csv").write_text("\n".join(rows))
    try:
        told = refusal(capsys, "replay", "BTCUSDT-trades-2024-08.csv")
    finally:
        with connect(database) as connection:
            for name in tables():
                connection.execute(f"DROP TABLE {name}")  # TRUNCATE keeps the TTL
    assert (
        "table trades: keeps 7 days before its newest row (2024-08-18): rows of 2024-08-09 would be deleted "
        "at once" in told
    )


def test_a_replay_tells_what_it_left_out_and_where_to_look(tmp_path: Path, free_ports: Ports) -> None:
    home = configure(tmp_path / "home", free_ports)
    rows = [f"{k + 1},60000.0,0.01,600.0,{1_723_161_600_000 + k},True,True" for k in range(100)]
    rows[50], rows[60] = (
        "51,0,0.01,600.0,1723161600050,True,True",
        "61,60000.0,0.01,600.0,99999999999999999,True,True",
    )
    (home / "BTCUSDT-trades-1.csv").write_text("\n".join(rows))
    (home / "BTCUSDT-trades-2.csv").write_text("\n".join(row.replace("60000.0", "0") for row in rows))
    with database(
        in_dir(load(home / "pipeline.yaml").questdb, home / "day")
    ):  # so that the commands share one server
        told = pairflow(home, "replay", "--dir", "day", "BTCUSDT-trades-1.csv")
        assert len(pairflow(home, "export", "trades", "-o", "-", "--dir", "day").splitlines()) == 99
        # the ending of the name decides the format
        pairflow(home, "export", "trades", "-o", "trades.parquet", "--dir", "day")
    assert (
        "replayed: 98 trades" in told
        and "(left out: 2 rejected for an impossible value: 1 price, 1 time)" in told
    )
    assert "`pairflow questdb --dir day` serves it" in told
    assert len(pq.read_table(home / "trades.parquet")) == 98
    refused = forked.run(
        [sys.executable, "-m", "flows.command", "replay", "BTCUSDT-trades-2.csv"],
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1 and "BTCUSDT-trades-2.csv: holds no trade" in refused.stderr
