"""Row 23: recovery store corrupt, or disk full while snapshotting.

docs/faults.md says what Pairflow promises in this case.
"""

import resource
import shutil

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import Home, Stops, Tables, count, same, tables


def stopped_with_a_reason(said: list[str], about: str) -> None:
    assert said[-1].startswith("pairflow: ") and about in said[-1], said
    assert not any("Traceback" in line for line in said), said


def goes_on_to_r(home: Home, database: Endpoint, r: Tables) -> None:
    with home.running() as run:
        run.catches_up(database, r)
        assert run.terminate() == 0
    same(tables(database), r)


def test_a_corrupt_store_is_named_and_a_good_copy_goes_on_to_r(
    home: Home, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 40)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        assert run.terminate() == 0
    market.go_on()
    shutil.copytree(home.recovery, home.path / "copy")
    for path in home.recovery.glob("part-*.sqlite3"):
        path.write_bytes(b"\xa5" * path.stat().st_size)
    with home.running() as run:
        assert run.ends() not in (0, None)
        stopped_with_a_reason(run.lines, "is damaged (file is not a database)")
    shutil.rmtree(home.recovery)
    shutil.copytree(home.path / "copy", home.recovery)
    goes_on_to_r(home, database, r)


def test_a_full_disk_is_named_and_with_space_it_goes_on_to_r(
    home: Home, played: Background, database: Endpoint, r: Tables
) -> None:
    market = Stops(played, 40)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        _, hard = resource.prlimit(run.popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(run.popen.pid, resource.RLIMIT_FSIZE, (1, hard))  # no file of the process can grow
        market.go_on()
        assert run.ends() not in (0, None)
        stopped_with_a_reason(run.lines, "make room")
    goes_on_to_r(home, database, r)
