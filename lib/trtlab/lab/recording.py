"""Watching a student's build function: what it asks of TensorRT's builder, and how it ends.

`call_build` runs the function in a scratch folder, on a model of the check's own, with the
builder's methods wrapped so that they note what they are asked. Judging is trtlab.checks.lab2's.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trtlab.backend import compat, trt
from trtlab.checks.evidence2 import Asked, Build, RequestedShapes
from trtlab.lab.attempts import attempt
from trtlab.lab.exchange import is_regular
from trtlab.lab.quiet import quiet
from trtlab.lab.scratch import scratch_folder

BuildFunction = Callable[[str, str], Any]
_FLAGS = ("FP16", "INT8", "TF32", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")


def small_model(seed: int = 0, *, parsable: bool = True) -> onnx.ModelProto:
    """Return a network with the course's input, (N, 3, 224, 224), that builds in no time.

    Args:
        seed: of its weights.
        parsable: else its activation is an operator that no TensorRT knows.
    """
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (8, 3, 8, 8), "fc.weight": (10, 8), "fc.bias": (10,)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape, dtype=np.float32), name)
        for name, shape in shapes.items()
    ]
    activation = ("Relu", "") if parsable else ("NoSuchOperator", "trtlab.course")
    nodes = [
        helper.make_node("Conv", ["input", "conv.weight"], ["c"], "/conv/Conv", strides=[8, 8]),
        helper.make_node(
            activation[0], ["c"], ["r"], f"/act/{activation[0]}", domain=activation[1]
        ),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "/pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["p"], ["f"], "/Flatten"),
        helper.make_node("Gemm", ["f", *list(shapes)[1:]], ["output"], "/fc/Gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("trtlab.course", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def call_build(
    function: BuildFunction, name: str, model: bytes, engine_path: Path, *, fail: bool = False
) -> Build:
    """Call `function(onnx_path, engine_path)` and tell what it asked for and how it ended.

    Args:
        function: the student's.
        name: what it is called.
        model: what is in the ONNX file that it gets.
        engine_path: where it is told to write, in a folder that exists.
        fail: whether the builder returns None, as it does when a build fails.
    """
    engine_path = engine_path.absolute()
    with scratch_folder() as folder, _recording(folder / "small.onnx", fail) as recorder, quiet():
        recorder.onnx_path.write_bytes(model)
        ran, returned = attempt(name, lambda: function(str(recorder.onnx_path), str(engine_path)))
    written = engine_path.lstat().st_size if is_regular(engine_path) else None
    used = recorder.given_model
    if used and recorder.made_engine:
        used = written is not None
    return Build(
        attempt=ran,
        asked=recorder.asked,
        made_engine=recorder.made_engine,
        returned="nothing" if returned is None else "a value",
        file_size=written,
        path_used=used,
    )


class _Recorder:
    """Notes what TensorRT's methods are asked, and passes it on to them."""

    def __init__(self, onnx_path: Path, fail: bool) -> None:
        self.onnx_path, self.fail = onnx_path, fail
        self.asked = Asked()
        self.made_engine = False
        self.given_model: bool | None = None  # whether the model parsed is the one at onnx_path

    def create_network(self, original: Callable[..., Any], builder: Any, flags: int = 0) -> Any:
        needed = compat.explicit_batch_flags(trt)
        self.asked.explicit_batch = int(flags) & needed == needed
        return original(builder, flags)

    def parse(self, original: Callable[..., Any], parser: Any, model: Any, *rest: Any) -> Any:
        given = bytes(model) == self.onnx_path.read_bytes()
        return self._parsed(given, parser, original(parser, model, *rest))

    def parse_from_file(self, original: Callable[..., Any], parser: Any, model: str) -> Any:
        given = Path(model).resolve() == self.onnx_path.resolve()
        return self._parsed(given, parser, original(parser, model))

    def _parsed(self, given: bool, parser: Any, answer: Any) -> Any:
        self.given_model = given
        self.asked.parsed = bool(answer)
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        self.asked.parser_errors = [error.desc() for error in errors]
        return answer

    def set_shape(
        self, original: Callable[..., Any], profile: Any, input: str, min: Any, opt: Any, max: Any
    ) -> Any:
        shapes = RequestedShapes(tensor=input, min=_dims(min), opt=_dims(opt), max=_dims(max))
        self.asked.shapes.append(shapes)
        try:
            return original(profile, input, min, opt, max)
        except RuntimeError:
            shapes.refused = True
            raise

    def add_optimization_profile(
        self, original: Callable[..., Any], config: Any, profile: Any
    ) -> Any:
        index = original(config, profile)
        self.asked.profiles_added = config.num_optimization_profiles
        return index

    def build_serialized_network(
        self, original: Callable[..., Any], builder: Any, network: Any, config: Any
    ) -> Any:
        self.asked.built = True
        self.asked.layers = network.num_layers
        self.asked.flags = [
            flag for flag in _FLAGS if config.get_flag(getattr(trt.BuilderFlag, flag))
        ]
        self.asked.workspace_bytes = config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
        self.asked.verbosity = config.profiling_verbosity.name
        if self.fail or self.given_model is False:  # a whole ResNet-50 would take a minute
            return None
        plan = original(builder, network, config)
        self.made_engine = plan is not None
        return plan


def _dims(shape: Any) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in shape)
    except (TypeError, ValueError):  # TensorRT will say what it thinks of it
        return ()


@contextmanager
def _recording(onnx_path: Path, fail: bool) -> Iterator[_Recorder]:
    """Put a recorder between the student's code and TensorRT."""
    recorder = _Recorder(onnx_path, fail)
    watched = {
        trt.Builder: ("create_network", "build_serialized_network"),
        trt.OnnxParser: ("parse", "parse_from_file"),
        trt.IOptimizationProfile: ("set_shape",),
        trt.IBuilderConfig: ("add_optimization_profile",),
    }
    with ExitStack() as stack:
        for owner, names in watched.items():
            for name in names:
                wrapped = _passing_on(getattr(recorder, name), getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield recorder


def _passing_on(note: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return note(original, self, *arguments, **named)

    return method
