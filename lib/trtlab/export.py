"""PyTorch to ONNX: export with a dynamic batch, simplify, and prove that the graph still computes
what the PyTorch model computes. Building an engine from the file is build.py's.
"""

import contextlib
import copy
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import NDArray

from trtlab.errors import ExportError, ModelError
from trtlab.files import atomic_path, write_bytes

DEFAULT_OPSET = 17
"""The newest opset that TensorRT 8.6 parses; TensorRT 10 takes it as well."""

OPSETS = range(13, 21)
"""What PyTorch's TorchScript exporter writes; above 17 the file is for TensorRT 10 only."""


def export_onnx(
    model: torch.nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] = (3, 224, 224),
    batch_size: int = 2,
    dynamic_batch: bool = True,
    opset: int = DEFAULT_OPSET,
    input_name: str = "input",
    output_name: str = "output",
) -> Path:
    """Export a model of one float32 input and one output to an ONNX file, and check the file.

    Args:
        model: in eval mode, on any device.
        path: where to write.
        input_shape: of one sample, without the batch: (C, H, W) for images.
        batch_size: of the example input. With `dynamic_batch` it must be at least 2, because
            tracing may take a dimension of 1 for a constant.
        dynamic_batch: leave the batch open, as dimension "batch"; else it is fixed at `batch_size`.
        opset: of the ai.onnx operators, see `OPSETS`.
        input_name: name of the graph's input.
        output_name: name of the graph's output.

    Raises:
        ExportError: if the arguments do not make an export, or PyTorch cannot trace the model.
        OutputError: if the file cannot be written.
    """
    _require_eval(model)
    if opset not in OPSETS:
        raise ExportError(
            f"Opset {opset} cannot be exported; use {OPSETS[0]} to {OPSETS[-1]}. "
            f"The default {DEFAULT_OPSET} suits TensorRT 8.6 and 10."
        )
    if batch_size < 1 + dynamic_batch:
        raise ExportError(
            f"batch_size is {batch_size}; it must be at least {1 + dynamic_batch}"
            + (" to export a dynamic batch." if dynamic_batch else ".")
        )
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    example = torch.randn(batch_size, *input_shape, device=device)  # (N, C, H, W)
    with atomic_path(path) as temporary:
        try:
            with warnings.catch_warnings():
                # Both announce the exporter's successor, whose graphs TensorRT 8.6 cannot parse.
                warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based ONNX")
                warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
                torch.onnx.export(
                    model,
                    (example,),
                    temporary,
                    dynamo=False,  # the default of torch >= 2.9 needs onnxscript and a newer opset
                    opset_version=opset,
                    do_constant_folding=True,
                    input_names=[input_name],
                    output_names=[output_name],
                    dynamic_axes={name: {0: "batch"} for name in (input_name, output_name)}
                    if dynamic_batch
                    else None,
                )
        except OSError:
            raise
        except Exception as error:  # tracing runs the model's own code, which may raise anything
            raise ExportError(
                f"PyTorch could not export {type(model).__name__} for an input of shape "
                f"{tuple(example.shape)}: {error}"
            ) from error
        _check(onnx.load(temporary), f"The export of {type(model).__name__}")
    return Path(path)


@dataclass(frozen=True)
class SimplifyReport:
    """What simplification did to a graph: operator type -> number of nodes, before and after."""

    ops_before: dict[str, int]
    ops_after: dict[str, int]

    @property
    def nodes_before(self) -> int:
        """Number of nodes before."""
        return sum(self.ops_before.values())

    @property
    def nodes_after(self) -> int:
        """Number of nodes after."""
        return sum(self.ops_after.values())


def simplify_onnx(path: str | Path, output: str | Path | None = None) -> SimplifyReport:
    """Fold constants and remove redundant nodes with onnx-simplifier; check that nothing changed.

    A dynamic batch stays dynamic: onnxsim is given no input shape, and the result has to agree
    with the original at several batch sizes.

    Args:
        path: the ONNX file.
        output: where to write the result; None replaces `path`.

    Raises:
        ModelError: if `path` is not a valid ONNX file.
        ExportError: if the simplified graph fails, differs, or has lost its dynamic batch.
        OutputError: if the file cannot be written.
    """
    original = load_onnx(path)
    try:
        # It reports on stdout, where a notebook or `--json` would show it.
        with contextlib.redirect_stdout(io.StringIO()):
            simplified, _ = onnxsim.simplify(copy.deepcopy(original))  # it edits its argument
    except Exception as error:  # onnxsim raises bare RuntimeErrors from C++, and others
        raise ExportError(f"onnxsim could not simplify {path}: {error}") from error
    _check(simplified, f"{path}, once simplified,")
    if batch_dimension(simplified) != batch_dimension(original):
        raise ExportError(
            f"Simplifying {path} has fixed its dynamic batch at {batch_dimension(simplified)}. "
            "Do not give onnxsim input shapes, and use the file as it was."
        )
    fixed = batch_dimension(original)
    for batch_size in (1, 3) if fixed is None else (fixed,):
        sample = _sample(original, batch_size)
        expected, found = (_run(_session(graph), sample) for graph in (original, simplified))
        change = _max_abs_error(expected, found)
        if not change <= 1e-4 * max(1.0, float(np.abs(expected).max())):
            raise ExportError(
                f"Simplifying {path} has changed its outputs by {change:.3g} at batch "
                f"{batch_size}; use the file as it was."
            )
    write_bytes(output or path, simplified.SerializeToString())
    return SimplifyReport(
        ops_before=dict(Counter(node.op_type for node in original.graph.node)),
        ops_after=dict(Counter(node.op_type for node in simplified.graph.node)),
    )


def verify_onnx(
    model: torch.nn.Module,
    path: str | Path,
    batch_sizes: Sequence[int] = (1, 2, 5),
    tolerance: float = 1e-4,
) -> dict[int, float]:
    """Compare the ONNX file, run by ONNX Runtime, with the PyTorch model, both on the CPU.

    The inputs are standard normal with a fixed seed. A GPU would not do as the reference: its
    convolutions run in TF32 by default and differ by more than the tolerance.

    Returns: batch size -> largest absolute difference of the outputs.

    Raises:
        ModelError: if `path` is not a valid ONNX file.
        ExportError: if a difference exceeds `tolerance` or is not a number, or if the graph does
            not take one of the batch sizes.
    """
    _require_eval(model)
    graph = load_onnx(path)
    fixed = batch_dimension(graph)
    if fixed is not None and set(batch_sizes) != {fixed}:
        raise ExportError(
            f"The batch of {path} is fixed at {fixed}, but batches {tuple(batch_sizes)} were asked "
            f"for. Export with dynamic_batch=True, or verify with batch_sizes=({fixed},)."
        )
    reference = copy.deepcopy(model).cpu()
    session = _session(graph)
    errors = {}
    for batch_size in batch_sizes:
        sample = _sample(graph, batch_size)  # (N, C, H, W)
        try:
            with torch.inference_mode():
                expected = reference(torch.from_numpy(sample)).numpy()  # (N, classes)
        except Exception as error:  # the model's own code may raise anything
            raise ExportError(
                f"{type(model).__name__} does not take the input of {path}, {sample.shape}: {error}"
            ) from error
        errors[batch_size] = _max_abs_error(expected, _run(session, sample))
    wrong = {size: error for size, error in errors.items() if not error <= tolerance}
    if wrong:
        found = ", ".join(f"{error:.3g} at batch {size}" for size, error in wrong.items())
        raise ExportError(
            f"{path} disagrees with PyTorch: the largest absolute difference is {found}; "
            f"at most {tolerance:g} is allowed. Is it an export of these weights?"
        )
    return errors


def load_onnx(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data, if any, and check it, shape inference included.

    Raises:
        ModelError: if the file is missing, truncated or not ONNX, fails ONNX's checker, or keeps
            weights outside its folder.
    """
    path = Path(path)
    if not path.is_file():
        others = sorted(file.name for file in path.parent.glob("*.onnx") if file.is_file())
        raise ModelError(
            f"There is no ONNX file {path}. In that folder: {', '.join(others) or 'none'}."
        )
    data = path.read_bytes()
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        raise ModelError(_why_unreadable(path, data)) from None
    if not model.graph.node:
        raise ModelError(_why_unreadable(path, data))
    _load_external_data(model, path)
    _check(model, str(path))
    return model


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read the tensors that are stored outside the file, from beneath its folder and nowhere else.

    ONNX refuses absolute locations and `..` itself, but follows symbolic links.
    """
    folder = path.parent.resolve()
    try:
        for location in set(_external_locations(model)):
            file = folder / location
            if file.resolve() != file or not file.is_relative_to(folder):
                raise ModelError(
                    f"{path} keeps weights in {location!r}, which is outside its folder or a link. "
                    "Copy that file beside it, or save the model without external data."
                )
        onnx.load_external_data_for_model(model, str(path.parent))
    except ModelError:
        raise
    except Exception as error:  # offsets and lengths in the file are passed on unchecked
        raise ModelError(
            f"{path} keeps its weights in a second file, which cannot be read: {error} "
            "Copy that file beside it, or save the model without external data."
        ) from error


def _external_locations(message: Message) -> Iterator[str]:
    """Yield where the tensors anywhere in a message, subgraphs included, are stored outside it."""
    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield from (e.value for e in message.external_data if e.key == "location")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _external_locations(part)


def batch_dimension(model: onnx.ModelProto) -> int | None:
    """Return the batch size that an ONNX graph is fixed at, or None if its batch is dynamic.

    Raises:
        ModelError: if the graph has no inputs, or the first one no dimensions.
    """
    first = _first_input(model)
    shape = first.type.tensor_type.shape.dim
    if not shape:
        raise ModelError(
            f"The ONNX graph's first input, {first.name!r}, is a scalar or of unknown rank, so it "
            "has no batch. Export a model whose input begins with one, such as (N, 3, 224, 224)."
        )
    return shape[0].dim_value if shape[0].HasField("dim_value") else None


def _first_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}  # old exporters list them too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        outputs = ", ".join(value.name for value in model.graph.output) or "none"
        raise ModelError(
            f"The ONNX graph has no inputs, and the outputs {outputs}: it only computes constants. "
            "Export a model that takes an input."
        )
    return inputs[0]


def _why_unreadable(path: Path, data: bytes) -> str:
    if not data:
        return f"{path} is empty. Export the model again."
    # A ModelProto begins with field 1, the IR version, as a varint: byte 0x08, then the number.
    if data[0] == 0x08 and len(data) > 1 and data[1] <= onnx.IR_VERSION:
        return (
            f"{path} begins like an ONNX file, but is truncated or damaged: its {len(data):,} "
            "bytes do not parse. Copy or export it again."
        )
    return f"{path} is not an ONNX file: it begins with {data[:16]!r}."


def _check(model: onnx.ModelProto, what: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{what} is not a valid ONNX model: {error}") from error


def _require_eval(model: torch.nn.Module) -> None:
    if model.training:
        raise ExportError(
            f"{type(model).__name__} is in training mode, in which dropout and batch normalisation "
            "compute something else. Call model.eval() first."
        )


def _sample(model: onnx.ModelProto, batch_size: int) -> NDArray[np.float32]:
    """Return a standard normal input (batch_size, ...) for the graph."""
    dims = _first_input(model).type.tensor_type.shape.dim[1:]
    shape = (batch_size, *(dim.dim_value for dim in dims))
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: what goes wrong is raised, stderr stays clean
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: onnxruntime.InferenceSession, sample: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        return session.run(None, {session.get_inputs()[0].name: sample})[0]
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ExportError(
            f"The graph does not run with batch {len(sample)}: {error} If other batches do run, a "
            "batch size is frozen inside the model: reshape with x.flatten(1) or x.shape[0]."
        ) from error


def _max_abs_error(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    if expected.shape != found.shape:
        raise ExportError(f"The output has shape {found.shape}, expected {expected.shape}.")
    return float(np.abs(expected - found).max())
