"""The benchmarks run and agree with their peers; what they measure is no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_a_quick_run_agrees_with_its_peer_and_writes_its_results(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks", "--quick", "-o", str(output)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "run 1 of 1: " in done.stderr and output.read_text().endswith("]\n")
    results = json.loads(output.read_text())
    assert results
    for result in results:
        assert set(result) == {"name", "ours", "peer", "ratio", "low", "high", "unit"}
        assert result["low"] <= result["ratio"] <= result["high"]
