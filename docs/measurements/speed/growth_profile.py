"""What a wide optimization profile costs: latency, bytes, memory and build time, FP16.

All engines are tuned for batch 8 and differ in what else they accept. Each is built a second time
for the stopwatch: the first build is quick or slow as the timing cache happens to know its kernels.
"""

from typing import Any

from speed.device import DeviceEngine, eager, require_agreement
from speed.intervals import interval
from speed.rig import STANDARD, Rig
from speed.timing import call_times_ms
from trtlab.backend import compat
from trtlab.build import build_engine
from trtlab.engines import load_engine
from trtlab.progress import track
from trtlab.spec import BuildSpec, Precision, ShapeProfile

PROFILES = (
    ShapeProfile(min=8, opt=8, max=8),
    ShapeProfile(min=1, opt=8, max=32),
    STANDARD,
)
BATCHES = (1, 8, 32)
ROUNDS = (4, 1)  # at full length, and where only the scripts are tried
CALLS = (200, 10)  # in a round
WARMUP = 5
MAX_SECONDS = 0.3


def by_profile(rig: Rig) -> dict[str, Any]:
    """Return what each engine weighs and takes to build, and its latency on the GPU."""
    engines = []
    for profile in track(PROFILES, "profiles"):
        engine = load_engine(rig.engine(Precision.FP16, profile))
        engines.append(
            {
                "profile": str(profile),
                "context_memory_bytes": compat.device_memory_bytes(engine),
                **rebuilt(rig, profile),
            }
        )
    return {
        "precision": "fp16",
        "engines": engines,
        "points": [] if rig.emulated else device_resident(rig),
    }


def rebuilt(rig: Rig, profile: ShapeProfile) -> dict[str, float]:
    """Build an engine with a timing cache that knows it; return its bytes and the seconds."""
    sidecar = build_engine(
        rig.onnx(),
        rig.folder / "rebuilt.engine",
        BuildSpec(precision=Precision.FP16, profiles=(profile,)),
        timing_cache=rig.timing_cache,
    )
    return {"engine_bytes": sidecar.engine_bytes, "warm_build_seconds": sidecar.build_seconds}


def device_resident(rig: Rig) -> list[dict[str, Any]]:
    """Time the engines' CUDA graphs in turn, each at the batches that it accepts."""
    loaded = {profile: load_engine(rig.engine(Precision.FP16, profile)) for profile in PROFILES}
    points = []
    for batch in BATCHES:
        images = rig.images(batch)
        expected = eager(rig.model(), images, tf32=False)()
        graphs = {
            profile: DeviceEngine(engine, images, batch)
            for profile, engine in loaded.items()
            if profile.min <= batch <= profile.max
        }
        for graph in graphs.values():
            require_agreement(graph.fresh_output(), expected)
        times: dict[ShapeProfile, list[float]] = {profile: [] for profile in graphs}
        for _ in range(rig.count(*ROUNDS)):
            for profile, graph in graphs.items():
                times[profile] += call_times_ms(graph.run, rig.count(*CALLS), WARMUP, MAX_SECONDS)
        points += [
            {"profile": str(profile), "batch": batch, "latency_ms": interval(found)}
            for profile, found in times.items()
        ]
    return points
