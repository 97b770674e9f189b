"""The parts of the keeper; test_embedded.py tests it with a server."""

import base64
import contextlib
import fcntl
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.database import keeper
from tests.line import Ports


def test_a_lock_is_taken_at_once_or_not_at_all(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as one, (tmp_path / "lock").open("ab") as other:
        assert keeper.lock(one, fcntl.LOCK_SH) and keeper.lock(other, fcntl.LOCK_SH)
        assert not keeper.lock(one, fcntl.LOCK_EX)
    with (tmp_path / "lock").open("ab") as alone:
        assert keeper.lock(alone, fcntl.LOCK_EX)


def test_a_process_is_told_from_a_later_one_with_its_id() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    since = keeper.born(child.pid)
    assert since is not None
    assert keeper.alive(child.pid, since)
    assert not keeper.alive(child.pid, since - 1)
    child.communicate(b"\n")
    assert keeper.born(child.pid) is None
    assert not keeper.alive(child.pid, since)


def test_the_state_is_replaced_whole(tmp_path: Path) -> None:
    keeper.state_file(tmp_path).parent.mkdir()
    for pid in (1, 22):
        keeper._write_state(tmp_path, {"pid": pid})
        assert keeper.state_file(tmp_path).read_text() == f'{{"pid": {pid}}}'
    assert [path.name for path in keeper.state_file(tmp_path).parent.iterdir()] == ["server.json"]


@contextlib.contextmanager
def answering(status: Callable[[http.server.BaseHTTPRequestHandler], int]) -> Iterator[int]:
    """An HTTP server that answers every GET with this status and nothing else; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status(self))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.mark.parametrize(("status", "up"), [(204, True), (200, False)])
def test_a_server_is_up_when_it_pings_and_takes_connections(status: int, up: bool, free_ports: Ports) -> None:
    with answering(lambda request: status if request.path == "/ping" else 404) as port:
        assert keeper.answers("127.0.0.1", port, port) == up
        assert not keeper.answers("127.0.0.1", port, free_ports(1)[0])
    assert not keeper.answers("127.0.0.1", port, port)


@pytest.mark.parametrize(
    ("takes", "ours"),
    [
        ({"": 401, "admin:ours": 200}, True),
        ({"": 200, "admin:ours": 200}, False),
        ({"": 401, "admin:ours": 401}, False),
    ],
    ids=["ours", "open to everybody", "somebody else's"],
)
def test_a_server_that_comes_first_to_our_port_is_not_taken_for_ours(
    takes: dict[str, int], ours: bool
) -> None:
    def status(request: http.server.BaseHTTPRequestHandler) -> int:
        return takes[
            base64.b64decode(request.headers.get("Authorization", "Basic ").removeprefix("Basic ")).decode()
        ]

    with answering(status) as port:
        assert keeper.is_ours("127.0.0.1", port, "admin", "ours") == ours
    assert not keeper.is_ours("127.0.0.1", port, "admin", "ours")
