"""A cache that cannot be found, written or read makes a start slow, never impossible."""

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
from operators.compiled import compiled

@compiled()
def half(value):
    return value / 2
"""
PROGRAM = """
from operators import compiled
{before}
from kernel import half
assert half(3.0) == 1.5
print(sum(half.stats.cache_hits.values()), compiled.uncached())
"""


def run(home: Path, *, cache: Path | None, before: str = "") -> tuple[int, str]:
    """Kernels that came from the cache, and why they will not, in a process of its own."""
    home.mkdir(exist_ok=True)
    (home / "kernel.py").write_text(KERNEL)
    environment = {"PYTHONPATH": os.pathsep.join((str(home), *sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {} if cache is None else {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    hits, _, why = (
        subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
        .stdout.strip()
        .partition(" ")
    )
    return int(hits), why


def cached(cache: Path, suffix: str) -> Path:
    """The cache's file of the test's own kernel."""
    (path,) = cache.rglob(f"kernel.half*{suffix}")
    return path


def test_a_kernel_is_compiled_once_and_again_where_the_cache_is_damaged(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run(tmp_path / "home", cache=cache) == (0, "")
    assert run(tmp_path / "home", cache=cache) == (1, "")
    cached(cache, ".nbi").write_bytes(b"\x80nothing")
    assert run(tmp_path / "home", cache=cache) == (0, "")
    assert run(tmp_path / "home", cache=cache) == (1, "")


def test_a_kernel_is_compiled_again_when_another_file_changes_whose_kernels_it_may_call(
    tmp_path: Path,
) -> None:
    cache, changed = tmp_path / "cache", "compiled._sources = lambda: 'changed'"
    assert run(tmp_path / "home", cache=cache) == (0, "")
    assert run(tmp_path / "home", cache=cache, before=changed) == (0, "")
    assert run(tmp_path / "home", cache=cache, before=changed) == (1, "")


def test_without_any_directory_to_write_kernels_are_compiled_all_the_same(tmp_path: Path) -> None:
    nowhere = "from numba.core import caching\ncaching.CacheImpl._locator_classes = []"
    assert run(tmp_path, cache=None, before=nowhere) == (0, "no directory for them can be written")


def test_a_full_disk_is_told_and_the_kernel_runs(tmp_path: Path) -> None:
    full = "import errno\nfrom numba.core import caching\n"
    full += "def refuse(*_):\n    raise OSError(errno.ENOSPC, 'No space left on device')\n"
    full += "caching.IndexDataCacheFile._save_data = refuse"
    hits, why = run(tmp_path / "home", cache=tmp_path / "cache", before=full)
    assert hits == 0
    assert why.startswith(str(tmp_path / "cache"))
    assert why.endswith(": No space left on device")
