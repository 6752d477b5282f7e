"""Reads ONNX files for the checks: what is in them, and whether they compute what they should.

Runs none of a student's code; the files are data.
"""

import copy
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from trtlab.checks.evidence1 import Agreement, GraphFacts
from trtlab.errors import ModelError, TrtLabError
from trtlab.export import load_onnx

BATCHES = (1, 2, 3)
LARGEST_BATCH = 64
"""A file whose batch is fixed above this is not run at it: what it says may be any number."""
Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def graph_facts(path: str | Path) -> GraphFacts:
    """Return what is in an ONNX file, or why it cannot be read."""
    try:
        model = load_onnx(path)
    except ModelError as error:
        return GraphFacts(problem=str(error).replace("\n", " "))
    return facts_of(model)


def facts_of(model: onnx.ModelProto) -> GraphFacts:
    """Return what is in a valid ONNX model."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return GraphFacts(
        opset=next((entry.version for entry in model.opset_import if entry.domain == ""), 0),
        inputs={v.name: _dimensions(v) for v in model.graph.input if v.name not in weights},
        outputs={value.name: _dimensions(value) for value in model.graph.output},
        ops=dict(Counter(node.op_type for node in model.graph.node)),
        training_nodes=sum(map(_acts_as_in_training, model.graph.node)),
        weights=sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
    )


def compare(
    reference: Runner,
    run: Runner,
    facts: GraphFacts,
    shape: Sequence[int],
    rng: np.random.Generator,
) -> Agreement:
    """Compare the outputs of an ONNX file with those of a reference, on random inputs.

    Args:
        reference: maps (N, *shape) float32 to the expected outputs; it may raise a TrtLabError
            where a batch does not fit, and nothing is compared then.
        run: does the same with the file.
        facts: of the file; where it cannot be read, nothing is compared.
        shape: of one sample, without the batch.
        rng: where the inputs are drawn from, standard normal.
    """
    if facts.problem:
        return Agreement(failures={BATCHES[0]: facts.problem})
    fixed = {
        size for size in facts.batches[:1] if isinstance(size, int) and 0 < size <= LARGEST_BATCH
    }
    differences, wrong, failures = {}, {}, {}
    for batch in sorted({*BATCHES, *fixed}):
        images = rng.standard_normal((batch, *shape), np.float32)  # (N, C, H, W)
        try:
            expected, found = reference(images), run(images)
        except TrtLabError as error:
            failures[batch] = str(error)
            continue
        if found.shape != expected.shape or not expected.size:
            wrong[batch] = f"the output is {found.shape}, expected {expected.shape}"
        elif not (np.isfinite(found).all() and np.isfinite(expected).all()):
            wrong[batch] = "the output holds NaN or Inf"
        else:
            apart = found.astype(np.float64) - expected.astype(np.float64)
            differences[batch] = float(np.abs(apart).max())
    return Agreement(differences=differences, wrong=wrong, failures=failures)


def torch_runner(model: nn.Module) -> Runner:
    """Return a function that runs a copy of a model in eval mode on the CPU, in FP32."""
    reference = copy.deepcopy(model).cpu().eval()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return reference(torch.from_numpy(images)).numpy()

    return run


def onnx_runner(model: str | Path | onnx.ModelProto) -> Runner:
    """Return a function that runs an ONNX graph of one input on the CPU: images to first output.

    Args:
        model: the path of an ONNX file, or what is in one.

    The function raises a ModelError if the model is invalid, does not run, or returns no numbers.
    """

    @functools.cache
    def session() -> Any:  # made at the first call, so that a file that cannot run fails there
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: what goes wrong is raised, stderr stays clean
        # Given the path, ONNX Runtime would itself read external data from wherever the file says.
        graph = model if isinstance(model, onnx.ModelProto) else load_onnx(model)
        return onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found = session().run(None, {session().get_inputs()[0].name: images})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelError(" ".join(str(error).split())) from error
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
            raise ModelError("the first output is no array of numbers")
        return found

    return run


def _dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return sizes, and names where a dimension is dynamic."""
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]


def _acts_as_in_training(node: Any) -> bool:
    """Whether a node normalises with the batch's own statistics, or drops activations.

    Exported in eval mode, no dropout is left.
    """
    if node.op_type == "BatchNormalization":
        return any(a.name == "training_mode" and a.i for a in node.attribute)
    return node.op_type == "Dropout"
