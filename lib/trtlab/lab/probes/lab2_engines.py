"""Looks into an engine file that a student's function made, and runs it; lab 2.

The file is opened by a bench. What it computes is compared with a model that is ours.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trtlab.checks.evidence2 import EngineFacts, RunFacts
from trtlab.errors import TrtLabError, of_the_course
from trtlab.inspect import EngineReport
from trtlab.lab.bench import Bench
from trtlab.lab.exchange import is_regular
from trtlab.lab.onnx_facts import Runner


def engine_facts(
    bench: Bench,
    path: Path,
    batches: Sequence[int],
    images: NDArray[np.float32],
    reference: Runner,
) -> EngineFacts:
    """Inspect an engine, and compare its answers with those of a reference.

    Args:
        bench: where it is loaded.
        path: where it should be.
        batches: to run it at; none: the one that it is tuned for.
        images: as many as the largest batch, (N, 3, 224, 224).
        reference: maps images to the expected logits.
    """
    size = file_size(path)
    if size is None:
        return EngineFacts(file=path.name, runs=_none_of(batches, f"there is no {path.name}"))
    try:
        report = bench.inspect(path)
    except TrtLabError as error:
        runs = _none_of(batches, "the engine does not load")
        return EngineFacts(file=path.name, size=size, load_error=str(error), runs=runs)
    profile = _profile(report)
    if not batches:
        batches = (profile[1] if profile and 0 < profile[1] <= len(images) else 1,)
    with of_the_course("The model that an engine is compared with"):
        expected = reference(images[: max(batches)])
    return EngineFacts(
        file=path.name,
        size=size,
        precisions=report.precision_counts,
        profile=profile,
        runs=[_run(bench, path, images[:batch], expected[:batch]) for batch in batches],
    )


def file_size(path: Path) -> int | None:
    """Return the bytes of a regular file; None if there is none."""
    return path.lstat().st_size if is_regular(path) else None


def _none_of(batches: Sequence[int], problem: str) -> list[RunFacts]:
    return [RunFacts(batch=batch, problem=problem) for batch in batches]


def _profile(report: EngineReport) -> tuple[int, int, int] | None:
    """Return the batches (min, opt, max) of profile 0; of a fixed shape, its batch three times."""
    shapes = [(p.min, p.opt, p.max) for p in report.profiles if p.profile == 0]
    shapes += [(t.shape, t.shape, t.shape) for t in report.tensors if t.mode == "input"]
    if not shapes or not all(shapes[0]):
        return None
    low, best, high = shapes[0]
    return low[0], best[0], high[0]


def _run(
    bench: Bench, path: Path, images: NDArray[np.float32], expected: NDArray[np.float32]
) -> RunFacts:
    batch = len(images)
    try:
        found = bench.run_engine(path, images, batch)
    except TrtLabError as error:
        return RunFacts(batch=batch, problem=str(error))
    if found.shape != expected.shape:
        problem = f"the output has shape {found.shape}, not {expected.shape}"
        return RunFacts(batch=batch, problem=problem)
    if not np.isfinite(found).all():
        return RunFacts(batch=batch)
    apart = np.abs(found.astype(np.float64) - expected).max()
    return RunFacts(batch=batch, relative_error=float(apart / np.abs(expected).max()))
