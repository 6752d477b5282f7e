"""What Python costs in one call of FastInference, beyond the driver and the copies.

The call is timed in turn with the same work done bare: the copy into pinned memory, the launch of
the graph, the wait, the copy of the result. Their difference is the wrapper. The parts of it are
then timed alone, thousands of times. What the bare work consists of is told apart as well: it says
what keeps a call from its floor, and which part makes the slowest calls slow.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from speed.floor import bare_call
from speed.intervals import interval
from speed.rig import NEEDS_GPU, STANDARD, Rig
from trtlab.backend import device_context
from trtlab.benchmark import random_inputs
from trtlab.fast_infer import FastInference
from trtlab.spec import Precision

PAIRS = (3000, 20)
PART_CALLS = (5000, 20)
WARMUP = 50


def measure(rig: Rig) -> dict[str, Any]:
    """Return the microseconds of a whole call, of the bare work, and of the wrapper's parts."""
    if rig.emulated:
        return NEEDS_GPU
    x = random_inputs(rig.workload.input_shape, 1, seed=0, count=1)[0]
    path = rig.engine(Precision.FP16, STANDARD)
    with FastInference(path, slots=2) as fast, fast.slot(1) as slot, bare_call(slot, 1) as launch:
        (name,) = fast.outputs

        stamps: list[list[int]] = []

        def bare() -> None:
            now = time.perf_counter_ns
            start = now()
            np.copyto(slot.input, x)
            copied = now()
            launch()
            answered = now()
            slot._call.outputs[name].copy()
            stamps.append([start, copied, answered, now()])

        with device_context():
            whole_us, bare_us = _in_turn(lambda: fast.infer(x), bare, rig.count(*PAIRS))
        return {
            "batch": 1,
            "whole_us": _spread(whole_us),
            "bare_us": _spread(bare_us),
            "overhead_us": interval(whole_us - bare_us),
            "bare_parts_us": {
                part: _spread(times)
                for part, times in zip(
                    ("copy in", "graph and wait", "copy out"),
                    np.diff(np.array(stamps[WARMUP:]), axis=1).T / 1e3,
                    strict=True,
                )
            },
            "parts_us": {
                part: _alone(work, rig.count(*PART_CALLS)) for part, work in _parts(fast, x)
            },
        }


def _in_turn(
    one: Callable[[], object], other: Callable[[], object], pairs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the microseconds of two calls, in random order within each pair: (pairs,) each."""
    for _ in range(WARMUP):
        one(), other()
    times = np.empty((pairs, 2))
    rng = np.random.default_rng(0)
    for pair in range(pairs):
        for which in rng.permutation(2):
            start = time.perf_counter()
            (one, other)[which]()
            times[pair, which] = (time.perf_counter() - start) * 1e6
    return times[:, 0], times[:, 1]


def _spread(times_us: np.ndarray) -> dict[str, float]:
    """Return the median with its interval, and the 99th percentile."""
    return {**interval(times_us), "p99": float(np.percentile(times_us, 99))}


def _parts(fast: FastInference, x: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the steps of a call that are Python's own."""

    def context() -> None:
        with device_context():
            pass

    yield "check names, dtypes and shapes", lambda: fast._feeds(x)
    yield "take a slot and give it back", lambda: fast._give(fast._take())
    yield "make the CUDA context current", context


def _alone(work: Callable[[], object], calls: int) -> float:
    """Return the mean microseconds of a call, of many in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls * 1e6
