"""inspect.py, on engines that are built here and on the JSON that TensorRT writes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tiny import LAYERS, PROFILE, SHAPE, export_tiny, tiny_cnn, tiny_spec
from trtlab.backend import compat, trt
from trtlab.build import ShapeProfile, build_engine
from trtlab.calibrate import EntropyCalibrator
from trtlab.engines import load_engine
from trtlab.errors import EngineError
from trtlab.inspect import EngineReport, inspect_engine
from trtlab.logger import LOGGER


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    build_engine(export_tiny(tmp_path), tmp_path / "tiny.engine", tiny_spec())
    return tmp_path / "tiny.engine"


def build_with_verbosity(folder: Path, verbosity: Any) -> bytes:
    """Build as a student would who left the verbosity alone or changed it."""
    builder = trt.Builder(LOGGER)
    network = builder.create_network(compat.explicit_batch_flags(trt))
    parser = trt.OnnxParser(network, LOGGER)
    assert parser.parse(export_tiny(folder).read_bytes())
    config = builder.create_builder_config()
    config.profiling_verbosity = verbosity
    profile = builder.create_optimization_profile()
    profile.set_shape("input", (1, *SHAPE), (2, *SHAPE), (4, *SHAPE))
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


# Engines built here


def test_every_onnx_node_is_in_exactly_one_layer(engine_path: Path) -> None:
    report = inspect_engine(engine_path)
    assert sorted(node for layer in report.layers for node in layer.onnx_nodes) == sorted(LAYERS)


def test_fusions_are_the_layers_of_several_nodes(engine_path: Path) -> None:
    report = inspect_engine(engine_path)
    fused = {layer.onnx_nodes for layer in report.fusions}
    assert fused == {("/conv1/Conv", "/relu1/Relu"), ("/conv2/Conv", "/relu2/Relu")}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_precision_is_that_of_the_layers_weights(tmp_path: Path, precision: str) -> None:
    path = tmp_path / "tiny.engine"
    build_engine(export_tiny(tmp_path), path, tiny_spec(precision))
    report = inspect_engine(path)
    assert set(report.precision_counts) == {precision.upper()}
    assert sum(report.precision_counts.values()) == len(report.layers) - report.reformats


def test_mixed_precisions_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "tiny.engine"
    spec = tiny_spec("int8", layer_precisions={"/conv1/Conv": "fp16", "/fc/*": "fp32"})
    batches = [np.random.default_rng(0).standard_normal((2, *SHAPE), np.float32)]
    with EntropyCalibrator(batches, 2) as calibrator:
        build_engine(export_tiny(tmp_path), path, spec, calibrator=calibrator)
    report = inspect_engine(path)
    by_node = {node: layer.precision for layer in report.layers for node in layer.onnx_nodes}
    assert [by_node[f"/{name}"] for name in ("conv1/Conv", "conv2/Conv", "fc/Gemm")] == [
        "FP16",
        "INT8",
        "FP32",
    ]
    assert report.precision_counts["FP32"] == 1


def test_weights_take_the_bytes_of_their_precision(tmp_path: Path) -> None:
    parameters = sum(tensor.numel() for tensor in tiny_cnn().parameters())
    found = {}
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.engine"
        build_engine(export_tiny(tmp_path), path, tiny_spec(precision))
        found[precision] = inspect_engine(path).weights_bytes
    assert found["fp32"] == 4 * parameters
    assert 2 * parameters <= found["fp16"] < 4 * parameters  # biases may stay in FP32


def test_tensors_and_profiles_are_those_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tiny.engine"
    profiles = (PROFILE, ShapeProfile(min=8, opt=8, max=16))
    build_engine(export_tiny(tmp_path), path, tiny_spec(profiles=profiles))
    report = inspect_engine(path)
    assert [
        (tensor.name, tensor.mode, tensor.dtype, tensor.shape) for tensor in report.tensors
    ] == [
        ("input", "input", "FP32", (-1, *SHAPE)),
        ("output", "output", "FP32", (-1, 5)),
    ]
    assert [(shapes.profile, shapes.min[0], shapes.max[0]) for shapes in report.profiles] == [
        (0, 1, 4),
        (1, 8, 16),
    ]
    assert report.profiles[1].opt == (8, *SHAPE)


def test_layer_shapes_are_those_at_the_opt_batch(engine_path: Path) -> None:
    report = inspect_engine(engine_path)
    with torch.inference_mode():
        expected = tiny_cnn()[:2](torch.zeros(PROFILE.opt, *SHAPE)).shape
    first = report.layers[0]
    assert first.inputs[0].dims == (PROFILE.opt, *SHAPE)
    assert first.outputs[0].dims == tuple(expected)
    assert "N/A" not in first.outputs[0].format
    assert report.notes == ()


def test_a_loaded_engine_serves_as_well_as_its_path(engine_path: Path) -> None:
    by_path = inspect_engine(str(engine_path))
    by_engine = inspect_engine(load_engine(engine_path))
    assert by_path.engine_bytes == engine_path.stat().st_size
    assert by_engine.path is None
    assert by_engine.engine_bytes is None
    assert by_engine.layers == by_path.layers


def test_an_engine_of_fixed_batch_is_inspected_without_profiles(tmp_path: Path) -> None:
    path = tmp_path / "tiny.engine"
    onnx_path = export_tiny(tmp_path, batch_size=3, dynamic_batch=False)
    build_engine(onnx_path, path, tiny_spec(profiles=()))
    report = inspect_engine(path)
    assert report.profiles == ()
    assert report.layers[0].inputs[0].dims == (3, *SHAPE)
    assert report.notes == ()


def test_the_report_survives_json(engine_path: Path) -> None:
    report = inspect_engine(engine_path)
    content = json.loads(report.model_dump_json())
    assert content["precision_counts"] == report.precision_counts
    computed = set(EngineReport.model_computed_fields)
    fields = {name: value for name, value in content.items() if name not in computed}
    assert EngineReport.model_validate(fields) == report


def test_names_alone_are_reported_with_a_note(tmp_path: Path) -> None:
    plan = build_with_verbosity(tmp_path, trt.ProfilingVerbosity.LAYER_NAMES_ONLY)
    (tmp_path / "plain.engine").write_bytes(plan)
    report = inspect_engine(tmp_path / "plain.engine")
    assert sorted(node for layer in report.layers for node in layer.onnx_nodes) == sorted(LAYERS)
    assert set(report.precision_counts) == {"unknown"}
    assert report.weights_bytes is None
    assert any("without ProfilingVerbosity.DETAILED" in note for note in report.notes)


def test_an_engine_that_tells_nothing_gets_a_note(tmp_path: Path) -> None:
    (tmp_path / "x.engine").write_bytes(build_with_verbosity(tmp_path, trt.ProfilingVerbosity.NONE))
    report = inspect_engine(tmp_path / "x.engine")
    assert report.layers == ()
    assert len(report.tensors) == 2
    assert any("without ProfilingVerbosity.DETAILED" in note for note in report.notes)


def test_a_context_that_holds_the_only_profile_costs_the_formats_and_no_more(
    tmp_path: Path,
) -> None:
    plan = build_with_verbosity(tmp_path, trt.ProfilingVerbosity.DETAILED)
    (tmp_path / "x.engine").write_bytes(plan)  # without PROFILE_SHARING_0806
    engine = load_engine(tmp_path / "x.engine")
    holder = engine.create_execution_context()
    report = inspect_engine(engine)
    assert holder is not None
    assert len(report.fusions) == 2
    assert any("another context" in note for note in report.notes)


# What TensorRT itself writes. The layers of 8.6 are shortened from the developer guide's example.

CONVOLUTION = {
    "Name": "res4_0_branch2a_1 + res4_0_branch2a_bn_1 + res4_0_branch2a_bn_2",
    "LayerType": "CaskConvolution",
    "Inputs": [
        {
            "Name": "res3_3_branch2c_bn_3",
            "Dimensions": [16, 512, 28, 28],
            "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format.",
        }
    ],
    "Outputs": [
        {
            "Name": "res4_0_branch2a_bn_2",
            "Dimensions": [16, 256, 28, 28],
            "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
        }
    ],
    "ParameterType": "Convolution",
    "Kernel": [1, 1],
    "Weights": {"Type": "Int8", "Count": 131072},
    "Bias": {"Type": "Float", "Count": 256},
    "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32",
    "TacticValue": "0x11bde0e1d9f2f35d",
}


def inspect_json(*layers: Any) -> EngineReport:
    """Inspect a stand-in for an engine whose inspector answers with these layers."""
    text = json.dumps({"Layers": layers, "Bindings": []}).replace("\\u001e", "\x1e")
    engine = SimpleNamespace(
        num_io_tensors=0,
        num_optimization_profiles=0,
        device_memory_size=0,
        create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda form: text),
    )
    return inspect_engine(engine)


def output_of(format: str, **changes: Any) -> dict[str, Any]:
    """Return a layer without weights whose output has this format."""
    tensor = {"Name": "x", "Dimensions": [1], "Format/Datatype": format}
    return {"Name": "/pool", "LayerType": "TiledPooling", "Outputs": [tensor], **changes}


def test_a_convolution_of_8_6_is_read_in_full() -> None:
    (layer,) = inspect_json(CONVOLUTION).layers
    assert layer.precision == "INT8"  # of the weights, although the output is FP16
    assert layer.onnx_nodes == (
        "res4_0_branch2a_1",
        "res4_0_branch2a_bn_1",
        "res4_0_branch2a_bn_2",
    )
    assert layer.outputs[0].dims == (16, 256, 28, 28)
    assert layer.inputs[0].format.startswith("Thirty-two wide channel")
    assert layer.tactic.startswith("sm80_xmma")


def test_the_bytes_of_weights_and_biases_are_summed_by_their_types() -> None:
    assert inspect_json(CONVOLUTION, CONVOLUTION).weights_bytes == 2 * (131072 * 1 + 256 * 4)


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        ("Row major linear FP32", "FP32"),
        ("Row major linear FP16 format", "FP16"),
        ("Channel major FP16 format where channel % 8 == 0", "FP16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "INT8"),
        ("Row major Int8 format", "INT8"),
        ("Row major linear INT32", "INT32"),
        ("Half", "FP16"),
        ("Float", "FP32"),
        ("Half(64,1:8,56,1)", "FP16"),
        ("BFloat16", "BF16"),
        ("N/A due to dynamic shapes", "unknown"),
    ],
)
def test_a_layer_without_weights_has_the_precision_of_its_output(
    format: str, precision: str
) -> None:
    assert inspect_json(output_of(format)).layers[0].precision == precision


def test_tf32_is_read_from_the_kernel_since_its_weights_are_stored_as_fp32() -> None:
    layer = {
        **CONVOLUTION,
        "Weights": {"Type": "Float", "Count": 9},
        "TacticName": "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw",
    }
    plain = {**layer, "TacticName": "ampere_scudnn_128x64_relu_medium_nn_v1"}
    assert inspect_json(layer, plain).precision_counts == {"TF32": 1, "FP32": 1}


@pytest.mark.parametrize("separator", ["\x1e", "\x1f", ""])
def test_onnx_nodes_are_read_from_the_metadata_whatever_separates_them(separator: str) -> None:
    metadata = separator.join(["[ONNX Layer: /conv/Conv]", "[ONNX Layer: /a[0]/Relu]"])
    (layer,) = inspect_json(output_of("Half", Name="__myl_Fused_0", Metadata=metadata)).layers
    assert layer.onnx_nodes == ("/conv/Conv", "/a[0]/Relu")


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("/conv/Conv + /relu/Relu", ("/conv/Conv", "/relu/Relu")),
        ("/a/Conv || /b/Conv", ("/a/Conv", "/b/Conv")),
        ("PWN(/relu/Relu)", ("/relu/Relu",)),
        ("PWN(PWN(/act/Sigmoid), /act/Mul)", ("/act/Sigmoid", "/act/Mul")),
        ("/fc/Gemm + (Unnamed Layer* 7) [ElementWise]", ("/fc/Gemm",)),
        ("(Unnamed Layer* 3) [Shuffle]", ()),
        ("Reformatting CopyNode for Input Tensor 0 to /a/Conv + /b/Relu", ()),
        ("__myl_Fc_myl0_1", ()),
    ],
)
def test_without_metadata_the_nodes_are_read_from_the_name(name: str, nodes: tuple) -> None:
    assert inspect_json(output_of("Half", Name=name)).layers[0].onnx_nodes == nodes


def test_reformat_layers_are_counted_apart() -> None:
    reformat = output_of("Row major linear FP32", Name="Reformatting CopyNode for Output Tensor 0")
    report = inspect_json(output_of("Half"), reformat, output_of("Half", LayerType="Reformat"))
    assert report.reformats == 2
    assert report.precision_counts == {"FP16": 1}


def test_the_layers_of_a_second_profile_are_not_counted_twice() -> None:
    again = output_of("Half", Name="/pool [profile 1]")
    assert [layer.name for layer in inspect_json(output_of("Half"), again).layers] == ["/pool"]


def test_an_answer_that_is_not_json_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SimpleNamespace(get_engine_information=lambda form: "{")
    engine = SimpleNamespace(
        num_io_tensors=0, create_engine_inspector=lambda: broken, device_memory_size=0
    )
    with pytest.raises(EngineError, match="not valid JSON"):
        inspect_engine(engine)
