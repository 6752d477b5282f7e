"""How many images per second execution contexts finish, side by side, on images in GPU memory."""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from speed.device import DeviceEngine

WINDOWS = 10
TRIAL = 20  # rounds that raise the clocks and tell how many a measurement takes


def throughput(
    contexts: Sequence[DeviceEngine], batch: int, seconds: float
) -> tuple[NDArray[np.float64], float, float]:
    """Keep all contexts busy for about `seconds`; return images per second.

    Returns:
        The rate in each of WINDOWS windows (WINDOWS,), from the moments at which batches were
        finished, so that filling and draining the streams does not count; the seconds that it took;
        and the rate overall by the wall clock, in which that does count.
    """
    rounds_per_second = TRIAL / _replay(contexts, TRIAL)[1]
    rounds = max(math.ceil(seconds * rounds_per_second), 2 * WINDOWS)
    finished, elapsed = _replay(contexts, rounds)
    per_round = len(contexts)
    # Whole rounds, the first one left out: the contexts then stand alike at both ends of a window.
    edges = np.linspace(1, rounds, WINDOWS + 1).astype(int) * per_round - 1
    rates = np.diff(edges) * batch / np.diff(finished[edges])
    return rates, elapsed, rounds * per_round * batch / elapsed


def _replay(contexts: Sequence[DeviceEngine], rounds: int) -> tuple[NDArray[np.float64], float]:
    """Replay every context `rounds` times; return when each replay ended, and how long all took.

    The moments are in seconds, ascending, (rounds * contexts,).
    """
    start = torch.cuda.Event(enable_timing=True)
    ends = []
    torch.cuda.synchronize()
    began = time.perf_counter()
    start.record()
    for _ in range(rounds):
        for context in contexts:
            with torch.cuda.stream(context.stream):
                context.replay()
                end = torch.cuda.Event(enable_timing=True)
                end.record()
            ends.append(end)
    torch.cuda.synchronize()
    elapsed = time.perf_counter() - began
    return np.sort([start.elapsed_time(end) for end in ends]) / 1e3, elapsed
