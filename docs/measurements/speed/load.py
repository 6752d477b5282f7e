"""Right under load: threads on one object, streams of fresh images, memory after a thousand lives.

Every output is compared with PyTorch's on the same images, which no runner has seen before.
"""

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from speed.rig import NEEDS_GPU, STANDARD, Rig
from trtlab.backend import cuda, device_context
from trtlab.engines import load_engine
from trtlab.errors import InferenceError, InputError
from trtlab.fast_infer import FastInference
from trtlab.infer import TensorRTInference
from trtlab.memory import gpu_memory_mib
from trtlab.progress import track
from trtlab.spec import Precision, ShapeProfile
from trtlab.torch_infer import torch_predictor

THREADS = 8
SECONDS = (60.0, 2.0)
STREAMED = (2000, 4)  # batches
CYCLES = (1000, 20)
SMALL = ShapeProfile(min=1, opt=8, max=32)
TOLERANCE = 0.05
"""Largest difference from PyTorch's FP32 logits, relative to the largest; FP16 gives 1e-3."""

Batch = NDArray[np.float32]


def measure(rig: Rig) -> dict[str, Any]:
    """Return what went wrong, and the memory that was not given back."""
    if rig.emulated:
        return NEEDS_GPU
    path = rig.engine(Precision.FP16, STANDARD)
    return {
        "tolerance": TOLERANCE,
        "threads": threads(rig, path),
        "streamed": streamed(rig, path),
        "out_of_memory": out_of_memory(path),
        "cycles": cycles(rig),
    }


def threads(rig: Rig, path: Path) -> dict[str, Any]:
    """Let eight threads call one object for a minute, each with images of its own."""
    calls: Counter[int] = Counter()
    errors: list[str] = []
    worst = [0.0] * THREADS
    known = [_expected(rig, batch, seed) for seed, batch in enumerate((1, 2, 3, 5, 8, 13, 21, 32))]
    end = time.monotonic() + rig.count(*SECONDS)

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        try:
            while time.monotonic() < end:
                images, expected = known[rng.integers(len(known))]
                # A part of a batch, in another order: no two calls see the same array.
                order = rng.permutation(len(images))[: rng.integers(1, len(images) + 1)]
                error = _error(fast.infer(images[order]), expected[order])
                worst[thread] = max(worst[thread], error)
                calls[thread] += 1
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    with FastInference(path, slots=3) as fast:
        workers = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return {
        "threads": THREADS,
        "seconds": rig.count(*SECONDS),
        "calls": sum(calls.values()),
        "largest_error": max(worst),
        "errors": errors,
        "right": not errors and max(worst) < TOLERANCE,
    }


def streamed(rig: Rig, path: Path) -> dict[str, Any]:
    """Stream batches of fresh random images, sizes mixed; compare each with PyTorch."""
    count, rng = rig.count(*STREAMED), np.random.default_rng(1)
    sizes = rng.choice([1, 4, 8, 32], count)
    kept: list[Batch] = []

    def source() -> Iterator[Batch]:
        for size in sizes:
            kept.append(rng.standard_normal((size, 3, 224, 224), dtype=np.float32))
            yield kept[-1]

    worst, done = 0.0, 0
    with FastInference(path) as fast, torch_predictor(rig.model(), "cuda") as pytorch:
        for logits in track(fast.stream(source()), "streamed", count):
            worst = max(worst, _error(logits, pytorch(kept.pop(0))))
            done += 1
        stream = fast.stream([np.zeros((1, 3, 224, 224), np.float32), np.zeros(3, np.float32)])
        next(stream)
        try:
            next(stream)
            refused = False
        except InputError:
            refused = True
        again = _error(fast.infer(images := _fresh(rng, 4)), pytorch(images))
    return {
        "batches": done,
        "images": int(sizes.sum()),
        "largest_error": worst,
        "bad_batch_refused": refused,
        "usable_after_it": again < TOLERANCE,
        "right": done == count and max(worst, again) < TOLERANCE,
    }


def out_of_memory(path: Path) -> dict[str, Any]:
    """Fill the GPU, ask for a slot, and use the object again."""
    rng = np.random.default_rng(2)
    with FastInference(path, slots=2) as fast, fast.slot(1), device_context():
        free = cuda.mem_get_info()[0]
        hoard = torch.empty(free - (64 << 20), dtype=torch.uint8, device="cuda")
        try:
            fast.infer(_fresh(rng, 1))
            told = "nothing: there was room"
        except InferenceError as error:
            told = str(error)
        del hoard
        torch.cuda.empty_cache()
        usable = bool(np.isfinite(fast.infer(_fresh(rng, 1))).all())
    return {"told": told, "usable_after_it": usable}


def cycles(rig: Rig) -> dict[str, Any]:
    """Make, use and close objects over and over; return the memory that each kind of cycle lost.

    "fast" is FastInference on a loaded engine, a thousand times; the others tell what of a loss
    would be the graphs', what the execution context's, and what the engine's.
    """
    path = rig.engine(Precision.FP16, SMALL)
    engine = load_engine(path)
    x = _fresh(np.random.default_rng(3), 8)

    def fast(source: Any) -> None:
        with FastInference(source, slots=2) as runner:
            for _ in runner.stream([x, x[:1], x]):
                pass

    def plain() -> None:
        with TensorRTInference(engine) as runner:
            runner.infer(x)

    full = rig.count(*CYCLES)
    return {
        "plain": _lost(plain, full // 4),
        "fast, file loaded": _lost(lambda: fast(path), full // 10),
        "fast": _lost(lambda: fast(engine), full),
    }


def _lost(cycle: Callable[[], None], count: int) -> dict[str, Any]:
    """Run cycles; return the memory in use on the way, and what the last nine tenths of them kept.

    The first ones load kernels, which stay. The process's own size holds pinned memory, which is
    mapped into it.
    """
    process, seen = psutil.Process(), []
    step = max(count // 10, 1)
    for done in track(range(count + 1), "create and close", count + 1):
        if done % step == 0:
            gc.collect()
            gpu, host = cuda.mem_get_info(), process.memory_info().rss
            seen.append({"cycles": done, "gpu_bytes": gpu[1] - gpu[0], "host_bytes": host})
        cycle()
    return {
        "cycles": count,
        "gpu_bytes_lost": seen[-1]["gpu_bytes"] - seen[1]["gpu_bytes"],
        "host_bytes_lost": seen[-1]["host_bytes"] - seen[1]["host_bytes"],
        "nvml_mib": gpu_memory_mib(),
        "seen": seen,
    }


def _fresh(rng: np.random.Generator, batch: int) -> Batch:
    return rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)


def _expected(rig: Rig, batch: int, seed: int) -> tuple[Batch, Batch]:
    """Return random images and PyTorch's logits of them."""
    images = _fresh(np.random.default_rng(1000 + seed), batch)
    with torch_predictor(rig.model(), "cuda") as pytorch:
        return images, pytorch(images)


def _error(found: Batch, expected: Batch) -> float:
    """Return the largest difference relative to the largest expected logit; NaN counts as one."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())
