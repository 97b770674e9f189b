"""Row 22: recovery directory of another configuration.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.sandbox.background import Background
from tests.faults.stage import Home, Stops, count


def test_the_start_is_refused_with_the_difference_and_what_to_do(
    home: Home, played: Background, database: Endpoint
) -> None:
    market = Stops(played, 10)
    with home.running() as run:
        run.until(lambda: market.reached() and count(database, "bars"))
        assert run.terminate() == 0
    kept = {path: path.read_bytes() for path in home.recovery.glob("*.*") if path.suffix != ".lock"}
    text = (home.path / "pipeline.yaml").read_text()
    (home.path / "pipeline.yaml").write_text(
        text.replace("hedge: {window: {1s: 40,", "hedge: {window: {1s: 41,")
    )
    with home.running() as run:
        assert run.ends() == 1
        assert len(run.lines) == 1
        for part in ("hedge.window", "was 40, is 41", "--fresh"):
            assert part in run.said, run.said
    assert {path: path.read_bytes() for path in kept} == kept
