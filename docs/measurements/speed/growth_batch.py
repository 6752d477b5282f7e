"""Cost against the batch size, 1 to 512: the engine alone on the GPU, and host to host.

One engine serves all batches. It is tuned for 256, so a small batch costs more here than in an
engine that is tuned for it; growth_profile.py shows how much.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.device import DeviceEngine, eager, require_agreement, require_finite
from speed.intervals import interval
from speed.rig import LARGE, Rig
from speed.throughput import throughput
from speed.timing import call_times_ms
from trtlab.benchmark import random_inputs, rotating
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.spec import Precision

PRECISIONS = (Precision.FP16, Precision.INT8)
BATCHES = (tuple(2**power for power in range(10)), (1, 2))
CALLS = 1000
WARMUP = 5
SECONDS = (0.5, 0.05)  # of one measurement, at full length and where only the scripts are tried


def by_batch(rig: Rig) -> dict[str, Any]:
    """Return latency and images per second of each precision at each batch."""
    engines = {precision: rig.engine(precision, LARGE) for precision in PRECISIONS}
    points = host_to_host(rig, engines)
    if not rig.emulated:
        points += device_resident(rig, engines)
    return {"profile": str(LARGE), "points": points}


def host_to_host(rig: Rig, engines: dict[Precision, Path]) -> list[dict[str, Any]]:
    """Measure FastInference from a NumPy array to a NumPy array, one call at a time."""
    points = []
    with ExitStack() as stack:
        runners = {
            precision: stack.enter_context(FastInference(path, slots=1))
            for precision, path in engines.items()
        }
        for batch in track(rig.count(*BATCHES), "batches, host to host"):
            inputs = random_inputs(rig.workload.input_shape, batch, seed=0)
            for precision, fast in runners.items():
                call = rotating(fast.infer, inputs)
                times = call_times_ms(call, CALLS, WARMUP, rig.count(*SECONDS))
                rates = 1e3 * batch / np.array(times)
                points.append(_point("host_to_host", precision, batch, times, rates))
    return points


def device_resident(rig: Rig, engines: dict[Precision, Path]) -> list[dict[str, Any]]:
    """Measure the engines' CUDA graphs on images in GPU memory.

    The latency is that of a launch and a wait; the images per second are those of one launch after
    the other, so that the GPU never waits for the host.
    """
    points = []
    loaded = {precision: load_engine(path) for precision, path in engines.items()}
    batches, seconds = rig.count(*BATCHES), rig.count(*SECONDS)
    images = rig.images(max(batches))
    expected = eager(rig.model(), images, tf32=False)()
    for batch in track(batches, "batches, device-resident"):
        for precision, engine in loaded.items():
            graph = DeviceEngine(engine, images[:batch], batch)
            error = require_agreement(graph.fresh_output(), expected[:batch])
            times = call_times_ms(graph.run, CALLS, WARMUP, seconds)
            graph.output.fill_(torch.nan)
            rates = throughput([graph], batch, seconds)[0]
            require_finite(graph.output)
            point = _point("device_resident", precision, batch, times, rates)
            points.append(point | {"logits_error": error})
    return points


def _point(
    where: str, precision: Precision, batch: int, times_ms: list[float], rates: np.ndarray
) -> dict[str, Any]:
    return {
        "where": where,
        "precision": precision.value,
        "batch": batch,
        "latency_ms": interval(times_ms),
        "images_per_s": interval(rates),
    }
