"""Evidence for lab 2 from the notebook: its build functions, their return values, the engines."""

import secrets
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trtlab.backend import IS_EMULATED
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence2 import (
    Build,
    DynamicEngineEvidence,
    EngineFacts,
    Fp16EngineEvidence,
    RunFacts,
    SizeEvidence,
    SpeedEvidence,
    SpeedFacts,
)
from trtlab.errors import TrtLabError
from trtlab.infer import TensorRTInference
from trtlab.inspect import inspect_engine
from trtlab.lab.artifacts import provided
from trtlab.lab.recording import call_build
from trtlab.lab.session import Names, collector, missing
from trtlab.lab.speed import speedup_over_pytorch
from trtlab.thresholds import THRESHOLDS
from trtlab.workloads import load_workload

FP16_ENGINE, DYNAMIC_ENGINE = "resnet50_fp16.engine", "resnet50_dynamic_fp16.engine"
DYNAMIC_BATCHES = (1, 5, 32)
"""The smallest, one that is no power of two, and the largest of the profile."""
SPEED_BATCHES = {1: FP16_ENGINE, 8: DYNAMIC_ENGINE}


@collector("2.1")
def fp16_engine(names: Names) -> Fp16EngineEvidence:
    """Collect what build_engine_fp16 does, and what the notebook made with it."""
    name = "build_engine_fp16"
    function = names.get(name)
    batches = (THRESHOLDS.fixed_profile_batch,)
    if not callable(function):
        nothing = Build(attempt=missing(name))
        return Fp16EngineEvidence(
            attempt=nothing.attempt,
            engine=EngineFacts(file=FP16_ENGINE, runs=[]),
            other_model=nothing,
            unparsable=nothing,
            failed=nothing,
        )
    other_model = call_build(function, name)
    return Fp16EngineEvidence(
        attempt=_written(other_model),
        engine=_engine_facts(names, FP16_ENGINE, "engine_fp16", batches),
        other_model=other_model,
        unparsable=call_build(function, name, parsable=False),
        failed=call_build(function, name, fail=True),
    )


@collector("2.2")
def dynamic_engine(names: Names) -> DynamicEngineEvidence:
    """Collect what build_engine_dynamic does, and what the notebook made with it."""
    name = "build_engine_dynamic"
    function = names.get(name)
    if not callable(function):
        nothing = Build(attempt=missing(name))
        return DynamicEngineEvidence(
            attempt=nothing.attempt,
            engine=EngineFacts(file=DYNAMIC_ENGINE, runs=[]),
            other_model=nothing,
        )
    other_model = call_build(function, name)
    return DynamicEngineEvidence(
        attempt=_written(other_model),
        engine=_engine_facts(names, DYNAMIC_ENGINE, "engine_dynamic", DYNAMIC_BATCHES),
        other_model=other_model,
    )


@collector("2.3")
def fp16_speedup(names: Names) -> SpeedEvidence:
    """Measure the engines in the current folder."""
    return SpeedEvidence(
        attempt=Attempt(stage="done", what="the FP16 engines"),
        emulated=IS_EMULATED,
        speedups=[_speed_facts(file, batch) for batch, file in SPEED_BATCHES.items()],
    )


@collector("2.4")
def fp16_size(names: Names) -> SizeEvidence:
    """Weigh the FP16 engine in the current folder and the course's FP32 engine."""
    path = Path(FP16_ENGINE)
    return SizeEvidence(
        attempt=Attempt(stage="done", what=FP16_ENGINE),
        emulated=IS_EMULATED,
        file=FP16_ENGINE,
        fp16_bytes=path.stat().st_size or None if path.is_file() else None,
        fp32_bytes=provided("resnet50_fp32.engine").stat().st_size,
    )


def _written(build: Build) -> Attempt:
    """Return the attempt that a check's evidence begins with.

    An exception is for the check to explain, which knows what was asked of TensorRT before it.
    """
    if build.attempt.stage == "raised":
        return Attempt(stage="done", what=build.attempt.what)
    return build.attempt


def _engine_facts(names: Names, file: str, variable: str, batches: tuple[int, ...]) -> EngineFacts:
    """Look into an engine file and run it; `variable` holds what the function returned."""
    path = Path(file)
    if not path.is_file():
        return EngineFacts(
            file=file, runs=[RunFacts(batch=b, problem=f"no {file}") for b in batches]
        )
    plan = path.read_bytes()
    returned: Any = "not called"
    if variable in names:
        value = _plan_bytes(names[variable])
        returned = (
            "nothing"
            if names[variable] is None
            else "no plan"
            if value is None
            else "the file"
            if value == plan
            else "another plan"
        )
    facts = EngineFacts(file=file, size=len(plan), returned=returned, runs=[])
    try:
        report = inspect_engine(path)
    except TrtLabError as error:
        facts.load_error = str(error)
        facts.runs = [
            RunFacts(batch=batch, problem="the engine does not load") for batch in batches
        ]
        return facts
    facts.precisions = report.precision_counts
    facts.runs = _run(path, batches, _reference(names))
    profile = next((shapes for shapes in report.profiles if shapes.profile == 0), None)
    shape = next(tensor.shape for tensor in report.tensors if tensor.mode == "input")
    dims = (profile.min, profile.opt, profile.max) if profile else (shape, shape, shape)
    facts.profile = (dims[0][0], dims[1][0], dims[2][0])
    return facts


def _plan_bytes(value: Any) -> bytes | None:
    """Return the bytes of a serialized engine, of whatever type; None for anything else."""
    try:
        return bytes(memoryview(value))
    except TypeError:
        return None


def _reference(names: Names) -> onnxruntime.InferenceSession:
    """Open the ONNX file that the notebook builds from."""
    path = names.get("ONNX")
    if not isinstance(path, str) or not Path(path).is_file():
        path = str(provided("resnet50_simplified.onnx"))
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _run(
    path: Path, batches: tuple[int, ...], reference: onnxruntime.InferenceSession
) -> list[RunFacts]:
    """Run an engine on images that were never seen before, and compare with ONNX Runtime."""
    images = _fresh_images(max(batches))
    expected = reference.run(None, {reference.get_inputs()[0].name: images})[0]
    try:
        with TensorRTInference(path) as model:
            return [_compare(model, images[:batch], expected[:batch]) for batch in batches]
    except TrtLabError as error:
        return [RunFacts(batch=batch, problem=str(error)) for batch in batches]


def _fresh_images(count: int) -> NDArray[np.float32]:
    """Return validation images of a seed that nobody has met, (count, 3, 224, 224)."""
    seed = secrets.randbelow(2**31)
    images, _ = next(iter(load_workload().loader("validation", count, seed, batch_size=count)))
    return images.numpy()


def _compare(
    model: TensorRTInference, images: NDArray[np.float32], expected: NDArray[np.float32]
) -> RunFacts:
    try:
        found = model.infer(images)
    except TrtLabError as error:
        return RunFacts(batch=len(images), problem=str(error))
    if found.shape != expected.shape:
        problem = f"the output has shape {found.shape}, not {expected.shape}"
        return RunFacts(batch=len(images), problem=problem)
    if not np.isfinite(found).all():
        return RunFacts(batch=len(images))
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return RunFacts(batch=len(images), relative_error=difference)


def _speed_facts(file: str, batch: int) -> SpeedFacts:
    path = Path(file)
    if not path.is_file():
        return SpeedFacts(file=file, batch=batch, problem=f"there is no {file}")
    try:
        counts = inspect_engine(path).precision_counts
        speedup = speedup_over_pytorch(path, batch)
    except TrtLabError as error:
        return SpeedFacts(file=file, batch=batch, problem=str(error))
    is_fp16 = counts.get("FP16", 0) > sum(counts.values()) / 2
    return SpeedFacts(file=file, batch=batch, is_fp16=is_fp16, speedup=speedup)
