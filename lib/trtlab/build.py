"""ONNX to TensorRT engine: parse, configure, calibrate, build, and write engine and sidecar.

What to build is said by a BuildSpec (spec.py). Loading the file again is engines.py's.
"""

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import onnx

from trtlab.backend import IS_EMULATED, NAME, compat, device_context, trt
from trtlab.engines import CalibrationFacts, EngineSidecar, current_gpu, sidecar_path
from trtlab.errors import BuildError, CalibrationError, OutputError, TrtLabError
from trtlab.export import load_onnx
from trtlab.files import atomic_path, sha256, write_bytes
from trtlab.logger import LOGGER, Messages
from trtlab.progress import progress_bar
from trtlab.spec import BuildSpec, Precision, ShapeProfile, parse_precision

__all__ = ["BuildSpec", "Precision", "ShapeProfile", "build_engine", "parse_precision"]


def build_engine(
    onnx_path: str | Path,
    engine_path: str | Path,
    spec: BuildSpec | None = None,
    *,
    calibrator: Any = None,
    timing_cache: str | Path | None = None,
) -> EngineSidecar:
    """Build an engine from an ONNX file; write it and its sidecar, both or neither.

    Args:
        onnx_path: a model with float32 inputs; only the batch may be dynamic.
        engine_path: where to write the plan; the sidecar goes to the same name plus ".json".
        spec: None means BuildSpec(): FP16, batches 1 to 32.
        calibrator: a trt.IInt8Calibrator, see calibrate.py; needed for INT8 and for nothing else.
        timing_cache: file that keeps the measured tactic times. It is read if it exists and
            updated after the build; one of another GPU or version of TensorRT is replaced.

    Raises:
        ModelError: if `onnx_path` is not a valid ONNX file.
        BuildError: if the spec does not fit the model, or TensorRT cannot parse or build it.
        CalibrationError: if the calibrator failed, or was not asked for a single batch.
        OutputError: if the engine cannot be written, which is tried before the build begins.
    """
    spec = spec or BuildSpec()
    _require_calibrator(spec, calibrator)
    model = load_onnx(onnx_path)
    start = time.perf_counter()
    # The engine takes its name first: a sidecar without its engine would be the worse half.
    with (
        atomic_path(sidecar_path(engine_path)) as sidecar_file,
        atomic_path(engine_path) as engine_file,
        device_context(),
        LOGGER.listen() as messages,
    ):
        plan, calibration = _build(model, str(onnx_path), spec, calibrator, timing_cache, messages)
        gpu, compute_capability = current_gpu()
        sidecar = EngineSidecar(
            backend=NAME,
            tensorrt_version=trt.__version__,
            gpu=gpu,
            compute_capability=compute_capability,
            onnx_sha256=sha256(onnx_path),
            engine_sha256=hashlib.sha256(plan).hexdigest(),
            engine_bytes=len(plan),
            spec=spec,
            build_seconds=time.perf_counter() - start,
            calibration=calibration,
            warnings=(*messages.warnings, *messages.errors),
        )
        engine_file.write_bytes(plan)
        sidecar_file.write_text(sidecar.model_dump_json(indent=2) + "\n")
    return sidecar


def _build(
    model: onnx.ModelProto,
    source: str,
    spec: BuildSpec,
    calibrator: Any,
    timing_cache: str | Path | None,
    messages: Messages,
) -> tuple[bytes, CalibrationFacts | None]:
    """Return the serialized engine and what it was calibrated on."""
    try:
        builder = trt.Builder(LOGGER)
    except (RuntimeError, TypeError) as error:  # pybind11's way of passing on a null pointer
        raise BuildError(f"TensorRT cannot start a build{messages.because()}") from error
    network = builder.create_network(compat.explicit_batch_flags(trt))
    # The parser owns the weights, so it has to live until the build is done.
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model.SerializeToString()):
        raise BuildError(f"TensorRT cannot parse {source}{_parser_errors(parser, model, messages)}")

    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec.workspace_mib << 20)
    # Without it, the engine inspector tells nothing but names.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if spec.optimization_level is not None:
        config.builder_optimization_level = spec.optimization_level
    compat.share_profiles(trt, config)
    _set_precision(config, network, spec)
    _add_profiles(builder, config, network, spec.profiles)
    from_cache = calibrator is not None and _set_calibrator(builder, config, network, calibrator)
    if timing_cache is not None:
        _read_timing_cache(config, Path(timing_cache), messages)

    plan = _run(builder, network, config)
    calibration = None if calibrator is None else _calibration_facts(calibrator, from_cache)
    if plan is None:
        raise BuildError(
            f"TensorRT could not build {source} in {spec.precision.value}{messages.because()}"
            f"{_memory_advice(messages)}"
        )
    if timing_cache is not None:
        _write_timing_cache(config, Path(timing_cache), messages)
    return bytes(plan), calibration


def _parser_errors(parser: Any, model: onnx.ModelProto, messages: Messages) -> str:
    if not parser.num_errors:
        return messages.because()
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = "model"
        if 0 <= error.node() < len(model.graph.node):
            at = model.graph.node[error.node()]
            node = f"node {at.name or error.node()} ({at.op_type})"
        found.append(f"({index + 1}) {node}: {' '.join(error.desc().split())}")
    return ": " + " ".join(found)


def _set_precision(config: Any, network: Any, spec: BuildSpec) -> None:
    if spec.precision is Precision.FP32:
        config.clear_flag(trt.BuilderFlag.TF32)  # it is on by default
    if spec.precision in (Precision.FP16, Precision.INT8):
        config.set_flag(trt.BuilderFlag.FP16)
    if spec.precision is Precision.INT8:
        config.set_flag(trt.BuilderFlag.INT8)
    if spec.layer_precisions:
        # STRICT_TYPES was its name before 8.2.
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    types = {
        Precision.FP32: trt.DataType.FLOAT,
        Precision.FP16: trt.DataType.HALF,
        Precision.INT8: trt.DataType.INT8,
    }
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for pattern, precision in spec.layer_precisions.items():
        # Names such as "(Unnamed Layer* 3) [Shuffle]" mean themselves, not a pattern.
        matches = [
            layer for layer in layers if layer.name == pattern or fnmatchcase(layer.name, pattern)
        ]
        if not matches:
            names = ", ".join(layer.name for layer in layers)
            raise BuildError(f"No layer is called {pattern!r}. The network's layers are: {names}.")
        for layer in filter(_computes_on_floats, matches):
            layer.precision = types[precision]


def _computes_on_floats(layer: Any) -> bool:
    """Say whether a precision means anything to a layer: not to shapes, indices and constants."""
    return layer.type != trt.LayerType.CONSTANT and all(
        layer.get_output(index).dtype in (trt.DataType.FLOAT, trt.DataType.HALF)
        for index in range(layer.num_outputs)
    )


def _add_profiles(
    builder: Any, config: Any, network: Any, profiles: tuple[ShapeProfile, ...]
) -> None:
    fixed = _fixed_batch(network)
    if fixed is not None:
        if any((profile.min, profile.max) != (fixed, fixed) for profile in profiles):
            raise BuildError(
                f"The model's batch is fixed at {fixed}, but the profiles (min/opt/max) are "
                f"{', '.join(map(str, profiles))}. Export it with a dynamic batch, or build it "
                "with profiles=()."
            )
        return
    if not profiles:
        raise BuildError("The model's batch is dynamic: give at least one ShapeProfile.")
    for wanted in profiles:
        profile = _profile(builder, network, wanted)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(f"TensorRT does not accept the profile {wanted}.")


def _fixed_batch(network: Any) -> int | None:
    """Return the batch that the network is fixed at, None if it is dynamic."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if not inputs or not all(tuple(tensor.shape) for tensor in inputs):
        raise BuildError(
            "The model has no input with a batch dimension, so that there is nothing to run it on."
        )
    for tensor in inputs:
        if -1 in tuple(tensor.shape)[1:]:
            raise BuildError(
                f"Input {tensor.name!r} has shape {tuple(tensor.shape)}; only the first dimension, "
                "the batch, may be dynamic. Export the model with fixed image sizes."
            )
    batches = {tensor.shape[0] for tensor in inputs}
    return None if -1 in batches else max(batches)


def _profile(builder: Any, network: Any, batches: ShapeProfile) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.shape[0] == -1:
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(
                tensor.name,
                (batches.min, *rest),
                (batches.opt, *rest),
                (batches.max, *rest),
            )
    return profile


def _require_calibrator(spec: BuildSpec, calibrator: Any) -> None:
    if spec.precision is Precision.INT8 and calibrator is None:
        raise BuildError(
            "INT8 needs a calibrator, which shows TensorRT representative images: pass "
            "calibrator=EntropyCalibrator(...) from trtlab.calibrate. One whose cache file exists "
            "needs no images."
        )
    if spec.precision is not Precision.INT8 and calibrator is not None:
        raise BuildError(
            f"A calibrator is for INT8, but the spec's precision is {spec.precision.value}. "
            "Set precision to int8, or leave the calibrator out."
        )


def _set_calibrator(builder: Any, config: Any, network: Any, calibrator: Any) -> bool:
    """Attach the calibrator; return whether its scales come from its cache."""
    # Asked here first, because what it raises inside the build would be lost.
    from_cache = bool(calibrator.read_calibration_cache())
    _raise_error_of(calibrator)
    config.int8_calibrator = calibrator
    batch = calibrator.get_batch_size()
    fixed = _fixed_batch(network)
    if fixed is not None:
        if batch != fixed:
            raise BuildError(
                f"The model's batch is fixed at {fixed}, but the calibrator's is {batch}. "
                f"Calibrate with batches of {fixed}."
            )
        return from_cache
    # TensorRT calibrates at a profile's opt shape and reads that much, whatever the batch's size.
    profile = _profile(builder, network, ShapeProfile(min=batch, opt=batch, max=batch))
    if not config.set_calibration_profile(profile):
        raise BuildError(f"TensorRT does not accept a calibration batch of {batch}.")
    return from_cache


def _calibration_facts(calibrator: Any, from_cache: bool) -> CalibrationFacts:
    _raise_error_of(calibrator)
    batches = getattr(calibrator, "batches_consumed", None)  # trtlab's calibrators count
    if batches == 0 and not from_cache:
        raise CalibrationError(
            "TensorRT was shown no calibration batch, so the ranges mean nothing. "
            "Has this calibrator's iterator been used up by an earlier build? Make a new one."
        )
    cache = getattr(calibrator, "cache_path", None)
    return CalibrationFacts(
        calibrator=type(calibrator).__name__,
        batches=batches,
        images=getattr(calibrator, "images_consumed", None),
        seconds=getattr(calibrator, "seconds", None),
        from_cache=from_cache,
        cache_sha256=sha256(cache) if cache is not None and Path(cache).is_file() else None,
    )


def _raise_error_of(calibrator: Any) -> None:
    error = getattr(calibrator, "error", None)
    if error is None:
        return
    if isinstance(error, Exception) and not isinstance(error, TrtLabError):
        raise CalibrationError(f"The calibrator failed: {type(error).__name__}: {error}") from error
    raise error


def _read_timing_cache(config: Any, path: Path, messages: Messages) -> None:
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return
    messages.add(
        "warning",
        f"The timing cache {path} is damaged, or of another GPU or version of TensorRT than "
        f"{trt.__version__}: it was not used, and replaced.",
    )
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timing_cache(config: Any, path: Path, messages: Messages) -> None:
    try:
        write_bytes(path, bytes(config.get_timing_cache().serialize()))
    except OutputError as error:  # it only saves time: the engine is worth more
        messages.add("warning", str(error))


def _run(builder: Any, network: Any, config: Any) -> Any:
    """Return the serialized engine (trt.IHostMemory), or None if the build failed."""
    total = 100 if compat.reports_progress(config) else None
    with _interrupts_kept() as interrupted, progress_bar("building engine", total) as advance:
        if total is not None:
            compat.report_progress(trt, config, advance, total, lambda: not interrupted())
        return builder.build_serialized_network(network, config)


@contextmanager
def _interrupts_kept() -> Iterator[Callable[[], bool]]:
    """Keep Ctrl-C until the block ends, then raise it; yield a function that tells if it came.

    TensorRT calls back into Python (logger, calibrator, monitor), and its binding swallows what
    is raised there: the interrupt would be lost and the build go on.
    """
    if IS_EMULATED or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda number, frame: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
    if came.is_set():
        raise KeyboardInterrupt


def _memory_advice(messages: Messages) -> str:
    text = " ".join(messages.errors).lower()
    if "out of memory" not in text and "outofmemory" not in text:
        return ""
    return (
        " The GPU ran out of memory: lower the largest batch or workspace_mib, or end other "
        "programs on it."
    )
