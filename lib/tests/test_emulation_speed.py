"""The emulation is fast enough to teach with: its builds, and its inference beside ONNX Runtime.

Run it with nothing else on the machine: python -m pytest -m slow lib/tests/test_emulation_speed.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs/measurements/measure_emulation.py"


@pytest.mark.slow  # three minutes, with both cores
@pytest.mark.timeout(900)
def test_builds_take_20_s_at_most_and_inference_1_3_times_bare_onnx_runtime(tmp_path: Path) -> None:
    environment = {**os.environ, "TRTLAB_BACKEND": "emulated", "PYTHONPATH": str(ROOT / "lib")}
    environment.pop("OMP_NUM_THREADS", None)  # `make` sets it, and students do not
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "emulation.json").read_text())
    builds = {build["precision"]: build["median_s"] for build in measured["builds"]}
    assert builds.keys() == {"fp32", "fp16", "int8"}
    assert max(builds.values()) <= 20, builds
    ratios = {
        (found["precision"], found["batch_size"]): found["times_the_baseline"]
        for found in measured["inference"]
    }
    assert ratios.keys() == {(name, size) for name in builds for size in (1, 8, 32)}
    assert max(ratios.values()) <= 1.3, ratios
