"""Building with an empty timing cache, and again with the one that this left.

The first build of a process loads libraries, so an engine is built before the stopwatch starts. The
INT8 builds take their scales from a calibration cache; first_build.py calibrates.
"""

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from speed.rig import STANDARD, Rig
from trtlab.build import build_engine
from trtlab.progress import track
from trtlab.spec import BuildSpec, Precision

WARM_BUILDS = 3


def measure(rig: Rig) -> dict[str, Any]:
    """Return the seconds of one cold and several warm builds, FP16 and INT8, and their ratio."""
    rig.engine(Precision.INT8, STANDARD)  # leaves calibration cache and a warm process
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=rig.folder) as folder:
        for precision in (Precision.FP16, Precision.INT8):
            found[precision.value] = rebuilds(rig, precision, Path(folder))
    return found


def rebuilds(rig: Rig, precision: Precision, folder: Path) -> dict[str, Any]:
    """Build once without and several times with a timing cache of this very build."""
    cache = folder / f"{precision.value}.timing"
    seconds = [
        build(rig, precision, folder, cache)
        for _ in track(range(1 + WARM_BUILDS), f"{precision.value}: one cold build, then warm ones")
    ]
    cold, *warm = seconds
    return {
        "cold_seconds": cold,
        "warm_seconds": warm,
        "times_faster": cold / median(warm),
        "timing_cache_bytes": cache.stat().st_size,
    }


def build(rig: Rig, precision: Precision, folder: Path, timing_cache: Path) -> float:
    """Build the standard engine, without calibrating; return seconds."""
    calibration: AbstractContextManager[Any] = nullcontext()
    if precision is Precision.INT8:
        calibration = rig.calibrator()
    with calibration as calibrator:
        sidecar = build_engine(
            rig.onnx(),
            folder / "rebuilt.engine",
            BuildSpec(precision=precision, profiles=(STANDARD,)),
            calibrator=calibrator,
            timing_cache=timing_cache,
        )
    return sidecar.build_seconds
