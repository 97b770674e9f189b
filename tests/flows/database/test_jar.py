"""The server's jar: it is fetched once, with progress, and checked; errors say what prevents that."""

import http.server
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.database import jar
from flows.errors import UserError

Ports = Callable[[int], list[int]]


def test_a_user_without_a_home_directory_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("flows.database.jar.Path.home", homeless)
    with pytest.raises(UserError, match=r"no home directory: set XDG_CACHE_HOME"):
        jar.cache_dir()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    return tmp_path / "cache" / "pairflow"


def test_the_jar_is_fetched_with_progress_and_then_cached(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository on this machine, with the jar of the session's server."""
    monkeypatch.undo()
    fetched = jar.jar()
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_cache.parent))
    monkeypatch.setenv("M2_REPO", str(empty_cache / "none"))

    class Repository(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = fetched.read_bytes() if self.path.endswith(jar.JAR) else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(
            "jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{server.server_port}"}
        )
        told: list[str] = []
        try:
            assert jar.jar(told.append) == empty_cache / jar.JAR
        finally:
            server.shutdown()
    assert told[0].startswith(f"fetching {jar.JAR} (30 MB, once) to {empty_cache}")
    assert told[-1].startswith(f"fetching {jar.JAR}: 30 of 30 MB")
    assert [path.name for path in empty_cache.iterdir()] == [jar.JAR]
    told.clear()
    assert jar.jar(told.append) == empty_cache / jar.JAR  # no server is left that has it
    assert told == []


def test_no_network_is_said_in_a_line(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, free_ports: Ports
) -> None:
    monkeypatch.setattr(
        "jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{free_ports(1)[0]}"}
    )
    with pytest.raises(UserError) as refused:
        jar.jar()
    assert str(refused.value) == (
        "QuestDB 9.3.4: cannot be fetched from Maven Central (no connection): connect this machine to the "
        "network once, "
        f"put questdb-9.3.4.jar into {empty_cache}, or use a server of your own (questdb: "
        f"{{embedded: false, host: …}})"
    )
    assert not list(empty_cache.iterdir())


def test_a_damaged_jar_is_never_run(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, free_ports: Ports
) -> None:
    empty_cache.mkdir(parents=True)
    (empty_cache / jar.JAR).write_bytes(b"half")
    monkeypatch.setattr(
        "jgo.maven._core.DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{free_ports(1)[0]}"}
    )
    with pytest.raises(UserError, match=r"^QuestDB 9\.3\.4: cannot be fetched"):
        jar.jar()
