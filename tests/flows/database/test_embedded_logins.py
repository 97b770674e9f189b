"""The passwords of an embedded server: asked for, shown when they work, and `serve`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.database import embedded, keeper
from flows.database.connection import Endpoint
from flows.database.credentials import login
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.database.wal import settle
from flows.database.writer import Writer
from flows.errors import UserError
from tests import forked
from tests.flows.database.serving import Ports, health, on
from tests.line import LAST_S

pytestmark = pytest.mark.usefixtures("fetched", "no_passwords")


def test_passwords_from_the_environment_are_asked_for(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QDB_PG_PASSWORD", "QDB_HTTP_PASSWORD", "QDB_PG_READONLY_PASSWORD"):
        monkeypatch.setenv(name, name.lower())
    import psycopg

    with running(on(tmp_path, free_ports)) as endpoint:
        prepare(endpoint)
        writer = Writer(endpoint)
        writer.write([health(1)])
        writer.flush()
        writer.close()
        settle(endpoint)
        monkeypatch.setenv("QDB_HTTP_PASSWORD", "wrong")
        writer = Writer(endpoint)
        writer.write([health(2)])
        with pytest.raises(
            UserError,
            match=r"user or password refused \(HTTP 401\): set QDB_HTTP_USER and QDB_HTTP_PASSWORD to .*, "
            r"or stop the server of",
        ):
            writer.flush()
        writer.close()
        reader = {
            "host": endpoint.host,
            "port": endpoint.pg_port,
            "dbname": "qdb",
            "user": "grafana",
            "password": "qdb_pg_readonly_password",
        }
        with psycopg.connect(**reader, autocommit=True) as connection:
            assert connection.execute("SELECT count() FROM health").fetchone() == (1,)
            with pytest.raises(psycopg.Error):
                connection.execute("DROP TABLE health")
            with contextlib.suppress(psycopg.Error):
                # the server answers at once and does the work later
                connection.execute("COPY health TO 'stolen' WITH FORMAT PARQUET")
            time.sleep(1)
            assert not list(tmp_path.rglob("*stolen*"))


def test_a_login_is_shown_only_when_it_works(
    questdb: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert questdb.directory is not None
    kept = str(login("HTTP", questdb.directory).password)
    assert embedded._login(questdb, questdb.directory) == f"admin, password {kept}"
    monkeypatch.setenv("QDB_HTTP_PASSWORD", kept)
    assert embedded._login(questdb, questdb.directory) == "admin, password as in QDB_HTTP_PASSWORD"
    monkeypatch.setenv("QDB_HTTP_PASSWORD", "another")
    with pytest.raises(
        UserError,
        match=r"^questdb: the login in QDB_HTTP_PASSWORD is refused: set QDB_HTTP_USER and .* or stop the "
        r"server of ",
    ):
        embedded._login(questdb, questdb.directory)
    monkeypatch.delenv("QDB_HTTP_PASSWORD")
    assert embedded._login(questdb, tmp_path).startswith("none: an earlier version started this server")


def test_serve_says_where_and_ends_at_a_signal(tmp_path: Path, free_ports: Ports) -> None:
    settings = on(tmp_path, free_ports)
    code = (
        "import signal, sys\nfrom pathlib import Path\n"
        "from flows.settings.model import QuestDB\nfrom flows.database.embedded import serve\n"
        # a shell makes its background processes ignore SIGINT
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "settings = QuestDB(dir=Path(sys.argv[1]), http_port=int(sys.argv[2]), pg_port=int(sys.argv[3]))\n"
        "sys.exit(serve(settings, lambda line: print(line, flush=True)))"
    )
    process = forked.start(
        [sys.executable, "-c", code, str(tmp_path), str(settings.http_port), str(settings.pg_port)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parents[2])},
    )
    assert process.stdout
    lines = []
    while not lines or lines[-1] != "Ctrl-C stops it\n":
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGINT)
    assert process.wait(LAST_S) == 0
    process.stdout.close()
    assert f"web console  http://127.0.0.1:{settings.http_port}\n" in lines
    console = login("HTTP", tmp_path)
    assert f"login        admin, password {console.password}\n" in lines
    assert str(console.password) not in keeper.log_file(tmp_path).read_text()
    assert not keeper.state_file(tmp_path).exists()
