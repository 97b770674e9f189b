"""The wheel: what it contains, and that it works without the sources."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.line import REAL

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "pipeline.yaml", "flows", "operators", "questdb")
LINKS = {
    "flows/database/schema.sql": "questdb/schema.sql",
    "flows/database/server.env": "questdb/server.env",
    "flows/settings/pipeline.yaml": "pipeline.yaml",
}
BUILD = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources.

    So it contains nothing of earlier builds, and this build leaves nothing in the sources.
    """
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("built")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                sources / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
            )
        else:
            shutil.copy(ROOT / name, sources)
    subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=sources, check=True, capture_output=True)
    (path,) = built.glob("*.whl")
    return path


def test_it_contains_every_package_and_the_files_they_read_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        modules = {
            str(path.relative_to(ROOT))
            for folder in ("flows", "operators")
            for path in (ROOT / folder).rglob("*.py")
        }
        assert names == modules | set(LINKS) | {"flows/sandbox/demo.yaml"}
        for name, source in LINKS.items():
            assert archive.read(name) == (ROOT / source).read_bytes()


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`installed(…)` runs the wheel's command in an empty directory.

    It has the dependencies of this environment, but not the sources of Pairflow.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        code = (
            "import sys\nfrom flows.command import cli\n"
            "assert 'site' in cli.__file__, cli.__file__\nsys.exit(cli.main())"
        )
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            cwd=home,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_what_it_reads_is_found_where_it_is_installed(
    installed: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    assert installed("init").returncode == 0
    assert (tmp_path / "home" / "pipeline.yaml").read_bytes() == (ROOT / "pipeline.yaml").read_bytes()
    # The names of the tables come from schema.sql.
    assert (
        "there is no table 'x': choose one of trades, bars, signals, "
        in installed("export", "x", "-o", "-").stderr
    )


@pytest.mark.long
@pytest.mark.skipif(not REAL.exists(), reason="the real recording is not available")
def test_it_replays_a_recording_and_shows_the_demo(
    installed: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
) -> None:
    assert installed("init").returncode == 0
    replayed = installed("replay", "--dir", "day", str(REAL))
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.startswith("replayed: ")
    assert installed("export", "signals", "--dir", "day", "-o", "signals.csv.gz").returncode == 0
    assert (tmp_path / "home" / "signals.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    http, pg = free_ports(2)
    demo = installed("demo", "--seconds", "60", "--http-port", str(http), "--pg-port", str(pg))
    assert demo.returncode == 0, demo.stderr
    assert demo.stderr.splitlines()[-1].startswith("stopped; written: ")
