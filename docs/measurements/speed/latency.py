"""One call, from a NumPy array to a NumPy array: the fast path, its floor, and Polygraphy.

The floor is the engine and the two copies as one CUDA graph, launched and awaited on what already
lies in pinned memory: what is left when the wrapper costs nothing. "slot" is the fast path for a
caller who writes the batch into pinned memory. All runners take turns, round by round.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from speed.floor import bare_call
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.rivals import polygraphy_runner, polygraphy_version
from speed.timing import call_times_ms
from trtlab.backend import device_context
from trtlab.benchmark import compare_paired, random_inputs, rotating
from trtlab.fast_infer import FastInference
from trtlab.infer import TensorRTInference
from trtlab.progress import track
from trtlab.spec import Precision
from trtlab.stats import bootstrap_median, percentile

ROUNDS = (5, 1)
CALLS = (300, 5)  # in a round
PAIRS = (300, 5)
WARMUP = 20
MAX_SECONDS = 1.0

Runners = dict[str, Callable[[], object]]


def measure(rig: Rig) -> dict[str, Any]:
    """Return each runner's latency, and how many times faster the fast path is than Polygraphy."""
    if rig.emulated:
        return NEEDS_GPU
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    for precision in (Precision.FP16, Precision.INT8):
        path = rig.engine(precision, STANDARD)
        for batch in track(rig.batches, f"latency, {precision.value}"):
            about = {"precision": precision.value, "batch": batch}
            with ExitStack() as stack:
                runners = _runners(rig, path, batch, stack)
                rows += [{**about, **row} for row in _latencies(rig, runners)]
                ratios += [{**about, **ratio} for ratio in _ratios(rig, runners)]
    return {"polygraphy": polygraphy_version(), "rows": rows, "ratios": ratios}


def _runners(rig: Rig, path: Path, batch: int, stack: ExitStack) -> Runners:
    inputs = random_inputs(rig.workload.input_shape, batch, seed=0)
    polygraphy = stack.enter_context(polygraphy_runner(path))
    plain = stack.enter_context(TensorRTInference(path))
    fast = stack.enter_context(FastInference(path))
    slot = stack.enter_context(fast.slot(batch))
    slot.input[...] = inputs[0]
    expected = plain.infer(inputs[1])
    for predict in (polygraphy, fast.infer):
        np.testing.assert_allclose(predict(inputs[1]), expected, rtol=0.05, atol=0.05)
    floor = stack.enter_context(bare_call(slot, batch))
    return {
        "polygraphy": rotating(polygraphy, inputs),
        "plain": rotating(plain.infer, inputs),
        "fast": rotating(fast.infer, inputs),
        "slot": slot.run,
        "floor": floor,
    }


def _latencies(rig: Rig, runners: Runners) -> list[dict[str, Any]]:
    times: dict[str, list[float]] = {name: [] for name in runners}
    with device_context():
        for _ in range(rig.count(*ROUNDS)):
            for name, call in runners.items():
                times[name] += call_times_ms(call, rig.count(*CALLS), WARMUP, MAX_SECONDS)
    return [{"runner": name, **summary(found)} for name, found in times.items()]


def summary(times: list[float]) -> dict[str, float]:
    """Return the median of milliseconds with its interval, and the 99th percentile."""
    median, low, high = bootstrap_median(np.array(times))
    p99 = percentile(sorted(times), 99)
    return {
        "median_ms": median,
        "median_low_ms": low,
        "median_high_ms": high,
        "p99_ms": p99,
        "p99_over_median": p99 / median,
        "calls": len(times),
    }


def _ratios(rig: Rig, runners: Runners) -> list[dict[str, Any]]:
    pairs = [("polygraphy", "fast"), ("polygraphy", "plain"), ("polygraphy", "slot")]
    pairs += [("fast", "floor")]  # how far above the floor: its "speed-up" over the fast path
    found = []
    with device_context():
        for baseline, runner in pairs:
            ratio = compare_paired(
                runners[baseline],
                runners[runner],
                rig.count(*PAIRS),
                WARMUP,
                max_seconds=2 * MAX_SECONDS,
            )
            found.append({"baseline": baseline, "runner": runner, **ratio.model_dump()})
    return found
