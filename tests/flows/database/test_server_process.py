"""The process of the embedded server: options, environment, and why it did not start."""

import os
import re
from pathlib import Path

import pytest

from flows.database import keeper
from flows.database.credentials import passwords_file
from flows.database.embedded import running
from flows.database.prepare import prepare
from flows.database.server_process import command, last_words
from flows.database.writer import Writer
from flows.errors import UserError
from tests.flows.database.serving import Ports, health, on

pytestmark = pytest.mark.usefixtures("fetched", "no_passwords")


def test_options_of_our_own_for_java_are_words_of_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAIRFLOW_JAVA_OPTIONS", "-Xss1m '-Dx=a b'")
    words = command(tmp_path, tmp_path / "questdb.jar")
    assert words.index("-Dx=a b") == words.index("-Xss1m") + 1 < words.index("-p")
    monkeypatch.setenv("PAIRFLOW_JAVA_OPTIONS", "'-Xss1m")
    with pytest.raises(
        UserError,
        match=r"^environment: PAIRFLOW_JAVA_OPTIONS: no closing quotation: correct it, or unset it$",
    ):
        command(tmp_path, tmp_path / "questdb.jar")


def test_what_the_environment_holds_for_other_programs_does_not_reach_the_server(
    tmp_path: Path, free_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "LC_ALL": "C",  # the server did not find a directory with other letters than ASCII
        "JAVA_TOOL_OPTIONS": "-Xmx1m",
        "JDK_JAVA_OPTIONS": "-Xmx1m",
        "_JAVA_OPTIONS": "-javaagent:/nowhere.jar",
        "PYTHONHOME": "/nowhere",
        "TZ": "Mars/Olympus",
        "QDB_HTTP_NET_BIND_TO": "0.0.0.0:0",  # overrode the address that Pairflow sets
        "QDB_HTTP_ENABLED": "false",
        "QDB_HTTP_PASSWORD_FILE": str(tmp_path / "password"),
    }.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "password").write_text("of a file\n")
    settings = on(tmp_path / "daten ü 日 '\" $x", free_ports)
    before = os.umask(0)
    try:
        with running(settings) as endpoint:
            prepare(endpoint)
            writer = Writer(endpoint)
            writer.write([health(1)])
            writer.flush()
            writer.close()
    finally:
        os.umask(before)
    # QuestDB writes other letters than ASCII as one byte
    log = keeper.log_file(settings.dir).read_text(errors="replace")
    assert set(re.findall(r"listening on (\S+)", log)) == {
        f"127.0.0.1:{settings.http_port}",
        f"127.0.0.1:{settings.pg_port}",
    }
    assert "of a file" not in log
    assert passwords_file(settings.dir).stat().st_mode & 0o777 == 0o600


def test_a_server_that_does_not_start_leaves_a_line_and_its_log(tmp_path: Path, free_ports: Ports) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "server.conf").write_text("this.is.no.setting=1\nconfig.validation.strict=true\n")
    with pytest.raises(UserError) as refused, running(on(tmp_path, free_ports)):
        pass
    assert str(refused.value).startswith(f"QuestDB did not start on {tmp_path} (")
    assert str(refused.value).endswith(f"see {tmp_path}/log/questdb.log")
    assert "\n" not in str(refused.value)


def test_the_last_words_are_not_an_environment_variables(tmp_path: Path) -> None:
    log = tmp_path / "questdb.log"
    log.write_text(
        "NOTE: Picked up JAVA_TOOL_OPTIONS: -Dx=error\nA server-main QDB_LOG_ERROR=stdout\n"
        "java.net.BindException: could not bind\n"
    )
    assert last_words(log, 0) == "java.net.BindException: could not bind"
