"""Recovery stores belong to a configuration; signals end a source."""

import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flows.errors import UserError
from flows.runtime.running import (
    FINGERPRINT,
    STATE_VERSION,
    compare_recovery,
    forget_recovery,
    of_its_own,
    open_recovery,
    own_recovery,
    refuse_unforgettable,
)
from flows.settings.decoding import decode
from flows.settings.model import Settings
from tests import forked
from tests.line import LAST_S, used_store

PAIRS = "pairs: [[BTCUSDT, ETHUSDT]]\ndefaults: {{zscore: {{window: {window}}}}}\n"


def settings(directory: Path, window: int = 100) -> Settings:
    return decode(PAIRS.format(window=window), "pipeline.yaml", directory)


def test_a_store_is_made_once_and_opened_again_by_the_same_configuration(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    assert open_recovery(mine) is not None
    assert mine.recovery.dir is not None
    made = sorted(path.name for path in mine.recovery.dir.iterdir())
    assert FINGERPRINT in made
    assert open_recovery(mine) is not None
    assert sorted(path.name for path in mine.recovery.dir.iterdir()) == made


def test_a_store_of_another_configuration_is_refused_with_the_difference_and_the_way_out(
    tmp_path: Path,
) -> None:
    used_store(settings(tmp_path))
    other = settings(tmp_path, window=120)
    with pytest.raises(UserError, match=r"zscore\.window.*was 100, is 120.*--fresh"):
        open_recovery(other)
    forget_recovery(other)
    assert open_recovery(other) is not None


def test_costs_may_change_between_runs(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    open_recovery(mine)
    pair = msgspec.structs.replace(
        mine.pairs[0], costs=msgspec.structs.replace(mine.pairs[0].costs, fee_bps=5.0)
    )
    assert open_recovery(msgspec.structs.replace(mine, pairs=(pair,))) is not None


def test_a_store_of_an_earlier_state_is_refused_though_the_configuration_is_the_same(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    beside = used_store(mine).with_name(FINGERPRINT)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"version": STATE_VERSION - 1}))
    with pytest.raises(
        UserError,
        match=r"\(this version of Pairflow keeps other state\); .* start anew with `pairflow run --fresh`$",
    ):
        open_recovery(mine)


def test_a_store_without_its_fingerprint_is_refused(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    used_store(mine).with_name(FINGERPRINT).unlink()
    with pytest.raises(UserError, match="without fingerprint"):
        open_recovery(mine)


def test_a_comparison_reads_and_makes_nothing(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    assert not compare_recovery(mine)
    assert not list(tmp_path.iterdir())
    used_store(mine)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert compare_recovery(mine)
    with pytest.raises(UserError, match=r"was 100, is 120"):
        compare_recovery(settings(tmp_path, window=120))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_store_that_was_never_used_is_no_obstacle_to_another_configuration(tmp_path: Path) -> None:
    open_recovery(settings(tmp_path))
    other = settings(tmp_path, window=120)
    assert not compare_recovery(other)
    open_recovery(other)
    assert compare_recovery(other)
    assert other.recovery.dir is not None
    # trades were written before the first epoch
    (other.recovery.dir / "binance-0.first_ids.json").write_text("{}")
    with pytest.raises(UserError, match=r"was 120, is 100"):
        compare_recovery(settings(tmp_path))


def test_of_many_differences_a_few_are_told(tmp_path: Path) -> None:
    used_store(settings(tmp_path))
    alerts = ", ".join(f"{{name: z{k}, metric: zscore, above: {k / 10 + 1}}}" for k in range(20))
    other = decode(f"pairs: [[SOLUSDT, BNBUSDT]]\nalerts: [{alerts}]\n", "pipeline.yaml", tmp_path)
    with pytest.raises(UserError, match=r"; and \d+ more\); go back to it, or start anew") as refused:
        compare_recovery(other)
    assert len(str(refused.value)) < 400 + len(str(tmp_path))


DAMAGES = {
    "random bytes": (
        lambda store: store.write_bytes(random.Random(1).randbytes(50_000)),
        "file is not a database",
    ),
    "emptied": (lambda store: store.write_bytes(b""), "it is empty"),
    "cut off": (lambda store: store.write_bytes(store.read_bytes()[:4096]), "malformed"),
    "torn": (
        lambda store: store.write_bytes(
            store.read_bytes()[:8192] + b"\xff" * 4096 + store.read_bytes()[12288:]
        ),
        "",
    ),
    "of another program": (
        lambda store: (store.unlink(), sqlite3.connect(store).execute("CREATE TABLE a (b)")),
        "it has no table parts",
    ),
    "a directory": (lambda store: (store.unlink(), store.mkdir()), "unable to open"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_one_line_before_anything_is_started(tmp_path: Path, damage: str) -> None:
    mine = settings(tmp_path)
    store = used_store(mine)
    spoil, why = DAMAGES[damage]
    spoil(store)  # type: ignore[no-untyped-call]
    with pytest.raises(
        UserError,
        match=r"^recovery: .*part-0\.sqlite3 is damaged \(.*\): start anew with `pairflow run --fresh`$",
    ) as refused:
        compare_recovery(mine)
    assert why in str(refused.value)
    if damage == "a directory":
        with pytest.raises(UserError, match="is a directory, not a recovery store: move it away"):
            refuse_unforgettable(mine)
        with pytest.raises(UserError, match="cannot be deleted"):
            forget_recovery(mine)
        return
    refuse_unforgettable(mine)
    forget_recovery(mine)
    assert open_recovery(mine) is not None


@pytest.mark.parametrize("text", ["[]", "null", '{"settings": 3}', "{", "\xff"])
def test_a_foreign_fingerprint_is_a_damage(tmp_path: Path, text: str) -> None:
    mine = settings(tmp_path)
    used_store(mine).with_name(FINGERPRINT).write_text(text, "latin-1")
    with pytest.raises(
        UserError, match=r"^recovery: .*fingerprint\.json is damaged \(it holds no fingerprint\)"
    ):
        compare_recovery(mine)


RUNNING = """
import os, resource, signal, sys
from datetime import timedelta
from pathlib import Path
import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource
from flows.errors import UserError
from flows.runtime.running import execute
directory, workers, spoil = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
init_db_dir(directory, 1)
flow = Dataflow("test")
feed = op.input("in", flow, TestingSource([("a", os.urandom(1000)) for _ in range(200)]))
kept = op.stateful_map("kept", feed, lambda before, item: ((before or b"")[-200_000:] + item * 20, item))
op.output("out", kept, TestingSink([]))
if spoil == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
elif spoil == "none":
    (directory / "part-0.sqlite3").unlink()
else:
    (directory / "part-0.sqlite3").write_bytes(b"x" * 50_000)
try:
    execute(flow, recovery=RecoveryConfig(str(directory)), every=timedelta(0), workers=workers)
except UserError as error:
    print(f"pairflow: {error}", file=sys.stderr)
    sys.exit(1)
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("full", "the store cannot be written (disk I/O error): make room, then start again"),
        ("none", "is damaged (No recovery partitions found"),
        ("bytes", "is damaged (file is not a database): start anew"),
    ],
)
def test_a_store_that_fails_the_runtime_is_one_line_without_its_stack_trace(
    tmp_path: Path, spoil: str, told: str, workers: int
) -> None:
    command = [sys.executable, "-c", RUNNING, str(tmp_path), str(workers), spoil]
    done = forked.run(command, capture_output=True, text=True, timeout=LAST_S)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"pairflow: recovery: {tmp_path}") and told in line


HOLDING = """
import sys
from pathlib import Path
from flows.settings.decoding import decode
from flows.runtime.running import own_recovery
with own_recovery(decode(sys.argv[1], "pipeline.yaml", Path(sys.argv[2]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_recovery_directory_is_one_runs_until_that_one_is_gone_however_it_ends(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    holder = forked.start(
        [sys.executable, "-c", HOLDING, PAIRS.format(window=100), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                UserError, match=r"^recovery: .*: another run is under way on it; stop that one"
            ) as refused,
            own_recovery(mine),
        ):
            pass
        assert "\n" not in str(refused.value)
        holder.kill()
    with own_recovery(mine), pytest.raises(UserError), own_recovery(mine):
        pass


def test_a_simulated_market_has_no_recovery_and_a_database_of_its_own(tmp_path: Path) -> None:
    simulated = decode(
        "source: {exchange: simulated}\n" + PAIRS.format(window=100), "pipeline.yaml", tmp_path
    )
    own = of_its_own(simulated)
    assert own.recovery.dir is None
    assert own.questdb.dir == simulated.questdb.dir.with_name("questdb-simulated")
    assert of_its_own(settings(tmp_path)) == settings(tmp_path)
    external = msgspec.structs.replace(
        simulated, questdb=msgspec.structs.replace(simulated.questdb, embedded=False)
    )
    with pytest.raises(
        UserError,
        match=r"^source\.exchange: simulated trades would come among the real ones at 127\.0\.0\.1: ",
    ):
        of_its_own(external)
