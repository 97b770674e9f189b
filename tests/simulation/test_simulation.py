"""The whole pipeline in virtual time, with all faults at once. Each seed is another run.

make test                                                       seeds 0 … 49
make test-long ARGS=tests/simulation                            seeds 50 … 1199
PAIRFLOW_SEEDS=5000-5999 make test-long ARGS=tests/simulation   any others; a single number is one seed
"""

import os
from pathlib import Path

import pytest

from flows.settings.model import Settings
from tests.simulation.simulation import Simulation, settings_of

DEFAULT = range(50)
LONG = range(50, 1_200)
LAST_LINES = 40  # of the trace before a failure


def _chosen() -> range:
    words = os.environ.get("PAIRFLOW_SEEDS", "")
    if not words:
        return LONG
    first, _, last = words.partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_of(tmp_path_factory.mktemp("simulation"))


def _hold(seed: int, settings: Settings, directory: Path) -> None:
    simulation = Simulation(seed, settings, directory)
    try:
        simulation.run()
    except Exception as error:
        happened = "\n".join([*simulation.clock.trace[:1], *simulation.clock.trace[1:][-LAST_LINES:]])
        what = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
        pytest.fail(
            f"{happened}\n{simulation.clock.now:8.3f}  {what}\n"
            f"seed {seed}: {what}\nto repeat it: PAIRFLOW_SEEDS={seed} make test-long ARGS=tests/simulation"
        )


@pytest.mark.parametrize("seed", DEFAULT)
def test_whatever_happens_the_tables_become_those_of_an_uninterrupted_run(
    seed: int, settings: Settings, tmp_path: Path
) -> None:
    _hold(seed, settings, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", _chosen())
def test_whatever_happens_with_any_seed(seed: int, settings: Settings, tmp_path: Path) -> None:
    _hold(seed, settings, tmp_path)
