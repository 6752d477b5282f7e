"""TensorRT against PyTorch FP32 eager, strict and with TF32, the two timed in turn.

Host to host is from a NumPy array to a NumPy array, once through `FastInference` and once through
the plain `TensorRTInference`. Device-resident is from a tensor on the GPU to a tensor on the GPU:
the engine's CUDA graph against an eager call, each followed by a device-wide synchronisation.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from speed.device import DeviceEngine, eager, require_agreement
from speed.rig import NEEDS_GPU, STANDARD, Rig
from trtlab.accuracy import Predict
from trtlab.benchmark import compare_paired, measure_latency, random_inputs, rotating
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.infer import TensorRTInference
from trtlab.pipeline import torch_runners
from trtlab.progress import track
from trtlab.spec import Precision

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
CALLS = (150, 2)  # at full length, and where only the scripts are tried
WARMUP = (5, 1)
MAX_SECONDS = 1.5  # of one measurement

Calls = dict[str, Callable[[], object]]


def measure(rig: Rig) -> dict[str, Any]:
    """Return latencies and paired speed-ups, host to host and device-resident."""
    engines = {p.value: rig.engine(p, STANDARD) for p in PRECISIONS}
    return {
        "host_to_host": host_to_host(rig, engines),
        "device_resident": NEEDS_GPU if rig.emulated else device_resident(rig, engines),
    }


def host_to_host(rig: Rig, engines: dict[str, Path]) -> dict[str, Any]:
    """Compare runners that take and return NumPy arrays."""
    found = _empty()
    with ExitStack() as stack:
        baselines: dict[str, Predict] = {
            name: stack.enter_context(runner.open())
            for name, runner in torch_runners(rig.model()).items()
        }
        candidates: dict[str, Predict] = {}
        for precision, path in engines.items():
            candidates[f"fast-{precision}"] = stack.enter_context(FastInference(path)).infer
            candidates[f"plain-{precision}"] = stack.enter_context(TensorRTInference(path)).infer
        for batch in track(rig.batches, "host to host"):
            inputs = random_inputs(rig.workload.input_shape, batch, seed=0)
            _compare(
                rig,
                batch,
                {name: rotating(predict, inputs) for name, predict in baselines.items()},
                {name: rotating(predict, inputs) for name, predict in candidates.items()},
                found,
            )
    return found


def device_resident(rig: Rig, engines: dict[str, Path]) -> dict[str, Any]:
    """Compare an engine's CUDA graph with an eager call, both on one tensor on the GPU."""
    found = _empty()
    loaded = {precision: load_engine(path) for precision, path in engines.items()}
    for batch in track(rig.batches, "device-resident"):
        images = rig.images(batch)
        baselines = {
            "pytorch-fp32": eager(rig.model(), images, tf32=False),
            "pytorch-tf32": eager(rig.model(), images, tf32=True),
        }
        expected = baselines["pytorch-fp32"]()
        candidates: Calls = {}
        for precision, engine in loaded.items():
            graph = DeviceEngine(engine, images, batch)
            error = require_agreement(graph.fresh_output(), expected)
            found["logits_error"].append({"runner": precision, "batch": batch, "error": error})
            candidates[f"graph-{precision}"] = graph.run
        _compare(rig, batch, dict(baselines), candidates, found)
    return found


def _empty() -> dict[str, list[dict[str, Any]]]:
    return {"latency": [], "speedup": [], "logits_error": []}


def _compare(
    rig: Rig, batch: int, baselines: Calls, candidates: Calls, found: dict[str, list[Any]]
) -> None:
    """Add to `found` each runner's latency, and each candidate's paired ratio to each baseline."""
    calls, warmup = rig.count(*CALLS), rig.count(*WARMUP)
    for name, call in (baselines | candidates).items():
        latency = measure_latency(call, calls, warmup, MAX_SECONDS)
        found["latency"].append({"runner": name, "batch": batch, **latency.model_dump()})
    for candidate, faster in candidates.items():
        for baseline, slower in baselines.items():
            ratio = compare_paired(slower, faster, calls, warmup, max_seconds=MAX_SECONDS)
            found["speedup"].append(
                {"runner": candidate, "baseline": baseline, "batch": batch, **ratio.model_dump()}
            )
