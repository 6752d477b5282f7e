"""The stopwatch where every single time is kept, and the ratio of two samples taken apart."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trtlab.benchmark import MIN_CALLS


def call_times_ms(
    fn: Callable[[], object], calls: int, warmup: int, max_seconds: float
) -> list[float]:
    """Time `fn`, which returns when its work is done; return each call's milliseconds, in order.

    Args:
        fn: the call to time.
        calls: timed calls.
        warmup: untimed calls before them.
        max_seconds: stop early after this time, though not before `MIN_CALLS` timed calls.
    """
    for _ in range(warmup):
        fn()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < calls:
        start = time.perf_counter()
        if start - began > max_seconds and len(times) >= MIN_CALLS:
            break
        fn()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def ratio_of_medians(
    baseline: Sequence[float], candidate: Sequence[float], seed: int = 0, resamples: int = 2000
) -> dict[str, float]:
    """Return how many times faster the candidate is, for times that were not taken in pairs.

    Both samples are resampled independently. The interval holds what varies within each sample,
    not what changed between them: measure one side before and after the other to see that.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8.

    Returns:
        "ratio", and the bounds "low" and "high" of its 95 % bootstrap percentile interval.
    """
    rng = np.random.default_rng(seed)
    ratios = _medians(baseline, rng, resamples) / _medians(candidate, rng, resamples)
    low, high = np.quantile(ratios, [0.025, 0.975])
    ratio = np.median(baseline) / np.median(candidate)
    return {"ratio": float(ratio), "low": float(low), "high": float(high)}


def _medians(
    values: Sequence[float], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Return the medians of `resamples` draws with replacement, (resamples,)."""
    picks = rng.integers(0, len(values), (resamples, len(values)))
    return np.median(np.asarray(values)[picks], axis=1)
