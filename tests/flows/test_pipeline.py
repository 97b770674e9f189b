"""The dataflow's step ids, under which the recovery store keeps state."""

from pathlib import Path

from bytewax.testing import TestingSink, TestingSource

from flows.pipeline import pipeline
from flows.runtime.running import STEPS
from flows.settings.decoding import load


def test_step_ids_are_frozen() -> None:
    flow = pipeline(load(Path(__file__).parents[2] / "pipeline.yaml", {}), TestingSource([]), TestingSink([]))
    assert {step.step_id for step in flow.substeps} == {f"pairflow.{name}" for name in STEPS}
    assert STEPS[:5] == ("trades", "bars", "by_timeframe", "measures", "alerts")
