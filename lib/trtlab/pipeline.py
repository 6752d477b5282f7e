"""The course's steps put together: a model to ONNX, to engines, to a results file.

The steps themselves are export.py, build.py, calibrate.py and benchmark.py; here is only what the
command line and the demo need of all of them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from trtlab.backend import IS_EMULATED
from trtlab.benchmark import Runner, benchmark_runners
from trtlab.calibrate import (
    BaseCalibrator,
    EntropyCalibrator,
    MinMaxCalibrator,
    calibration_batches,
)
from trtlab.engines import read_sidecar
from trtlab.errors import CalibrationError, EngineError
from trtlab.export import (
    DEFAULT_OPSET,
    SimplifyReport,
    batch_dimension,
    export_onnx,
    load_onnx,
    simplify_onnx,
    verify_onnx,
)
from trtlab.files import atomic_path
from trtlab.infer import TensorRTInference
from trtlab.models import ARCHITECTURES
from trtlab.progress import progress_bar
from trtlab.results import BenchmarkSettings, Results, Sizes, WorkloadFacts
from trtlab.spec import ShapeProfile
from trtlab.torch_infer import torch_predictor
from trtlab.workloads import Workload, load_workload

ENGINE_SUFFIXES = (".engine", ".trt")
CALIBRATORS: dict[str, type[BaseCalibrator]] = {
    "entropy": EntropyCalibrator,
    "minmax": MinMaxCalibrator,
}


def workload_with_model(workload: str, model: str) -> Workload:
    """Return the workload with the model that the command line calls `model`.

    "auto" and "resnet50" are the workload's own ResNet-50, which for the digits is the slim one
    where there is no GPU to train the full one on; any other text is an architecture or the path
    of a weights file.

    Raises:
        DataError, ModelError: as `load_workload`.
    """
    if model in ("auto", "resnet50"):
        return load_workload(workload)
    if model in ARCHITECTURES:
        return load_workload(workload, arch=model)
    return load_workload(workload, weights=model)


@dataclass(frozen=True)
class Conversion:
    """What `convert_to_onnx` did: the node counts, and the differences from PyTorch by batch."""

    simplified: SimplifyReport | None
    max_abs_error: dict[int, float]


def convert_to_onnx(
    model: nn.Module,
    path: Path,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    batch_size: int = 1,
    dynamic_batch: bool = True,
    opset: int = DEFAULT_OPSET,
    simplify: bool = True,
) -> Conversion:
    """Export `model`, simplify it and compare it with PyTorch; `path` appears if all went well.

    Raises:
        ExportError: if a step fails or ONNX Runtime and PyTorch disagree.
        OutputError: if the file cannot be written.
    """
    steps = 3 if simplify else 2
    with atomic_path(path) as temporary, progress_bar("exporting to ONNX", steps) as advance:
        export_onnx(
            model,
            temporary,
            input_shape=input_shape,
            # Tracing at batch 1 can bake the 1 into the graph, so a dynamic batch is traced at 2.
            batch_size=max(batch_size, 2) if dynamic_batch else batch_size,
            dynamic_batch=dynamic_batch,
            opset=opset,
        )
        advance(1)
        simplified = None
        if simplify:
            simplified = simplify_onnx(temporary)
            advance(1)
        batches = (1, 2, 5) if dynamic_batch else (batch_size,)
        errors = verify_onnx(model, temporary, batch_sizes=batches)
        advance(1)
    return Conversion(simplified, errors)


@contextmanager
def fresh_calibration(
    algorithm: str, dataset: Dataset[Any], batch_size: int, cache_path: Path
) -> Iterator[BaseCalibrator]:
    """Yield a calibrator over `dataset`; a cache that is there is replaced, not used.

    A calibrator that finds a cache file takes its scales from there, and a file left by an earlier
    run may belong to other images. `cache_path` is written if the block succeeds.

    Raises:
        CalibrationError: if there is no such algorithm, or too few images for one batch.
    """
    batches = calibration_batches(dataset, batch_size)
    with atomic_path(cache_path) as temporary:
        temporary.unlink()  # an empty file would count as a damaged cache
        with calibrator_class(algorithm)(batches, batch_size, temporary) as calibrator:
            yield calibrator


def calibrator_class(algorithm: str) -> type[BaseCalibrator]:
    """Return the calibrator called "entropy" or "minmax". Raises: CalibrationError."""
    if algorithm not in CALIBRATORS:
        raise CalibrationError(
            f"There is no calibrator {algorithm!r}; choose one of {', '.join(CALIBRATORS)}."
        )
    return CALIBRATORS[algorithm]


def batch_profiles(onnx: Path, opt: int | None, largest: int | None) -> tuple[ShapeProfile, ...]:
    """Return the profiles for an ONNX file: none if its batch is fixed, else 1 to `largest`.

    Args:
        onnx: the model; its first input tells whether the batch is fixed.
        opt: batch to tune for; None takes 8, or the largest if that is smaller.
        largest: None takes 32.

    Raises:
        ModelError: if the file is no ONNX model.
        BuildError: if the batch is fixed and another was asked for.
    """
    fixed = batch_dimension(load_onnx(onnx))
    if fixed and all(wanted in (None, fixed) for wanted in (opt, largest)):
        return ()
    largest = largest or 32
    # A fixed batch that does not fit what was asked for is refused by build_engine.
    return (ShapeProfile(min=1, opt=opt or min(8, largest), max=largest),)


def find_engines(path: Path) -> list[Path]:
    """Return the engine files that `path` names or holds, sorted.

    Raises:
        EngineError: if there are none.
    """
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in ENGINE_SUFFIXES)
        if found:
            return found
        there = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing at all"
        raise EngineError(
            f"The folder {path} holds no engine ({' or '.join(ENGINE_SUFFIXES)}); found {there}. "
            "Build one: trtlab convert-to-tensorrt"
        )
    if not path.is_file():
        raise EngineError(f"There is no engine {path}. Build one: trtlab convert-to-tensorrt")
    return [path]


def engine_runners(engines: Iterable[Path], onnx: Path | None = None) -> dict[str, Runner]:
    """Return a benchmark runner for each engine file, named by precision, else by file name.

    Raises:
        EngineError: if one cannot be used here.
    """
    runners: dict[str, Runner] = {}
    for path in engines:
        sidecar = read_sidecar(path)
        precision = sidecar.spec.precision.value if sidecar else "unknown"
        name = f"tensorrt-{precision}"
        if sidecar is None or name in runners:
            name = f"tensorrt-{path.stem}"
        with TensorRTInference(path) as model:  # an unusable engine is found before the work starts
            max_batch = model.max_batch
        runners[name] = Runner(
            kind="tensorrt",
            precision=precision,
            open=lambda path=path: TensorRTInference(path),  # type: ignore[misc]
            max_batch=max_batch,
            sizes=Sizes(engine=path.stat().st_size, onnx=onnx.stat().st_size if onnx else None),
            build_seconds=sidecar.build_seconds if sidecar else None,
        )
    return runners


def torch_runners(model: nn.Module) -> dict[str, Runner]:
    """Return the PyTorch baselines: strict FP32, and TF32 where a GPU has it.

    PyTorch runs convolutions in TF32 by default; a speed-up over that is another number than one
    over strict FP32, so both are measured.
    """
    on_gpu = torch.cuda.is_available() and not IS_EMULATED
    tensors = [*model.parameters(), *model.buffers()]
    sizes = Sizes(weights=sum(tensor.nbytes for tensor in tensors))

    def runner(device: str, tf32: bool) -> Runner:
        return Runner(
            kind="pytorch",
            precision="tf32" if tf32 else "fp32",
            open=lambda: torch_predictor(model, device, tf32),
            sizes=sizes,
        )

    if not on_gpu:
        return {"pytorch-fp32": runner("cpu", tf32=False)}
    return {
        "pytorch-fp32": runner("cuda", tf32=False),
        "pytorch-tf32": runner("cuda", tf32=True),
    }


def measure(
    workload: Workload,
    model: nn.Module,
    engines: Iterable[Path],
    settings: BenchmarkSettings,
    *,
    images: int,
    seed: int = 0,
    onnx: Path | None = None,
    save: Callable[[Results], object] | None = None,
) -> Results:
    """Benchmark engine files against PyTorch on a fresh validation set of `images` images.

    Args:
        workload: gives the validation images.
        model: the PyTorch baseline.
        engines: engine files.
        settings: what to time, and how often.
        images: size of the validation set.
        seed: of the validation set.
        onnx: the file that the engines were built from, for the table of sizes.
        save: called with the results so far after every step.

    Raises:
        EngineError, InputError, InferenceError, DataError: as the steps do.
    """
    runners = torch_runners(model) | engine_runners(engines, onnx)
    facts = WorkloadFacts(
        name=workload.name,
        model=workload.arch,
        classes=len(workload.classes),
        input_shape=workload.input_shape,
        split="validation",
        seed=seed,
        images=images,
    )
    loader = workload.loader("validation", size=images, seed=seed)
    return benchmark_runners(runners, loader, facts, settings, save)
