"""The FP16 engine against what a PyTorch user would reach for: torch.compile, FP16 channels-last.

PyTorch runs in another process, torch_side.py, because torch.compile may need another interpreter:
set TRTLAB_BENCH_PYTHON to one that has torch, torchvision and Triton. The two cannot be timed in
turn, so TensorRT is measured before and after, which shows what drifted meanwhile. PyTorch's input
on the device has the type and layout that it likes best, the engine's is FP32 as its users pass it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.device import DeviceEngine, require_finite
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.timing import call_times_ms, ratio_of_medians
from trtlab.benchmark import random_inputs, rotating
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.spec import Precision

BATCHES = ((1, 32), (1,))  # at full length, and where only the scripts are tried
CALLS = 1000  # of one measurement, or as many as its seconds allow
SECONDS = (2.0, 0.2)
TIMEOUT_S = 600.0  # 240 were too few for max-autotune and one batch size on 16 cores
WARMUP = 10
PYTHON = "TRTLAB_BENCH_PYTHON"
OF_THIS_PYTHON = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH")

Times = dict[tuple[str, int], list[float]]
"""Milliseconds by ("host_to_host" or "device_resident", batch)."""


def measure(rig: Rig) -> dict[str, Any]:
    """Return both sides' times and their ratios; above 1 the engine is the faster one."""
    if rig.emulated:
        return NEEDS_GPU
    before = engine_times(rig)
    torch.cuda.empty_cache()
    output = rig.folder / "torch_side.jsonl"
    ended = run_torch_side(rig, output)
    after = engine_times(rig)
    facts, theirs = read_lines(output)
    return {
        "torch_side": {"ended": ended, "timeout_s": TIMEOUT_S, **facts},
        "engine": [engine_record(key, before[key], after[key]) for key in before],
        "pytorch": theirs,
        "speedup": [compare(found, before, after) for found in theirs],
    }


def engine_record(key: tuple[str, int], before: list[float], after: list[float]) -> dict[str, Any]:
    """Return the engine's times around PyTorch's, and how much slower it was afterwards."""
    where, batch = key
    drift = float(np.median(after) / np.median(before))
    return {
        "where": where, "batch": batch, "drift": drift, "before_ms": before, "after_ms": after
    }  # fmt: skip


def compare(theirs: dict[str, Any], before: Times, after: Times) -> dict[str, Any]:
    """Return how many times faster the engine is than one of PyTorch's measurements."""
    key = (theirs["where"], theirs["batch"])
    ratio = ratio_of_medians(theirs["times_ms"], before[key] + after[key])
    return {name: theirs[name] for name in ("variant", "batch", "where")} | ratio


def engine_times(rig: Rig) -> Times:
    """Time the FP16 engine, host to host and as a CUDA graph on the device."""
    path = rig.engine(Precision.FP16, STANDARD)
    engine = load_engine(path)
    seconds = rig.count(*SECONDS)
    times: Times = {}
    with FastInference(path) as fast:
        for batch in rig.count(*BATCHES):
            graph = DeviceEngine(engine, rig.images(batch), batch)
            require_finite(graph.fresh_output())
            call = rotating(fast.infer, random_inputs(rig.workload.input_shape, batch, seed=0))
            for where, timed in (("device_resident", graph.run), ("host_to_host", call)):
                times[where, batch] = call_times_ms(timed, CALLS, WARMUP, seconds)
    return times


def run_torch_side(rig: Rig, output: Path) -> str:
    """Run torch_side.py into `output`; return how it ended."""
    weights = rig.folder / "weights.pt"
    torch.save(rig.model().state_dict(), weights)
    python = os.environ.get(PYTHON)
    command = [
        python or sys.executable, str(Path(__file__).with_name("torch_side.py")), str(weights),
        "--classes", str(len(rig.workload.classes)),
        "--batches", ",".join(map(str, rig.count(*BATCHES))),
        "--seconds", str(rig.count(*SECONDS)),
    ]  # fmt: skip
    # Another interpreter would look for its own modules in this one's folders.
    foreign = OF_THIS_PYTHON if python else ()
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    with output.open("w") as lines, group(command, lines, environment) as process:
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"stopped after {TIMEOUT_S:.0f} s, unfinished"
    return "complete" if status == 0 else f"failed with status {status}; see stderr"


@contextmanager
def group(
    command: list[str], output: Any, environment: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command as a process group of its own, and end all of it: it compiles in children."""
    process = subprocess.Popen(command, stdout=output, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # all ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_lines(output: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the other side's versions, and its measurements as far as they got."""
    whole = [line for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
    facts, *found = [json.loads(line) for line in whole] or [{}]
    return facts, found
