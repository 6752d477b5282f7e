"""Throughput against what runs side by side: slots host to host, contexts on the GPU alone.

A second slot hides the copies behind the computing; a second context fills the part of the GPU that
a small batch leaves idle. What one more of either adds after that is what these curves show.
"""

import time
from contextlib import closing
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speed.device import DeviceEngine, eager, require_agreement, require_finite
from speed.intervals import interval
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.throughput import throughput
from trtlab.backend import compat
from trtlab.benchmark import random_inputs
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.spec import Precision

SLOTS = (1, 2, 3, 4, 5, 6)
SLOT_BATCHES = ((8, 32), (2,))  # at full length, and where only the scripts are tried
CONTEXTS = (1, 2, 3, 4)
CONTEXT_BATCHES = ((1, 8, 32), (1,))
SECONDS = (0.5, 0.05)  # of one measurement
WINDOWS = 10
WARMUP = 5  # batches


def by_slots(rig: Rig) -> dict[str, Any]:
    """Return images per second of FastInference.stream, FP16, by batch and number of slots.

    The numbers of slots are gone through upwards and downwards, so that what drifts meanwhile does
    not look like growth.
    """
    engine = load_engine(rig.engine(Precision.FP16, STANDARD))
    points = []
    for batch in rig.count(*SLOT_BATCHES):
        inputs = random_inputs(rig.workload.input_shape, batch, seed=0)
        rates: dict[int, list[float]] = {slots: [] for slots in SLOTS}
        for slots in track((*SLOTS, *reversed(SLOTS)), f"slots, batch {batch}"):
            with FastInference(engine, slots=slots) as fast:
                rates[slots] += stream_rates(fast, inputs, rig.count(*SECONDS))
        points += [
            {"batch": batch, "slots": slots, "images_per_s": interval(found)}
            for slots, found in rates.items()
        ]
    return {"precision": "fp16", "cpu_threads": torch.get_num_threads(), "points": points}


def stream_rates(
    fast: FastInference, inputs: list[NDArray[np.float32]], seconds: float
) -> list[float]:
    """Stream batches for `seconds`; return images per second in each of WINDOWS windows."""
    with closing(fast.stream(cycle(inputs))) as results:
        for _ in range(fast.slots + WARMUP):  # each slot records its graph
            next(results)
        moments = [time.perf_counter()]
        while moments[-1] - moments[0] < seconds or len(moments) <= WINDOWS:
            next(results)
            moments.append(time.perf_counter())
    edges = np.linspace(0, len(moments) - 1, WINDOWS + 1).astype(int)
    spans = np.diff(np.array(moments)[edges])  # seconds
    rates: list[float] = (len(inputs[0]) * np.diff(edges) / spans).tolist()
    return rates


def by_contexts(rig: Rig) -> dict[str, Any]:
    """Return images per second of one FP16 engine by batch and number of execution contexts.

    Each context has a stream, a CUDA graph and images of its own, in GPU memory.
    """
    if rig.emulated:
        return NEEDS_GPU
    engine = load_engine(rig.engine(Precision.FP16, STANDARD))
    points = []
    for batch in track(rig.count(*CONTEXT_BATCHES), "contexts"):
        images = rig.images(batch)
        expected = eager(rig.model(), images, tf32=False)()
        contexts = [DeviceEngine(engine, images.clone(), batch) for _ in CONTEXTS]
        for context in contexts:
            require_agreement(context.fresh_output(), expected)
        for count in CONTEXTS:
            used = contexts[:count]
            for context in used:
                context.output.fill_(torch.nan)
            rates = throughput(used, batch, rig.count(*SECONDS))[0]
            for context in used:
                require_finite(context.output)
            points.append({"batch": batch, "contexts": count, "images_per_s": interval(rates)})
    return {
        "precision": "fp16",
        "context_memory_bytes": compat.device_memory_bytes(engine),
        "points": points,
    }
