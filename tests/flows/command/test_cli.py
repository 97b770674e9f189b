"""The command's own mistakes: one line, exit code not 0, nothing half-written; and `check`, line by line."""

import gzip
import io
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from flows.command.cli import main
from flows.command.configured import in_dir
from flows.command.exchange import FAULTS
from flows.database.connection import Endpoint, connect
from flows.database.embedded import running as database
from flows.database.retention import set_retention
from flows.database.schema import tables
from flows.runtime.running import own_recovery
from flows.sandbox.background import background
from flows.sandbox.faults import Faults, Ids, Misreport
from flows.settings.decoding import load
from flows.settings.model import QuestDB
from tests import forked
from tests.line import Ports, configure, pairflow, used_store

PAIRS = "pairs: [[BTCUSDT, ETHUSDT]]\nquestdb: {{dir: db, http_port: {http}, pg_port: {pg}}}\nsource: {{ws_url: '{ws}', rest_url: '{rest}'}}\n"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = said.err.splitlines()
    assert last.startswith("pairflow: ")
    return last


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


def test_a_second_run_on_a_recovery_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("pairs: [[BTCUSDT, ETHUSDT]]\n")
    with own_recovery(load(Path("pipeline.yaml"))):
        for arguments in (["run"], ["run", "--fresh"]):
            assert "another run is under way on it" in refusal(capsys, *arguments)


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
        "questdb: "
        f"{{embedded: false, host: {database.host}, http_port: {database.http_port}, pg_port: {database.pg_port}}}\n"
    )
    # a trade a day
    rows = [f"{k + 1},60000.0,0.01,600.0,{1_723_161_600_000 + k * 86_400_000},True,True" for k in range(10)]
    Path("BTCUSDT-trades-2024-08.csv").write_text("\n".join(rows))
    try:
        told = refusal(capsys, "replay", "BTCUSDT-trades-2024-08.csv")
    finally:
        with connect(database) as connection:
            for name in tables():
                connection.execute(f"DROP TABLE {name}")  # a TTL outlives TRUNCATE
    assert (
        "table trades: keeps 7 days before its newest row (2024-08-18): rows of 2024-08-09 would be deleted "
        "at once" in told
    )


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


def test_symbols_of_the_exchange_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--symbols: x' OR 1=1--: expected" in refusal(capsys, "exchange", "--symbols", "x' OR 1=1--")


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


def test_the_local_exchange_needs_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    played: list[object] = []
    monkeypatch.setattr("flows.sandbox.background.serve", lambda options, _: played.append(options))
    assert main(["exchange"]) == 0
    assert len(played) == 1


def test_a_replay_tells_what_it_left_out_and_where_to_look(tmp_path: Path, free_ports: Ports) -> None:
    home = configure(tmp_path / "home", free_ports)
    rows = [f"{k + 1},60000.0,0.01,600.0,{1_723_161_600_000 + k},True,True" for k in range(100)]
    rows[50], rows[60] = (
        "51,0,0.01,600.0,1723161600050,True,True",
        "61,60000.0,0.01,600.0,99999999999999999,True,True",
    )
    (home / "BTCUSDT-trades-1.csv").write_text("\n".join(rows))
    (home / "BTCUSDT-trades-2.csv").write_text("\n".join(row.replace("60000.0", "0") for row in rows))
    with database(in_dir(load(home / "pipeline.yaml").questdb, home / "day")):  # one start for all
        told = pairflow(home, "replay", "--dir", "day", "BTCUSDT-trades-1.csv")
        assert len(pairflow(home, "export", "trades", "-o", "-", "--dir", "day").splitlines()) == 99
        # the ending says the format
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
