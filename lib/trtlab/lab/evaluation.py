"""Engines against PyTorch FP32 on fresh validation images, and results.json for lab 6.

For a notebook's pictures and results file an engine is classified once: what each image became is
kept, by the content of the engine file. Whoever judges runs it on a bench, on images of its own.
"""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trtlab.accuracy import Hits, Predict, accuracy_change, accuracy_stats, count_hits
from trtlab.benchmark import Runner, benchmark_runners
from trtlab.errors import of_the_course
from trtlab.infer import TensorRTInference
from trtlab.lab.bench import Bench
from trtlab.pipeline import torch_runners
from trtlab.results import (
    AccuracyChange,
    AccuracyStats,
    BenchmarkSettings,
    Results,
    Sizes,
    WorkloadFacts,
)
from trtlab.targets import judge
from trtlab.workloads import Workload, load_workload

BASELINE = "pytorch-fp32"
FRESH_SEED = 5005
"""Of the images that a notebook shows; its loaders use seed 0, and whoever judges a secret one."""
LARGEST_BATCH = 32
BENCH_IMAGES = 128
"""How many images go to a bench at once."""

_known: dict[tuple[str, str, str, int, int], Hits] = {}
"""(workload, model, runner's name or content of the engine, images, seed) -> hits."""


@dataclass(frozen=True)
class Compared:
    """An engine and PyTorch FP32 on the same images, and how much better the engine is."""

    baseline: AccuracyStats
    engine: AccuracyStats
    change: AccuracyChange


def compare_with_pytorch(engine: Path, bench: Bench, images: int, seed: int) -> Compared:
    """Compare an engine file, which may be hostile, with PyTorch on validation images of a seed.

    The bench sees images only. PyTorch runs here, and once for each number of images and seed.

    Raises:
        TrtLabError: if the engine cannot run the images, or gives no finite logits.
        CourseFault: if there is no model to compare with.
    """
    workload = load_workload()
    profiles = bench.inspect(engine).profiles
    most = max((shapes.max[0] for shapes in profiles if shapes.max), default=LARGEST_BATCH)
    batch = min(max(most, 1), LARGEST_BATCH)

    def predict(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(bench.run_engine(engine, pictures, batch), np.float32)

    baseline_key = (workload.name, workload.arch, BASELINE, images, seed)
    loader = workload.loader("validation", images, seed, BENCH_IMAGES)
    with ExitStack() as stack:
        predicts: dict[str, Predict] = {"engine": predict}
        if baseline_key not in _known:
            with of_the_course("The trained model"):
                runner = torch_runners(workload.load_model())[BASELINE]
            predicts[BASELINE] = stack.enter_context(runner.open())
        hits = count_hits(predicts, loader)
    if BASELINE in hits:
        _known[baseline_key] = hits[BASELINE]
    baseline = _known[baseline_key]
    return Compared(
        baseline=accuracy_stats(baseline),
        engine=accuracy_stats(hits["engine"]),
        change=accuracy_change(baseline, hits["engine"]),
    )


def fresh_accuracy(
    engines: Mapping[str, Path], images: int
) -> dict[str, tuple[AccuracyStats, AccuracyChange | None]]:
    """Return the accuracy of PyTorch FP32 and of each engine, and the change against PyTorch.

    Args:
        engines: precision, such as "fp16", to engine file.
        images: how many fresh validation images; all runners see the same ones.

    Returns:
        By the runner's name, "pytorch-fp32" or "tensorrt-fp16"; PyTorch's change is None.

    Raises:
        EngineError: if an engine cannot be used here.
        InputError, InferenceError: if one cannot run the images, or gives no finite logits.
    """
    workload = load_workload()
    hits = _fresh_hits(workload, _runners(workload, engines), engines, images)
    return {name: (accuracy_stats(found), _change(hits, name)) for name, found in hits.items()}


def measure_for_report(
    engines: Mapping[str, Path],
    images: int,
    settings: BenchmarkSettings,
    onnx: Path | None = None,
) -> Results:
    """Measure all engines and PyTorch, host to host, and return what lab 6 reports on.

    Args:
        engines: precision, such as "fp16", to engine file.
        images: how many fresh validation images accuracy is measured on.
        settings: what to time, and how often.
        onnx: the file that the engines were built from, for the table of sizes.

    Raises:
        EngineError, InputError, InferenceError: as `fresh_accuracy` does.
    """
    workload = load_workload()
    runners = _runners(workload, engines, onnx)
    facts = WorkloadFacts(
        name=workload.name,
        model=workload.arch,
        classes=len(workload.classes),
        input_shape=workload.input_shape,
        split="validation",
        seed=FRESH_SEED,
        images=images,
    )
    results = benchmark_runners(runners, None, facts, settings)
    hits = _fresh_hits(workload, runners, engines, images)
    for entry in results.runners:
        entry.accuracy = accuracy_stats(hits[entry.name])
        entry.accuracy_change = _change(hits, entry.name)
    results.targets = judge(results)
    return results


def _runners(
    workload: Workload, engines: Mapping[str, Path], onnx: Path | None = None
) -> dict[str, Runner]:
    """Return PyTorch's runners and one for each engine, named by precision."""
    sizes = {} if onnx is None else {"onnx": onnx.stat().st_size}
    runners = torch_runners(workload.load_model())
    for precision, path in engines.items():
        with TensorRTInference(path) as model:
            max_batch = model.max_batch
        runners[f"tensorrt-{precision}"] = Runner(
            kind="tensorrt",
            precision=precision,
            open=lambda path=path: TensorRTInference(path),  # type: ignore[misc]
            max_batch=max_batch,
            sizes=Sizes(engine=path.stat().st_size, **sizes),
        )
    return runners


def _fresh_hits(
    workload: Workload, runners: Mapping[str, Runner], engines: Mapping[str, Path], images: int
) -> dict[str, Hits]:
    """Return what became of each image with each runner, running those that are not known yet."""
    contents = {
        f"tensorrt-{precision}": hashlib.sha256(path.read_bytes()).hexdigest()
        for precision, path in engines.items()
    }
    keys = {
        name: (workload.name, workload.arch, contents.get(name, name), images, FRESH_SEED)
        for name in runners
    }
    missing = {name: runner for name, runner in runners.items() if keys[name] not in _known}
    if missing:
        batch = min(runner.max_batch or LARGEST_BATCH for runner in missing.values())
        loader = workload.loader("validation", images, FRESH_SEED, min(batch, LARGEST_BATCH))
        with ExitStack() as stack:
            predicts = {name: stack.enter_context(r.open()) for name, r in missing.items()}
            for name, hits in count_hits(predicts, loader).items():
                _known[keys[name]] = hits
    return {name: _known[key] for name, key in keys.items()}


def _change(hits: Mapping[str, Hits], name: str) -> AccuracyChange | None:
    return None if name == BASELINE else accuracy_change(hits[BASELINE], hits[name])
