"""build.py and spec.py, with PyTorch as the oracle of what an engine computes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from pydantic import ValidationError
from torch import nn

from building.conftest import batches, precisions
from tiny import LAYERS, SHAPE, export_tiny, tiny_cnn, tiny_spec
from trtlab import build
from trtlab.backend import trt
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine, parse_precision
from trtlab.calibrate import EntropyCalibrator
from trtlab.engines import load_engine
from trtlab.errors import BuildError
from trtlab.export import export_onnx
from trtlab.infer import TensorRTInference

# Specs


@pytest.mark.parametrize("batch_sizes", [(0, 1, 2), (2, 1, 4), (1, 5, 4), (-1, 1, 1)])
def test_a_profile_must_be_in_order(batch_sizes: tuple[int, int, int]) -> None:
    low, best, high = batch_sizes
    with pytest.raises(BuildError, match=f"min is {low}, opt {best} and max {high}"):
        ShapeProfile(min=low, opt=best, max=high)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"workspace_mib": 0}, "workspace_mib is 0"),
        ({"optimization_level": 6}, "optimization_level is 6; it goes"),
        ({"precision": "fp16", "layer_precisions": {"a": "int8"}}, "only fp16 or fp32"),
        ({"precision": "tf32", "layer_precisions": {"a": "tf32"}}, "only fp32"),
    ],
)
def test_an_impossible_spec_is_refused_when_it_is_made(fields: dict, reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        BuildSpec.model_validate(fields)


def test_a_spec_does_not_change_and_survives_json() -> None:
    spec = tiny_spec("int8", layer_precisions={"/fc/*": "fp16"}, optimization_level=2)
    with pytest.raises(ValidationError, match="frozen"):
        spec.workspace_mib = 1  # type: ignore[misc]
    assert BuildSpec.model_validate_json(spec.model_dump_json()) == spec


def test_precisions_are_parsed_in_any_case_and_unknown_ones_listed() -> None:
    assert parse_precision("FP16") is Precision.FP16
    with pytest.raises(BuildError, match=r"'fp8'; choose one of fp32, tf32, fp16, int8"):
        parse_precision("fp8")


# Building


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_an_engine_computes_what_pytorch_computes(
    onnx_path: Path, engine_path: Path, precision: str, tolerance: float
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(precision))
    sample = batches(count=1, size=4)[0]
    with torch.inference_mode():
        expected = tiny_cnn()(torch.from_numpy(sample)).numpy()
    with TensorRTInference(engine_path) as model:
        np.testing.assert_allclose(model.infer(sample), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("tf32", {"TF32"}), ("fp16", {"TF32", "FP16"})],
)
def test_a_precision_sets_its_builder_flags(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace, precision: str, flags: set
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(precision))
    known = ("TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")
    found = {name for name in known if built_with.config.get_flag(getattr(trt.BuilderFlag, name))}
    assert found == flags


def test_int8_permits_fp16_beside_it(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    with EntropyCalibrator(batches(), 2) as calibrator:
        build_engine(onnx_path, engine_path, tiny_spec("int8"), calibrator=calibrator)
    assert built_with.config.get_flag(trt.BuilderFlag.INT8)
    assert built_with.config.get_flag(trt.BuilderFlag.FP16)
    assert set(precisions(engine_path).values()) == {"INT8"}


def test_limits_and_verbosity_reach_the_builder_config(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    build_engine(onnx_path, engine_path, tiny_spec(workspace_mib=32, optimization_level=1))
    config = built_with.config
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 32 * 2**20
    assert config.builder_optimization_level == 1
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED


def test_every_profile_is_in_the_engine(onnx_path: Path, engine_path: Path) -> None:
    profiles = (ShapeProfile(min=1, opt=1, max=1), ShapeProfile(min=2, opt=8, max=16))
    build_engine(onnx_path, engine_path, tiny_spec(profiles=profiles))
    engine = load_engine(engine_path)
    assert engine.num_optimization_profiles == 2
    shapes = [tuple(shape) for shape in engine.get_tensor_profile_shape("input", 1)]
    assert shapes == [(2, *SHAPE), (8, *SHAPE), (16, *SHAPE)]


def test_several_contexts_may_use_one_profile(onnx_path: Path, engine_path: Path) -> None:
    build_engine(onnx_path, engine_path, tiny_spec())
    engine = load_engine(engine_path)
    contexts = [engine.create_execution_context() for _ in range(2)]
    assert all(context.set_input_shape("input", (2, *SHAPE)) for context in contexts)


def test_a_model_of_fixed_batch_needs_no_profile(tmp_path: Path, engine_path: Path) -> None:
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    build_engine(onnx_path, engine_path, tiny_spec(profiles=()))
    assert tuple(load_engine(engine_path).get_tensor_shape("input")) == (3, *SHAPE)
    build_engine(onnx_path, engine_path, tiny_spec(profiles=(ShapeProfile(min=3, opt=3, max=3),)))
    assert tuple(load_engine(engine_path).get_tensor_shape("input")) == (3, *SHAPE)


def test_profiles_that_contradict_a_fixed_batch_are_refused(
    tmp_path: Path, engine_path: Path
) -> None:
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    with pytest.raises(BuildError, match=r"fixed at 3, but the profiles .* are 1/2/4"):
        build_engine(onnx_path, engine_path, tiny_spec())


def test_a_dynamic_batch_without_a_profile_is_refused(onnx_path: Path, engine_path: Path) -> None:
    with pytest.raises(BuildError, match="at least one ShapeProfile"):
        build_engine(onnx_path, engine_path, tiny_spec(profiles=()))


def test_a_dynamic_image_size_is_refused_by_name(onnx_path: Path, engine_path: Path) -> None:
    model = onnx.load(onnx_path)
    del model.graph.node[4:], model.graph.output[:]  # the fully connected layer needs 8x8
    height = model.graph.input[0].type.tensor_type.shape.dim[2]
    height.dim_param = "height"
    last = model.graph.node[-1].output[0]
    model.graph.output.append(helper.make_tensor_value_info(last, 1, ["batch", 4, "height", 8]))
    onnx_path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match=r"'input' has shape \(-1, 3, -1, 8\)"):
        build_engine(onnx_path, engine_path, tiny_spec())


# Precision by layer


def test_named_layers_keep_a_higher_precision(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    spec = tiny_spec("int8", layer_precisions={"/conv1/Conv": "fp16", "/fc/*": "fp32"})
    with EntropyCalibrator(batches(), 2) as calibrator:
        build_engine(onnx_path, engine_path, spec, calibrator=calibrator)
    assert built_with.config.get_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    found = precisions(engine_path)
    assert found["/conv1/Conv"] == "FP16"
    assert found["/conv2/Conv"] == "INT8"
    assert found["/fc/Gemm"] == "FP32"


def test_the_last_pattern_that_matches_counts(onnx_path: Path, engine_path: Path) -> None:
    spec = tiny_spec("fp16", layer_precisions={"*": "fp32", "/conv2/*": "fp16", "/relu2/*": "fp16"})
    build_engine(onnx_path, engine_path, spec)
    found = precisions(engine_path)
    assert {node for node, precision in found.items() if precision == "FP16"} == {
        "/conv2/Conv",
        "/relu2/Relu",
    }


def test_an_unknown_layer_is_reported_with_those_that_there_are(
    onnx_path: Path, engine_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"No layer is called '/conv9/\*'") as caught:
        build_engine(onnx_path, engine_path, tiny_spec(layer_precisions={"/conv9/*": "fp32"}))
    assert all(name in str(caught.value) for name in LAYERS)


def test_a_layer_name_with_brackets_means_itself(
    onnx_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    model = onnx.load(onnx_path)
    model.graph.node[0].name = "(Unnamed Layer* 0) [Convolution]"
    onnx_path.write_bytes(model.SerializeToString())
    spec = tiny_spec(layer_precisions={"(Unnamed Layer* 0) [Convolution]": "fp32"})
    build_engine(onnx_path, engine_path, spec)
    constrained = [
        built_with.network.get_layer(index).name
        for index in range(built_with.network.num_layers)
        if built_with.network.get_layer(index).precision_is_set
    ]
    assert constrained == ["(Unnamed Layer* 0) [Convolution]"]


class ShapeArithmetic(nn.Module):
    """A model whose graph computes a shape in integers, beside its floats."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.reshape(x.shape[0], -1) + 1).relu()


def test_a_pattern_for_everything_leaves_shapes_alone(
    tmp_path: Path, engine_path: Path, built_with: SimpleNamespace
) -> None:
    path = export_onnx(ShapeArithmetic().eval(), tmp_path / "tiny.onnx", input_shape=SHAPE)
    build_engine(path, engine_path, tiny_spec(layer_precisions={"*": "fp32"}))
    network = built_with.network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    constrained = {layer.name: layer.precision_is_set for layer in layers}
    assert (constrained["/Shape"], constrained["/Reshape"]) == (False, True)


def test_a_constant_has_no_precision_to_hold() -> None:
    # TensorRT's parser makes such layers of some weights; the emulation's keeps them as weights.
    output = SimpleNamespace(dtype=trt.DataType.FLOAT)
    layer = SimpleNamespace(num_outputs=1, get_output=lambda index: output)
    layer.type = trt.LayerType.CONVOLUTION
    assert build._computes_on_floats(layer)
    layer.type = trt.LayerType.CONSTANT
    assert not build._computes_on_floats(layer)
