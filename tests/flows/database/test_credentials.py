"""Passwords: generated for each directory, hidden from others, and needed on every port of a real server."""

import base64
import contextlib
import http.client
import itertools
import os
import re
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from flows.database import credentials, keeper
from flows.database.connection import Endpoint, connect
from flows.database.credentials import generate, login, passwords_file, server_environment
from flows.database.schema import tables
from flows.errors import UserError

NOBODY: dict[str, str] = {}  # an environment without passwords


def silent(_: str) -> None:
    pass


def made(directory: Path) -> dict[str, str]:
    """Generate the passwords of a new directory, and give them by role."""
    (directory / "run").mkdir(parents=True)
    generate(directory, silent)
    return {role: str(login(role, directory, NOBODY).password) for role in credentials.USERS}


# the file


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_every_directory_gets_passwords_of_its_own_that_only_its_owner_reads(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "run").mkdir(mode=0o700)
        (tmp_path / "run").chmod(0o700)
        generate(tmp_path, silent)
    finally:
        os.umask(before)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["passwords"]
    assert stat.S_IMODE(passwords_file(tmp_path).stat().st_mode) == 0o600
    one = {role: login(role, tmp_path, NOBODY).password for role in credentials.USERS}
    passwords = {*one.values(), *made(tmp_path / "another").values()}
    assert len(passwords) == 6 and all(re.fullmatch("[0-9a-f]{32}", str(password)) for password in passwords)


def test_passwords_that_are_there_stay(tmp_path: Path) -> None:
    first = made(tmp_path)
    generate(tmp_path, silent)
    assert {role: login(role, tmp_path, NOBODY).password for role in credentials.USERS} == first


def test_a_copy_that_others_can_read_is_closed_and_said(tmp_path: Path) -> None:
    made(tmp_path)
    passwords_file(tmp_path).chmod(0o644)
    told: list[str] = []
    generate(tmp_path, told.append)
    assert stat.S_IMODE(passwords_file(tmp_path).stat().st_mode) == 0o600
    (line,) = told
    assert line.startswith(f"{passwords_file(tmp_path)}: others could read these passwords")


def test_a_shell_reads_the_file_as_we_do(tmp_path: Path) -> None:
    made(tmp_path)
    script = f". '{passwords_file(tmp_path)}' && echo $QDB_PG_READONLY_USER $QDB_PG_READONLY_PASSWORD"
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"grafana {login('PG_READONLY', tmp_path, NOBODY).password}\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it lacks QDB_HTTP_USER"),
        (b"QDB_HTTP_USER=admin\n", "it lacks QDB_HTTP_PASSWORD"),
        (b"QDB_HTTP_USER=admin\nQDB_HTTP_PASSWORD=\n", "line 2 is not NAME=value"),
        (b"QDB_HTTP_PASSWORD=s3cret $(reboot)\n", "line 1 is not NAME=value"),
        (b"\x00\x00\x00\x00", "line 1 is not NAME=value"),
        (b"QDB_HTTP_PASSWORD=s3cret\xff\n", "it is not text"),
    ],
)
def test_a_damaged_file_is_named_and_never_quoted(tmp_path: Path, content: bytes, why: str) -> None:
    made(tmp_path)
    passwords_file(tmp_path).write_bytes(content)
    for ask in (lambda: login("HTTP", tmp_path, NOBODY), lambda: server_environment(tmp_path, NOBODY)):
        with pytest.raises(UserError) as refused:
            ask()
        assert str(refused.value) == (
            f"questdb.dir: {tmp_path}/run/passwords is damaged ({why}): "
            "stop the server, if it runs, and delete the file: the next start makes new passwords"
        )


def test_a_file_that_cannot_be_read_or_made_is_named_with_the_way_out(tmp_path: Path) -> None:
    passwords_file(tmp_path).mkdir(parents=True)  # root may read any file
    with pytest.raises(
        UserError,
        match=r"^questdb\.dir: .*/run/passwords cannot be read \(Is a directory\): give .* or set "
        r"QDB_HTTP_PASSWORD, ",
    ):
        login("PG", tmp_path, NOBODY)
    assert login("PG", tmp_path, {"QDB_PG_PASSWORD": "x"}).password == "x", "the way out works"
    with pytest.raises(
        UserError, match=r"^questdb\.dir: .*/run/passwords cannot be written \(No such file or directory\): "
    ):
        generate(tmp_path / "nowhere", silent)


# which source overrides which


def test_the_environment_goes_before_the_file_and_a_secrets_file_before_the_word(tmp_path: Path) -> None:
    kept = made(tmp_path)
    given = {"QDB_PG_PASSWORD": "of the environment", "QDB_HTTP_USER": "me"}
    assert login("PG", tmp_path, given).password == "of the environment"
    assert (login("HTTP", tmp_path, given).user, login("HTTP", tmp_path, given).password) == (
        "me",
        kept["HTTP"],
    )
    assert login("PG", tmp_path, {"QDB_PG_PASSWORD": ""}).password == kept["PG"]
    (tmp_path / "secret").write_text("of a file\n")
    assert (
        login("PG", None, given | {"QDB_PG_PASSWORD_FILE": str(tmp_path / "secret")}).password == "of a file"
    )
    with pytest.raises(
        UserError,
        match=r"^environment: QDB_PG_PASSWORD_FILE: /nowhere cannot be read \(No such file or directory\): ",
    ):
        login("PG", None, {"QDB_PG_PASSWORD_FILE": "/nowhere"})
    assert server_environment(tmp_path, given) == {
        "QDB_HTTP_USER": "me",
        "QDB_HTTP_PASSWORD": kept["HTTP"],
        "QDB_PG_USER": "admin",
        "QDB_PG_PASSWORD": "of the environment",
        "QDB_PG_READONLY_USER_ENABLED": "true",
        "QDB_PG_READONLY_USER": "grafana",
        "QDB_PG_READONLY_PASSWORD": kept["PG_READONLY"],
    }


@pytest.mark.parametrize("directory", [None, Path("/a server/of an earlier version")])
def test_a_server_without_passwords_of_ours_is_asked_as_before(directory: Path | None) -> None:
    assert login("HTTP", directory, NOBODY).password is None
    assert (login("PG", directory, NOBODY).user, login("PG", directory, NOBODY).password) == (
        "admin",
        "quest",
    )


def test_no_repr_holds_a_password(tmp_path: Path) -> None:
    kept = made(tmp_path)
    shown = repr([login(role, tmp_path, NOBODY) for role in credentials.USERS])
    assert not any(password in shown for password in kept.values())


# the ports of a real server, as a web page in the user's browser could reach them


def ask(
    endpoint: Endpoint, method: str, target: str, body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """A request with exactly these headers, as from a browser without a login for the page's origin."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.http_port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, text in headers.items():
            connection.putheader(name.replace("_", "-"), text)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer


DROP = "query=DROP+TABLE+trades"
UPLOAD = (
    b'--x\r\nContent-Disposition: form-data; name="data"; filename="trades"\r\n\r\n'
    b"ts,symbol\r\n1,EVIL\r\n--x--\r\n"
)
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
REQUESTS = {
    "an image whose address is a statement": ("GET", f"/exec?{DROP}", None, {}),
    "a form": ("POST", f"/exec?{DROP}", b"", FORM),
    "a form with the statement in it": ("POST", "/exec", DROP.encode(), FORM),
    "a download": ("GET", f"/exp?{DROP}", None, {}),
    "another address of the same": ("GET", f"/api/v1/sql/execute?{DROP}", None, {}),
    "an upload": (
        "POST",
        "/imp?name=trades&overwrite=true",
        UPLOAD,
        {"Content_Type": "multipart/form-data; boundary=x"},
    ),
    "rows": ("POST", "/write", b"trades,symbol=EVIL id=1i 1\n", {"Content_Type": "text/plain"}),
    "rows, by the other address": (
        "POST",
        "/api/v2/write",
        b"trades,symbol=EVIL id=1i 1\n",
        {"Content_Type": "text/plain"},
    ),
    "whether a table exists": ("GET", "/chk?j=trades", None, {}),
    "the console's settings": ("POST", "/settings?version=0", b"{}", {"Content_Type": "text/plain"}),
    "a preflight": ("OPTIONS", f"/exec?{DROP}", None, {"Access_Control_Request_Method": "POST"}),
    "a wrong password": (
        "GET",
        f"/exec?{DROP}",
        None,
        {"Authorization": "Basic " + base64.b64encode(b"admin:quest").decode()},
    ),
}


@pytest.fixture
def doors(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The session's server, without passwords in the environment: those of its directory count."""
    for name in [name for name in os.environ if name.startswith("QDB_")]:
        monkeypatch.delenv(name)
    return database


HOSTS = (
    "evil.example",
    "localhost.evil.example:{port}",
    "127.0.0.1:{port}",
)  # the first two: host names that the owner of the page lets resolve to 127.0.0.1


def test_a_page_gets_nowhere_whatever_it_sends(doors: Endpoint) -> None:
    for (what, (method, target, body, headers)), host in itertools.product(REQUESTS.items(), HOSTS):
        origin = {"Origin": "http://evil.example", "Referer": "http://evil.example/"}
        answer = ask(doors, method, target, body, Host=host.format(port=doors.http_port), **origin, **headers)
        assert (what, answer.status) == (what, 401)
        assert answer.getheader("Access-Control-Allow-Origin") is None, what
        assert answer.getheader("WWW-Authenticate") is None, (
            "a browser would ask its user, and send the answer with every later request"
        )
    with connect(doors) as connection:
        found = {name for (name,) in connection.execute("SELECT table_name FROM tables()").fetchall()}
        assert set(tables()) <= found
        assert connection.execute("SELECT count() FROM trades").fetchone() == (0,)


def test_what_is_answered_without_a_login_holds_nothing_of_the_tables(doors: Endpoint) -> None:
    for target, status in (("/index.html", 200), ("/settings", 200), ("/warnings", 200), ("/ping", 204)):
        answer = ask(doors, "GET", target, Host="evil.example", Origin="http://evil.example")
        assert (target, answer.status) == (target, status)
        assert answer.getheader("Access-Control-Allow-Origin") is None
        assert not [name for name in tables() if f'"{name}"'.encode() in answer.body]  # type: ignore[attr-defined]


def test_a_session_of_the_console_stays_with_the_consoles_own_pages(doors: Endpoint) -> None:
    who = login("HTTP", doors.directory)
    basic = "Basic " + base64.b64encode(f"{who.user}:{who.password}".encode()).decode()
    answer = ask(
        doors,
        "GET",
        "/exec?query=SELECT+1&session=true",
        Host=f"127.0.0.1:{doors.http_port}",
        Authorization=basic,
    )
    assert answer.status == 200
    cookie = str(answer.getheader("Set-Cookie"))
    assert "SameSite=Strict" in cookie and "HttpOnly" in cookie


@pytest.mark.parametrize("user", ["admin", "grafana", "user"])
def test_nobody_gets_in_over_postgresql_with_the_default_password(doors: Endpoint, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="invalid username/password"):
        psycopg.connect(
            host=doors.host, port=doors.pg_port, dbname="qdb", user=user, password="quest", connect_timeout=30
        )


def test_there_are_two_doors_on_loopback_and_no_password_in_the_log(doors: Endpoint) -> None:
    assert doors.directory is not None
    log = keeper.log_file(doors.directory).read_text()
    assert set(re.findall(r"listening on (\S+)", log)) == {
        f"127.0.0.1:{doors.http_port}",
        f"127.0.0.1:{doors.pg_port}",
    }
    passwords = [str(login(role, doors.directory).password) for role in credentials.USERS]
    commands = "".join(
        path.read_bytes().decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _still(path)
    )
    assert not [password for password in passwords if password in log + commands]


def _still(path: Path) -> bool:
    """Whether the process has not ended meanwhile."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
