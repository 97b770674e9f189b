"""A simulated market: its own database, emptied at each start, and the demo on it."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from flows.command.simulated import erase
from flows.database.connection import Endpoint, connect
from flows.database.credentials import passwords_file
from flows.errors import UserError
from flows.settings.model import QuestDB
from tests import forked
from tests.line import LAST_S, Ports, configure, finish, follow, running


def test_a_directory_that_is_not_a_databases_is_never_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "db-simulated"
    precious.mkdir()
    (precious / "thesis.tex").write_text("…")
    with pytest.raises(UserError, match="holds other things: move them"):
        erase(QuestDB(dir=precious))
    assert (precious / "thesis.tex").exists()
    (precious / "run").mkdir()
    (precious / "run" / "users.lock").touch()
    (precious / "db").mkdir()
    (precious / "run" / "server.json").touch()
    passwords_file(precious).write_text("kept")
    erase(QuestDB(dir=precious))
    assert sorted(str(path.relative_to(precious)) for path in precious.rglob("*")) == [
        "run",
        "run/passwords",
        "run/users.lock",
    ]
    erase(QuestDB(dir=precious))
    passwords_file(precious).unlink()
    erase(QuestDB(dir=precious))
    assert not precious.exists()
    erase(QuestDB(dir=precious))


def test_a_simulated_run_runs_again_and_touches_neither_the_real_database_nor_its_recovery(
    tmp_path: Path, free_ports: Ports
) -> None:
    home = configure(tmp_path / "home", free_ports)
    text = (home / "pipeline.yaml").read_text()
    (home / "pipeline.yaml").write_text(text.replace("source: {", "source: {exchange: simulated, "))
    for _ in range(2):
        with running(home) as run:
            follow(run, f"its database is {home}/db-simulated, emptied at each start")
            follow(run, "connected to")
            finish(run)
    assert sorted(path.name for path in home.iterdir()) == ["db-simulated", "pipeline.yaml"]


def test_the_demo_fills_every_table_and_says_where_to_look(tmp_path: Path, free_ports: Ports) -> None:
    http, pg = free_ports(2)
    endpoint = Endpoint("127.0.0.1", http, pg, tmp_path / ".pairflow" / "demo" / "questdb")
    command = [
        sys.executable,
        "-m",
        "flows.command",
        "demo",
        "--seconds",
        str(LAST_S),
        "--http-port",
        str(http),
        "--pg-port",
        str(pg),
    ]
    with (
        (tmp_path / "said").open("w") as said,
        forked.start(command, cwd=tmp_path, stderr=said, stdout=subprocess.DEVNULL) as demo,
    ):
        try:
            while "connected to" not in (tmp_path / "said").read_text():
                assert demo.poll() is None
                time.sleep(0.1)
            lacking = dict(WANTED)
            while lacking and demo.poll() is None:
                time.sleep(0.5)
                with contextlib.suppress(UserError, psycopg.Error), connect(endpoint) as connection:
                    lacking = {
                        name: query
                        for name, query in lacking.items()
                        if not connection.execute(query).fetchone()
                    }
            assert not lacking
            demo.send_signal(signal.SIGINT)
            assert demo.wait(LAST_S) == 0
        finally:
            demo.kill()
    told = (tmp_path / "said").read_text()
    assert f"look: QuestDB's console http://127.0.0.1:{http} " in told
    assert told.splitlines()[-1].startswith("stopped; written: ")


WANTED = {
    "trades of every symbol": "SELECT 1 FROM (SELECT count_distinct(symbol) AS n FROM trades) WHERE n = 4",
    **{
        f"bars of {word}": f"SELECT 1 FROM bars WHERE timeframe = '{word}' LIMIT 1"
        for word in ("1s", "5s", "10s", "30s", "1m", "5m")
    },
    **{
        f"signals of {word}": f"SELECT 1 FROM signals WHERE timeframe = '{word}' AND zscore != NULL LIMIT 1"
        for word in ("1s", "1m")
    },
    "cointegration": "SELECT 1 FROM cointegration WHERE coint_pvalue != NULL LIMIT 1",
    "an episode": "SELECT 1 FROM alerts WHERE active AND episode = ts::LONG LIMIT 1",
}
