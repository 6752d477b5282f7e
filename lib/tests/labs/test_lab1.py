"""What lab 1 reads off ONNX files, its probes in a notebook, and its pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tiny import export_tiny
from trtlab.checks.evidence1 import (
    Agreement,
    GraphFacts,
)
from trtlab.errors import ModelError
from trtlab.export import export_onnx
from trtlab.lab import onnx_facts, pictures1
from trtlab.lab.hints import hints_for
from trtlab.lab.session import verdict_on
from trtlab.lab.unfolded import export_unfolded

# Collecting


def test_facts_of_a_file_are_its_own(tmp_path: Path) -> None:
    facts = onnx_facts.graph_facts(export_tiny(tmp_path))
    assert facts == GraphFacts(
        opset=17,
        inputs={"input": ["batch", 3, 8, 8]},
        outputs={"output": ["batch", 5]},
        ops={"Conv": 2, "Relu": 2, "Flatten": 1, "Gemm": 1},
        weights=4 * 27 + 4 + 4 * 36 + 4 + 5 * 256 + 5,
    )
    fixed = onnx_facts.graph_facts(export_tiny(tmp_path, dynamic_batch=False))
    assert fixed.batches == [2, 2]
    assert not fixed.has_dynamic_batch


def test_what_is_no_onnx_file_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    assert "not an ONNX file" in onnx_facts.graph_facts(tmp_path / "text.onnx").problem
    assert "There is no" in onnx_facts.graph_facts(tmp_path / "none.onnx").problem


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning"
)
def test_nodes_that_act_as_in_training_are_counted(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    path = tmp_path / "training.onnx"
    example = (torch.randn(2, 3, 8, 8),)
    torch.onnx.export(
        model, example, str(path), dynamo=False, training=torch.onnx.TrainingMode.TRAINING
    )
    assert onnx_facts.graph_facts(path).training_nodes == 2


def compared(reference: onnx_facts.Runner, path: Path) -> Agreement:
    facts, run = onnx_facts.graph_facts(path), onnx_facts.onnx_runner(path)
    return onnx_facts.compare(reference, run, facts, (3, 8, 8), np.random.default_rng(0))


def test_comparing_finds_agreement_differences_and_batches_that_do_not_run(tmp_path: Path) -> None:
    path = export_tiny(tmp_path)
    right = onnx_facts.onnx_runner(path)
    assert compared(right, path).differences == {1: 0, 2: 0, 3: 0}

    shifted = compared(lambda images: right(images) + 1, path)
    assert shifted.largest == pytest.approx(1, rel=1e-5)
    assert not shifted.holds

    narrower = compared(lambda images: right(images)[:, :2], path)
    assert narrower.wrong[1] == "the output is (1, 5), expected (1, 2)"

    fixed = export_tiny(tmp_path, batch_size=4, dynamic_batch=False)
    agreement = compared(lambda images: np.zeros((len(images), 5), np.float32), fixed)
    assert agreement.failures.keys() == {1, 2, 3}
    assert agreement.differences.keys() == {4}  # the batch that the file is fixed at


def rewritten(path: Path, *nodes: onnx.NodeProto, **changes: Any) -> Path:
    """Put other nodes after those of an ONNX file whose last output they take as "logits"."""
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.extend(nodes)
    if "batch" in changes:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = changes["batch"]
    if "output_type" in changes:
        model.graph.output[0].type.CopyFrom(changes["output_type"])
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("operator", ["Log", "Reciprocal"])
def test_nan_and_infinity_never_agree(tmp_path: Path, operator: str) -> None:
    relu = onnx.helper.make_node("Relu", ["logits"], ["positive"])  # which leaves zeros
    last = onnx.helper.make_node(operator, ["positive"], ["output"])
    path = rewritten(export_tiny(tmp_path), relu, last)
    agreement = compared(onnx_facts.onnx_runner(path), path)  # with itself
    assert "the output holds NaN or Inf" in agreement.wrong.values()
    assert not agreement.holds


def test_an_output_that_is_no_array_of_numbers_is_a_failure(tmp_path: Path) -> None:
    split = onnx.helper.make_node("SplitToSequence", ["logits"], ["output"], axis=0)
    element = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    sequence = onnx.helper.make_sequence_type_proto(element)
    path = rewritten(export_tiny(tmp_path), split, output_type=sequence)
    agreement = compared(lambda images: np.zeros((len(images), 5), np.float32), path)
    assert set(agreement.failures.values()) == {"the first output is no array of numbers"}


def test_a_batch_fixed_at_billions_is_not_tried(tmp_path: Path) -> None:
    identity = onnx.helper.make_node("Identity", ["logits"], ["output"])
    path = rewritten(export_tiny(tmp_path, dynamic_batch=False), identity, batch=2**40)
    facts = onnx_facts.graph_facts(path)
    assert facts.problem or compared(onnx_facts.onnx_runner(path), path).failures.keys() <= {
        1,
        2,
        3,
    }


def test_running_a_file_reads_no_data_from_outside_its_folder(tmp_path: Path) -> None:
    export_tiny(tmp_path)
    folder = tmp_path / "student"
    folder.mkdir()
    model, path = onnx.load(tmp_path / "tiny.onnx"), folder / "tiny.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="a link"):
        onnx_facts.onnx_runner(path)(np.zeros((1, 3, 8, 8), np.float32))


# In the notebook


@pytest.mark.parametrize("task", ["1.1", "1.2"])
def test_a_notebook_without_the_functions_has_not_begun(task: str) -> None:
    assert verdict_on(task, {}).state == "not started"


@pytest.mark.parametrize("task", ["1.1", "1.2"])
def test_functions_that_raise_where_they_stand_have_not_begun(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritten(*args: object, **options: object) -> None:
        raise NotImplementedError

    monkeypatch.chdir(tmp_path)
    verdict = verdict_on(task, {"export_model": unwritten, "simplify_model": unwritten})
    assert (verdict.state, verdict.points) == ("not started", 0)
    assert "NotImplementedError" in verdict.findings[0].measured


@pytest.mark.parametrize("task", ["1.1", "1.2"])
def test_a_function_that_raises_before_there_is_a_file_says_why(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: object, **options: object) -> None:
        raise ValueError("names must be given")

    monkeypatch.chdir(tmp_path)
    verdict = verdict_on(task, {"export_model": wrong, "simplify_model": wrong})
    assert verdict.state == "fail"
    assert "ValueError: names must be given" in verdict.findings[0].measured


def test_probing_leaves_the_current_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes_to_fixed_names(onnx_path: str, simplified_path: str) -> None:
        print("noise")
        Path("resnet50_simplified.onnx").write_text("overwritten")

    monkeypatch.chdir(tmp_path)
    Path("resnet50_simplified.onnx").write_text("mine")
    verdict_on("1.2", {"simplify_model": writes_to_fixed_names})
    assert Path.cwd() == tmp_path
    assert Path("resnet50_simplified.onnx").read_text() == "mine"


# Pictures and hints


def test_pictures_of_missing_files_say_so() -> None:
    for figure in (
        pictures1.draw_simplification(("none.onnx", "nor.onnx")),
        pictures1.draw_folding(small_stem(), "none.onnx"),
    ):
        (text,) = figure.axes[0].texts
        assert "Nothing to draw yet. There is no ONNX file" in text.get_text().replace("\n", " ")
    assert "There is no ONNX file" in pictures1.graph_table("none.onnx").data


def small_stem() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 4, 3, bias=False))
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.running_mean, -1, 1)
    model.add_module("bn1", norm)
    return model.eval()


def test_the_folding_picture_tells_a_folded_file_from_an_unfolded_one(tmp_path: Path) -> None:
    model = small_stem()
    folded = export_onnx(model, tmp_path / "folded.onnx", input_shape=(3, 8, 8))
    unfolded = export_unfolded(model, tmp_path / "unfolded.onnx", (3, 8, 8))
    gaps = []
    for path in (folded, unfolded):
        _, factors, shifts = pictures1.draw_folding(model, path).axes
        points = [axes.collections[0].get_offsets() for axes in (factors, shifts)]
        gaps.append(max(float(np.abs(xy[:, 0] - xy[:, 1]).max()) for xy in points))
    assert gaps[0] < 1e-5
    assert gaps[1] > 0.1


def test_the_simplification_picture_counts_nodes(tmp_path: Path) -> None:
    model = small_stem()
    before = export_unfolded(model, tmp_path / "before.onnx", (3, 8, 8))
    after = export_tiny(tmp_path)
    (axes,) = pictures1.draw_simplification((before, after)).axes
    assert axes.get_title(loc="left") == "before.onnx: 2 -> 6 nodes"
    texts = {text.get_text().strip() for text in axes.texts}
    assert {"1 -> 0", "1 -> 2"} <= texts


@pytest.mark.parametrize("task", ["1.1", "1.2"])
def test_every_checked_task_has_three_hints(task: str) -> None:
    assert all(hints_for(task))
