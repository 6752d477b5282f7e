"""Images per second, host to host, with several batches in flight; and what bounds it.

"engine alone" is one execution context replaying its CUDA graph on images that already lie in the
GPU's memory. Polygraphy's runner is called in a loop, as it has no other way.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speed.device import DeviceEngine
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.rivals import polygraphy_runner, polygraphy_version
from trtlab.benchmark import random_inputs, rotating
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.spec import Precision
from trtlab.stats import bootstrap_median

BATCHES = ((8, 32, 128), (2,))
SLOTS = (2, 3, 4)
WINDOWS = (10, 2)
WINDOW_SECONDS = (0.25, 0.02)


def measure(rig: Rig) -> dict[str, Any]:
    """Return the throughput of each way to run an engine over many batches."""
    if rig.emulated:
        return NEEDS_GPU
    rows: list[dict[str, Any]] = []
    for precision in (Precision.FP16, Precision.INT8):
        path = rig.engine(precision, STANDARD)
        for batch in track(rig.count(*BATCHES), f"streaming, {precision.value}"):
            about = {"precision": precision.value, "batch": batch}
            rows += [{**about, **row} for row in _at(rig, path, batch)]
    return {
        "polygraphy": polygraphy_version(),
        "cpu_threads": torch.get_num_threads(),
        "rows": rows,
    }


def _at(rig: Rig, path: Path, batch: int) -> Iterator[dict[str, Any]]:
    inputs = random_inputs(rig.workload.input_shape, batch, seed=0)
    alone = DeviceEngine(load_engine(path), rig.images(batch), batch)
    alone.fresh_output()

    def replays() -> None:
        for _ in range(10):
            alone.replay()
        torch.cuda.synchronize()

    # Before and after the others: what they are held against must not have moved meanwhile.
    yield {"runner": "engine alone", "slots": None, **_windows(rig, replays, 10 * batch)}
    for slots in SLOTS:
        with (
            FastInference(path, slots=slots) as fast,
            closing(fast.stream(cycle(inputs))) as results,
        ):
            row = _windows(rig, results.__next__, batch)
        yield {"runner": "stream", "slots": slots, **row}
    with FastInference(path, slots=3) as fast:
        yield {
            "runner": "stream, slots filled in place",
            "slots": 3,
            **_in_place(rig, fast, inputs),
        }
    with polygraphy_runner(path) as polygraphy:
        row = _windows(rig, rotating(polygraphy, inputs), batch)
        yield {"runner": "polygraphy", "slots": None, **row}
    yield {"runner": "engine alone, again", "slots": None, **_windows(rig, replays, 10 * batch)}


def _in_place(
    rig: Rig, fast: FastInference, inputs: list[NDArray[np.float32]]
) -> dict[str, float | int]:
    """Measure threads that each run a slot which is filled already: no copy of the host's."""
    batch = len(inputs[0])

    def work(end: float) -> int:
        done = 0
        with fast.slot(batch) as slot:
            slot.input[...] = inputs[0]
            slot.run()
            while time.perf_counter() < end:
                slot.run()
                done += batch
        return done

    rates = []
    with ThreadPoolExecutor(fast.slots) as pool:
        for _ in range(rig.count(*WINDOWS)):
            start = time.perf_counter()
            end = start + rig.count(*WINDOW_SECONDS)
            images = sum(pool.map(work, [end] * fast.slots))
            rates.append(images / (time.perf_counter() - start))
    return _rate(rates)


def _windows(rig: Rig, call: Callable[[], object], images: int) -> dict[str, float | int]:
    """Call for as long as the windows last; return the median of their rates with its interval."""
    for _ in range(5):
        call()
    rates = []
    for _ in range(rig.count(*WINDOWS)):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < rig.count(*WINDOW_SECONDS):
            call()
            done += images
        rates.append(done / (time.perf_counter() - start))
    return _rate(rates)


def _rate(rates: list[float]) -> dict[str, float | int]:
    median, low, high = bootstrap_median(np.array(rates))
    return {"images_per_s": median, "low": low, "high": high, "windows": len(rates)}
