"""An INT8 build that knows nothing, and the same build again with the caches which that one left.

rebuild.py tells what the timing cache does by itself. This is what a user sees: the first build
calibrates as well, in an engine whose kernels have to be timed too, and leaves its scales.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from speed.rig import CALIBRATION_BATCH, CALIBRATION_IMAGES, STANDARD, Rig
from trtlab.build import build_engine
from trtlab.pipeline import calibrator_class, fresh_calibration
from trtlab.spec import BuildSpec, Precision

REBUILDS = 2
SPEC = BuildSpec(precision=Precision.INT8, profiles=(STANDARD,))


def measure(rig: Rig) -> dict[str, Any]:
    """Return the seconds of the first build and of the rebuilds, and their ratio."""
    rig.engine(Precision.FP16, STANDARD)  # the first build of a process loads libraries
    images = rig.count(CALIBRATION_IMAGES, CALIBRATION_BATCH)
    dataset = rig.workload.dataset("calibration", size=images)
    with tempfile.TemporaryDirectory(dir=rig.folder) as folder:
        scales, timing = Path(folder) / "scales", Path(folder) / "timing"
        engine = Path(folder) / "int8.engine"
        start = time.perf_counter()
        with fresh_calibration("entropy", dataset, CALIBRATION_BATCH, scales) as calibrator:
            build_engine(rig.onnx(), engine, SPEC, calibrator=calibrator, timing_cache=timing)
        first = time.perf_counter() - start
        again = []
        for _ in range(REBUILDS):
            start = time.perf_counter()
            with calibrator_class("entropy")([], CALIBRATION_BATCH, scales) as calibrator:
                build_engine(rig.onnx(), engine, SPEC, calibrator=calibrator, timing_cache=timing)
            again.append(time.perf_counter() - start)
    return {
        "images": images,
        "first_seconds": first,
        "rebuild_seconds": again,
        "times_faster": first / median(again),
    }
