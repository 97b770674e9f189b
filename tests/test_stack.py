"""docker-compose.yml and the image, as far as they can be judged without running them."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in ports)


def test_every_image_has_an_exact_version() -> None:
    assert SERVICES["questdb"]["image"] == "questdb/questdb:9.3.4"
    assert SERVICES["grafana"]["image"] == "grafana/grafana:12.3.0"
    assert re.fullmatch(
        r"FROM python:3\.1[12]-slim", next(line for line in dockerfile() if line.startswith("FROM"))
    )


def test_a_password_is_required_from_the_environment_and_has_no_default() -> None:
    passwords = {
        key: value
        for service in SERVICES.values()
        for key, value in service["environment"].items()
        if key.endswith("PASSWORD")
    }
    required = {key for key, value in passwords.items() if re.fullmatch(rf"\$\{{{key}:\?[^}}]+\}}", value)}
    assert required == {
        "GF_SECURITY_ADMIN_PASSWORD",
        "QDB_HTTP_PASSWORD",
        "QDB_PG_PASSWORD",
        "QDB_PG_READONLY_PASSWORD",
    }
    assert set(passwords) - required == {"SMTP_PASSWORD"}  # optional: without SMTP no e-mail is sent


def test_every_variable_of_the_stack_is_documented_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)[:}]", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    # A secret in the example would be used as it is.
    assert not re.findall(r"^\w*(?:PASSWORD|URL)\w*=.+", example, re.MULTILINE)


def test_every_service_restarts_stops_in_time_and_waits_for_a_healthy_database() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service
        if name != "questdb":
            assert service["depends_on"] == {"questdb": {"condition": "service_healthy"}}


def test_every_service_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        check = service["healthcheck"]
        assert check["test"][0] == "CMD" and len(check["test"]) > 1, name
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


@pytest.mark.parametrize(("age_s", "healthy"), [(0, True), (50, True), (70, False), (None, False)])
def test_the_pipeline_is_healthy_while_its_heartbeat_is_young(
    tmp_path: Path, age_s: int | None, healthy: bool
) -> None:
    probe = SERVICES["pipeline"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "python", "-c"]
    assert SERVICES["pipeline"]["environment"]["PAIRFLOW_HEARTBEAT"].startswith(
        tuple(SERVICES["pipeline"]["tmpfs"])
    )  # the rest of the file system is read-only
    heartbeat = tmp_path / "heartbeat"
    if age_s is not None:
        heartbeat.touch()
        os.utime(heartbeat, (0, heartbeat.stat().st_mtime - age_s))
    environment = {**os.environ, "PAIRFLOW_HEARTBEAT": str(heartbeat)}
    done = subprocess.run(
        [sys.executable, "-c", probe[3].replace("$$", "$")], env=environment, capture_output=True, check=False
    )
    assert (done.returncode == 0) is healthy


def test_the_database_is_probed_with_what_its_image_has() -> None:
    probe = SERVICES["questdb"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "bash", "-c"]
    assert "/ping" in probe[3]
    assert not re.search(r"curl|wget|nc ", probe[3])


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [(b"HTTP/1.1 204 OK\r\n\r\n", True), (b"HTTP/1.1 503 Unavailable\r\n\r\n", False), (None, False)],
)
def test_the_probe_is_right_about_a_server(free_ports: Any, answer: bytes | None, healthy: bool) -> None:
    (port,) = free_ports(1)
    script = SERVICES["questdb"]["healthcheck"]["test"][3].replace("$$", "$").replace("/9000", f"/{port}")
    if answer is None:
        assert (
            subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode == 0
        ) is healthy
        return
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1024)
                client.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert (
            subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode == 0
        ) is healthy
        server.join()


def test_grafana_has_the_read_only_user_alone() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert {key for key in environment if key.startswith("QDB_")} == {
        "QDB_PG_READONLY_USER",
        "QDB_PG_READONLY_PASSWORD",
    }
    assert SERVICES["questdb"]["environment"]["QDB_PG_READONLY_USER_ENABLED"] == "true"


def test_the_pipeline_reaches_the_stacks_own_database() -> None:
    environment = SERVICES["pipeline"]["environment"]
    assert environment["PAIRFLOW_QUESTDB_HOST"] == "questdb"
    assert {"QDB_HTTP_PASSWORD", "QDB_PG_PASSWORD", "QDB_HTTP_USER", "QDB_PG_USER"} <= set(environment)


def dockerfile() -> list[str]:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()


def test_the_image_runs_the_locked_dependencies_as_an_ordinary_user() -> None:
    text = "\n".join(dockerfile())
    assert re.search(r"^USER (?!root|0)\w+$", text, re.MULTILINE)
    assert "pip install --no-cache-dir -r requirements.lock" in text
    assert (
        "--no-deps --no-build-isolation -e ." in text
    )  # otherwise pip downloads a build tool of any version
    assert 'ENTRYPOINT ["pairflow"]' in text


def test_the_image_can_only_hold_what_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for line in dockerfile() if line.startswith("COPY") for word in line.split()[1:-1]}
    assert allowed == copied
    assert all((ROOT / name).exists() for name in copied)
