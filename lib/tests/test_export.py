"""export.py, with PyTorch and ONNX Runtime as the oracles."""

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from refusals import build, is_empty, refused
from trtlab import export
from trtlab.errors import ExportError, ModelError, OutputError
from trtlab.export import export_onnx, load_onnx, simplify_onnx, verify_onnx

SHAPE = (3, 8, 8)


def small_cnn(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 5),
    ).eval()


class Frozen(nn.Module):
    """A model with the classic mistake: the traced batch size inside a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.reshape(len(x), -1))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return export_onnx(small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def resave(path: Path, change) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


# Exporting


def test_the_batch_is_dynamic_and_the_names_are_the_ones_asked_for(exported: Path) -> None:
    graph = onnx.load(exported).graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["output"]
    assert dims(graph.input[0]) == ["batch", *SHAPE]
    assert dims(graph.output[0]) == ["batch", 5]


def test_batch_norm_is_folded_into_the_convolution(exported: Path) -> None:
    operators = [node.op_type for node in onnx.load(exported).graph.node]
    assert operators == ["Conv", "Relu", "Flatten", "Gemm"]


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_opset_and_ir_version_are_ones_that_tensorrt_parses(tmp_path: Path, opset: int) -> None:
    path = export_onnx(small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE, opset=opset)
    simplify_onnx(path)
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version <= (8 if opset <= 17 else 9)


def test_a_static_export_has_its_batch_in_the_graph(tmp_path: Path) -> None:
    path = export_onnx(
        small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE, batch_size=1, dynamic_batch=False
    )
    assert dims(onnx.load(path).graph.input[0]) == [1, *SHAPE]
    assert export.batch_dimension(load_onnx(path)) == 1


def test_a_dynamic_export_from_a_batch_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="at least 2"):
        export_onnx(small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE, batch_size=1)


@pytest.mark.parametrize("opset", [7, 21])
def test_an_opset_that_the_exporter_does_not_write_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(ExportError, match=rf"Opset {opset}.*13 to 20"):
        export_onnx(small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE, opset=opset)


def test_a_model_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\.eval\(\)"):
        export_onnx(small_cnn().train(), tmp_path / "cnn.onnx", input_shape=SHAPE)


def test_a_model_that_does_not_take_the_shape_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"could not export Sequential.*\(2, 4, 8, 8\)"):
        export_onnx(small_cnn(), tmp_path / "cnn.onnx", input_shape=(4, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_and_no_half_written_one(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(OutputError, match="no space left"):
        export_onnx(small_cnn(1), exported, input_shape=SHAPE)
    assert exported.read_bytes() == before
    assert list(exported.parent.iterdir()) == [exported]


# Verifying


def test_verification_reports_the_largest_difference_by_batch_size(exported: Path) -> None:
    model = small_cnn()
    errors = verify_onnx(model, exported, batch_sizes=(1, 4))
    sample = np.random.default_rng(0).standard_normal((4, *SHAPE), np.float32)
    session = onnxruntime.InferenceSession(exported)
    found = torch.from_numpy(session.run(None, {"input": sample})[0])
    difference = found - model(torch.from_numpy(sample)).detach()
    assert set(errors) == {1, 4}
    assert errors[4] == pytest.approx(float(difference.abs().max()), abs=1e-7)
    assert 0 <= max(errors.values()) < 1e-5


def test_other_weights_are_found_out(exported: Path) -> None:
    with pytest.raises(ExportError, match=r"disagrees with PyTorch.*at batch 1"):
        verify_onnx(small_cnn(seed=1), exported)


def test_a_model_of_another_input_shape_is_found_out(exported: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 5)).eval()
    with pytest.raises(ExportError, match=r"does not take the input of .*\(1, 3, 8, 8\)"):
        verify_onnx(model, exported)


def test_an_output_of_nan_does_not_pass_for_agreement(exported: Path) -> None:
    model = small_cnn()
    with torch.no_grad():
        model[4].bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="nan at batch 1"):
        verify_onnx(model, exported)


@pytest.mark.filterwarnings("ignore:Using len:torch.jit.TracerWarning")  # the mistake itself
def test_a_batch_frozen_inside_the_graph_is_found_at_another_batch(tmp_path: Path) -> None:
    model = Frozen().eval()
    path = export_onnx(model, tmp_path / "frozen.onnx", input_shape=SHAPE)
    assert dims(onnx.load(path).graph.input[0])[0] == "batch"  # the graph claims otherwise
    with pytest.raises(ExportError, match=r"frozen inside the model|has shape"):
        verify_onnx(model, path, batch_sizes=(2, 4))


def test_a_static_model_is_verified_at_its_own_batch_only(tmp_path: Path) -> None:
    path = export_onnx(
        small_cnn(), tmp_path / "cnn.onnx", input_shape=SHAPE, batch_size=3, dynamic_batch=False
    )
    assert verify_onnx(small_cnn(), path, batch_sizes=(3,))[3] < 1e-5
    with pytest.raises(ExportError, match="fixed at 3"):
        verify_onnx(small_cnn(), path)


# Simplifying


def test_simplifying_keeps_the_function_and_the_dynamic_batch(exported: Path) -> None:
    output = exported.with_name("simplified.onnx")
    simplify_onnx(exported, output)
    assert dims(onnx.load(output).graph.input[0]) == ["batch", *SHAPE]
    assert max(verify_onnx(small_cnn(), output, batch_sizes=(1, 2, 7)).values()) < 1e-5


def test_the_report_counts_what_was_removed(tmp_path: Path) -> None:
    class Wasteful(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 1).relu().relu()

    path = export_onnx(Wasteful().eval(), tmp_path / "w.onnx", input_shape=SHAPE)

    def insert_identity(model: onnx.ModelProto) -> None:
        user = next(node for node in model.graph.node if "input" in node.input)
        user.input[0] = "same"
        model.graph.node.insert(0, helper.make_node("Identity", ["input"], ["same"]))

    resave(path, insert_identity)
    before = [node.op_type for node in onnx.load(path).graph.node]
    report = simplify_onnx(path)
    after = [node.op_type for node in onnx.load(path).graph.node]
    assert report.nodes_before == len(before)
    assert report.nodes_after == len(after) < len(before)
    assert report.ops_before["Identity"] == 1
    assert "Identity" not in report.ops_after


def test_simplifying_says_nothing_on_stdout_or_stderr(
    exported: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    simplify = export.onnxsim.simplify

    def talkative(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        print("The model contains tensors that onnxoptimizer cannot hash")  # as it does, of FP8
        return simplify(model)

    monkeypatch.setattr(export.onnxsim, "simplify", talkative)
    simplify_onnx(exported)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_simplifier_that_freezes_the_batch_is_caught(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()
    simplify = export.onnxsim.simplify
    monkeypatch.setattr(
        export.onnxsim,
        "simplify",
        lambda model: simplify(model, overwrite_input_shapes={"input": [1, *SHAPE]}),
    )
    with pytest.raises(ExportError, match="fixed its dynamic batch at 1"):
        simplify_onnx(exported)
    assert exported.read_bytes() == before


def test_a_simplifier_that_changes_the_function_is_caught(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simplify = export.onnxsim.simplify

    def wrong(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        result, ok = simplify(model)
        relu = next(node for node in result.graph.node if node.op_type == "Relu")
        relu.op_type = "Sigmoid"
        return result, ok

    monkeypatch.setattr(export.onnxsim, "simplify", wrong)
    with pytest.raises(ExportError, match="changed its outputs"):
        simplify_onnx(exported)


# Reading


def test_a_missing_file_is_reported_with_what_lies_there(exported: Path) -> None:
    with pytest.raises(ModelError, match=r"no ONNX file .*nope\.onnx.*cnn\.onnx"):
        load_onnx(exported.with_name("nope.onnx"))


@pytest.mark.parametrize(
    "content", [b"hello, world", b"\x89PNG\r\n\x1a\n", b"\x00" * 64, b"PK\x03\x04zip"]
)
def test_a_file_that_is_not_onnx_is_shown_by_its_first_bytes(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not an ONNX file: it begins with"):
        load_onnx(path)


def test_an_empty_file_is_reported_as_empty(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelError, match="is empty"):
        load_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_told_from_one_that_is_not_onnx(exported: Path, share: float) -> None:
    data = exported.read_bytes()
    exported.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match="truncated or damaged"):
        load_onnx(exported)


def save_externally(path: Path) -> Path:
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return path.with_name("w.bin")


def test_external_data_is_read_into_the_model(exported: Path) -> None:
    expected = onnx.load(exported).graph.initializer[0].raw_data
    weights = save_externally(exported)
    assert weights.stat().st_size > 0
    assert load_onnx(exported).graph.initializer[0].raw_data == expected


def test_missing_external_data_is_named(exported: Path) -> None:
    save_externally(exported).unlink()
    with pytest.raises(ModelError, match=r"second file.*w\.bin"):
        load_onnx(exported)


def test_truncated_external_data_does_not_pass(exported: Path) -> None:
    weights = save_externally(exported)
    weights.write_bytes(weights.read_bytes()[:10])
    with pytest.raises(ModelError):
        load_onnx(exported)


@pytest.mark.parametrize("link", ["", "file", "folder"])
def test_external_data_outside_the_folder_is_not_read(exported: Path, link: str) -> None:
    """It may be named by an absolute path or through `..`, or reached over a link."""
    weights = save_externally(exported)
    outside = exported.parent.parent / f"outside{exported.parent.name}"
    outside.mkdir()
    weights.rename(outside / "w.bin")
    locations = ["link/w.bin" if link == "folder" else "w.bin"]
    if link == "file":
        weights.symlink_to(outside / "w.bin")
    elif link == "folder":
        weights.with_name("link").symlink_to(outside)
    else:
        locations = [str(outside / "w.bin"), f"../{outside.name}/w.bin"]
    for location in locations:
        tell_external(exported, location=location)
        with pytest.raises(ModelError, match="outside its folder or a link"):
            load_onnx(exported)


@pytest.mark.parametrize(
    "entries",
    [{"offset": "many"}, {"offset": "-8"}, {"length": str(2**60)}, {"__class__": "int"}],
)
def test_nonsense_about_external_data_is_a_model_error(
    exported: Path, entries: dict[str, str]
) -> None:
    save_externally(exported)
    tell_external(exported, **entries)
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(exported)


def tell_external(path: Path, **entries: str) -> None:
    """Change what an ONNX file says of where its weights are."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        said = {entry.key: entry.value for entry in tensor.external_data} | entries
        del tensor.external_data[:]
        for key, value in said.items():
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def test_an_unknown_operator_fails_the_checker(exported: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Foo"

    resave(exported, rename)
    with pytest.raises(ModelError, match=r"not a valid ONNX model.*Foo"):
        load_onnx(exported)


def test_a_shape_that_contradicts_itself_fails_the_checker(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["output"])],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [2, 4])],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load_onnx(path)


# Graphs without a batch


def relu_of(path: Path, *inputs: tuple[str, list[int] | None]) -> Path:
    """Write a graph that computes Relu of a constant, or of its first input."""
    value = helper.make_tensor("c", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["constant"], value=value),
            helper.make_node("Relu", [inputs[0][0] if inputs else "constant"], ["output"]),
        ],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_without_inputs_is_refused_with_its_outputs(tmp_path: Path) -> None:
    path = relu_of(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="has no inputs, and the outputs output"):
        export.batch_dimension(load_onnx(path))
    assert "has no inputs" in refused(*build(path, tmp_path / "out" / "x.engine"))
    assert is_empty(tmp_path / "out")


def test_a_scalar_input_is_refused_with_its_name(tmp_path: Path) -> None:
    path = relu_of(tmp_path / "x.onnx", ("temperature", []))
    with pytest.raises(ModelError, match="first input, 'temperature', is a scalar"):
        export.batch_dimension(load_onnx(path))
    assert "'temperature'" in refused(*build(path, tmp_path / "out" / "x.engine"))
    assert is_empty(tmp_path / "out")
