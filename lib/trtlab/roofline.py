"""The roofline model: FLOPs and bytes of a network, and the most that a GPU can do with them.

Counts are read off the ONNX graph and hold on any machine; ceilings and times need a GPU.
Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for
multicore architectures", Communications of the ACM 52, 2009.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper

from trtlab.backend import device_context
from trtlab.engines import load_engine
from trtlab.errors import InferenceError, ModelError
from trtlab.tensors import tensor_specs

_COPY_BYTES = 1 << 30
_MATMUL_SIZE = 8192
_REPEATS = 30


@dataclass(frozen=True)
class Node:
    """One ONNX node at a given batch: its arithmetic, and the tensors that it reads and writes.

    `reads` and `writes` give the elements of activations by tensor name; `outputs` names those of
    `writes` that are outputs of the network; `weights` counts the elements of constants.
    """

    name: str
    op_type: str
    flops: int
    reads: dict[str, int]
    writes: dict[str, int]
    outputs: frozenset[str]
    weights: int


@dataclass(frozen=True)
class Kernel:
    """One or more nodes that run as one, with the bytes that must cross the memory bus for it."""

    nodes: tuple[str, ...]
    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in FLOPs per byte."""
        return self.flops / self.bytes if self.bytes else 0.0


def count_nodes(model: onnx.ModelProto, batch_size: int) -> list[Node]:
    """Count every node of a graph whose only dynamic dimension is the batch.

    A multiplication and an addition are two FLOPs. Convolutions and matrix products are exact; of
    everything else one FLOP for each element that is read is counted, which is next to nothing.

    Raises:
        ModelError: if a shape stays unknown.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in fixed.graph.initializer}
    inputs = [value for value in fixed.graph.input if value.name not in weights]
    for value in inputs:
        value.type.tensor_type.shape.dim[0].dim_value = batch_size
    outputs = {value.name for value in fixed.graph.output}
    del fixed.graph.value_info[:]  # they tell of a symbolic batch
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in [*inputs, *inferred.value_info]}
    shapes |= {value.name: _shape(value) for value in inferred.output if value.name in outputs}
    return [
        _count(node, shapes, weights, outputs)
        for node in model.graph.node
        if node.op_type != "Constant"
    ]


def as_kernels(
    nodes: Sequence[Node],
    groups: Iterable[Sequence[str]] | None = None,
    *,
    bytes_per_element: int,
) -> list[Kernel]:
    """Return the least traffic of each group of nodes that runs as one kernel.

    Every weight is read once, and so is every tensor that a group did not make itself; a tensor is
    written if somebody outside the group reads it or it is an output of the network. Caches may
    save some of that; a kernel that does not fit them moves more.

    Args:
        nodes: from count_nodes.
        groups: node names, as in inspect.Layer.onnx_nodes; None means each node by itself. Names
            that are no node's are left out, and so are nodes in no group, which were removed.
        bytes_per_element: 4 for FP32, 2 for FP16, 1 for INT8.
    """
    by_name = {node.name: node for node in nodes}
    readers = Counter(tensor for node in nodes for tensor in node.reads)
    taken: set[str] = set()
    kernels = []
    for group in groups if groups is not None else [[node.name] for node in nodes]:
        members = [by_name[name] for name in group if name in by_name and name not in taken]
        if not members:
            continue
        taken.update(node.name for node in members)
        kernels.append(_kernel(members, readers, bytes_per_element))
    return kernels


def total(kernels: Iterable[Kernel]) -> Kernel:
    """Return all kernels as one: their FLOPs and bytes added up."""
    found = list(kernels)
    return Kernel(
        nodes=tuple(name for kernel in found for name in kernel.nodes),
        flops=sum(kernel.flops for kernel in found),
        bytes=sum(kernel.bytes for kernel in found),
    )


def _kernel(members: Sequence[Node], readers: Counter[str], bytes_per_element: int) -> Kernel:
    made = {tensor: size for node in members for tensor, size in node.writes.items()}
    read = {tensor: size for node in members for tensor, size in node.reads.items()}
    inside = Counter(tensor for node in members for tensor in node.reads if tensor in made)
    elements = sum(node.weights for node in members)
    elements += sum(size for tensor, size in read.items() if tensor not in made)
    outputs = frozenset().union(*(node.outputs for node in members))
    elements += sum(
        size
        for tensor, size in made.items()
        if tensor in outputs or inside[tensor] < readers[tensor]
    )
    return Kernel(
        nodes=tuple(node.name for node in members),
        flops=sum(node.flops for node in members),
        bytes=elements * bytes_per_element,
    )


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    if any(not dim.HasField("dim_value") for dim in dims):
        raise ModelError(
            f"The shape of {value.name!r} cannot be told from the graph; only its batch may be "
            "dynamic. Simplify the model first."
        )
    return tuple(dim.dim_value for dim in dims)


def _count(
    node: onnx.NodeProto,
    shapes: dict[str, tuple[int, ...]],
    weights: dict[str, tuple[int, ...]],
    outputs: set[str],
) -> Node:
    reads = {name: math.prod(shapes[name]) for name in node.input if name in shapes}
    writes = {name: math.prod(shapes[name]) for name in node.output if name in shapes}
    constants = [weights[name] for name in node.input if name in weights]
    return Node(
        name=node.name,
        op_type=node.op_type,
        flops=_flops(node, shapes | weights),
        reads=reads,
        writes=writes,
        outputs=frozenset(outputs & writes.keys()),
        weights=sum(map(math.prod, constants)),
    )


def _flops(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the floating-point operations of a node."""
    out = shapes.get(node.output[0], ())
    if node.op_type == "Conv":
        weight = shapes[node.input[1]]  # (out, in / groups, *kernel)
        return 2 * math.prod(out) * math.prod(weight[1:])
    if node.op_type == "Gemm":
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inner = shapes[node.input[0]][0 if attributes.get("transA") else 1]
        return 2 * math.prod(out) * inner
    if node.op_type == "MatMul":
        return 2 * math.prod(out) * shapes[node.input[0]][-1]
    if node.op_type in ("Flatten", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze"):
        return 0
    return max((math.prod(shapes[name]) for name in node.input if name in shapes), default=0)


@dataclass(frozen=True)
class Ceilings:
    """What a GPU reached on two tasks that are made to be easy for it."""

    gpu: str
    bytes_per_second: float  # of device memory: a large copy, reads and writes counted
    fp16_flops: float  # per second, of a large FP16 matrix product on the Tensor Cores

    @property
    def ridge(self) -> float:
        """The intensity at which memory and arithmetic take equally long, in FLOPs per byte."""
        return self.fp16_flops / self.bytes_per_second

    def roof(self, intensity: float) -> float:
        """Return the most FLOPs per second at an arithmetic intensity."""
        return min(self.fp16_flops, intensity * self.bytes_per_second)


def measure_ceilings() -> Ceilings:
    """Measure the GPU's memory bandwidth and FP16 arithmetic; takes a second and 2 GiB.

    Raises:
        InferenceError: if PyTorch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise InferenceError("The ceilings of a roofline need a GPU, and PyTorch sees none here.")
    ceilings = Ceilings(
        gpu=torch.cuda.get_device_name(),
        bytes_per_second=_copy_rate(),
        fp16_flops=_matmul_rate(),
    )
    torch.cuda.empty_cache()
    return ceilings


def _copy_rate() -> float:
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _median_seconds(lambda: target.copy_(source))


def _matmul_rate() -> float:
    size = (_MATMUL_SIZE, _MATMUL_SIZE)
    a, b = (torch.randn(size, dtype=torch.float16, device="cuda") for _ in range(2))
    out = torch.empty_like(a)
    return 2 * _MATMUL_SIZE**3 / _median_seconds(lambda: torch.matmul(a, b, out=out))


def engine_seconds(engine_path: str | Path, batch_size: int) -> float:
    """Return the median time of one inference on the GPU, without the copies to and from it.

    Raises:
        EngineError: if the engine cannot be loaded here.
        InferenceError: if it does not run at this batch.
    """
    with device_context():
        engine = load_engine(engine_path)
        context = engine.create_execution_context()
        inputs, outputs = tensor_specs(engine)
        tensors = {}  # kept alive while their addresses are in use
        ready = context is not None
        for name, spec in (inputs | outputs).items():
            shape = (batch_size, *spec.shape[1:])
            values = np.zeros(shape, spec.dtype)
            tensors[name] = torch.from_numpy(values).to("cuda")
            if name in inputs:
                ready = ready and context.set_input_shape(name, shape)
            ready = ready and context.set_tensor_address(name, tensors[name].data_ptr())
        stream = torch.cuda.Stream()
        ready = ready and context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        if not ready:
            raise InferenceError(f"{engine_path} does not run at batch {batch_size}.")
        with torch.cuda.stream(stream):
            return _median_seconds(lambda: context.execute_async_v3(stream.cuda_stream))


def _median_seconds(work: Callable[[], object]) -> float:
    """Return the median time of `work` on the current stream, by CUDA events."""
    times = []
    for _ in range(_REPEATS + 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return float(np.median(times[5:]))  # the first ones warm up
