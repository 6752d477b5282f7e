"""Collects the evidence of lab 1 from a notebook: its two files, and its two functions on probes.

The probes are small graphs that the functions have not seen, so that code which only fits the
notebook's own model shows.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from trtlab.checks.evidence1 import (
    EXPORTED,
    SIMPLIFIED,
    Agreement,
    ExportEvidence,
    GraphFacts,
    Probe,
    Refusal,
    SimplifyEvidence,
)
from trtlab.lab.artifacts import reference_model
from trtlab.lab.onnx_facts import compare, graph_facts, onnx_runner, torch_runner
from trtlab.lab.session import Names, attempt, collector, missing
from trtlab.lab.unfolded import export_unfolded

EXPORT_FUNCTION, SIMPLIFY_FUNCTION = "export_model", "simplify_model"
PROBE_SHAPE, PROBE_OPSET = (3, 48, 48), 15
IMAGE = (3, 224, 224)


class ProbeNet(nn.Module):
    """A small classifier with a dropout, batch statistics of its own, and a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, kernel_size=5, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 7)
        for values, low, high in (
            (self.norm.running_mean, -0.5, 0.5),
            (self.norm.running_var, 0.5, 2.0),
            (self.norm.weight, 0.5, 2.0),
        ):
            assert values is not None
            nn.init.uniform_(values, low, high)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, 7)."""
        x = torch.relu(self.norm(self.conv(images)))  # (N, 8, h, w)
        x = self.dropout(x.mean(dim=(2, 3)))  # (N, 8)
        # The classic that freezes a batch: a reshape to what was traced.
        return self.fc(x.view(x.size(0), -1))


@collector("1.1")
def collect_export(names: Names) -> ExportEvidence:
    """Read resnet50.onnx, and export a probe with the notebook's `export_model`."""
    function = names.get(EXPORT_FUNCTION)
    if not callable(function):
        return ExportEvidence(attempt=missing(EXPORT_FUNCTION))
    rng = np.random.default_rng()
    probe = _export_probe(function, rng)
    if _nothing_to_judge(probe, EXPORTED):
        return ExportEvidence(attempt=probe.attempt)
    reference = torch_runner(reference_model()[1])
    return ExportEvidence(
        attempt=probe.attempt.model_copy(update={"stage": "done", "error": ""}),
        graph=graph_facts(EXPORTED),
        agreement=compare(reference, EXPORTED, IMAGE, rng),
        probe=probe,
        asked_opset=PROBE_OPSET,
        asked_shape=PROBE_SHAPE,
    )


@collector("1.2")
def collect_simplify(names: Names) -> SimplifyEvidence:
    """Read both files, and simplify three small graphs with the notebook's `simplify_model`."""
    function = names.get(SIMPLIFY_FUNCTION)
    if not callable(function):
        return SimplifyEvidence(attempt=missing(SIMPLIFY_FUNCTION))
    rng = np.random.default_rng()
    given, probe = _simplify_probe(function, rng)
    if _nothing_to_judge(probe, SIMPLIFIED):
        return SimplifyEvidence(attempt=probe.attempt)
    before = graph_facts(EXPORTED)
    return SimplifyEvidence(
        attempt=probe.attempt.model_copy(update={"stage": "done", "error": ""}),
        before=before,
        after=graph_facts(SIMPLIFIED),
        agreement=Agreement(failures={1: before.problem})
        if before.problem
        else compare(onnx_runner(EXPORTED), SIMPLIFIED, IMAGE, rng),
        given=given,
        probe=probe,
        random=_refusal(function, _random_graph()),
        contradictory=_refusal(function, _contradictory_graph()),
    )


def _nothing_to_judge(probe: Probe, deliverable: str) -> bool:
    """Whether the function is not written yet, or raised before there is a file."""
    stage = probe.attempt.stage
    return stage == "not started" or (stage == "raised" and not Path(deliverable).is_file())


def _export_probe(function: Callable[..., Any], rng: np.random.Generator) -> Probe:
    # In training mode: the file has to hold the model as it is used, whatever the caller forgot.
    model = ProbeNet().train()
    reference = torch_runner(model)
    with _scratch() as folder:
        path = folder / "probe.onnx"
        tried, _ = attempt(
            EXPORT_FUNCTION,
            lambda: function(model, str(path), input_shape=PROBE_SHAPE, opset=PROBE_OPSET),
        )
        return Probe(
            attempt=tried,
            graph=_written(path),
            agreement=compare(reference, path, PROBE_SHAPE, rng),
        )


def _simplify_probe(
    function: Callable[..., Any], rng: np.random.Generator
) -> tuple[GraphFacts, Probe]:
    with _scratch() as folder:
        given, path = folder / "given.onnx", folder / "simplified.onnx"
        export_unfolded(ProbeNet().eval(), given)
        facts, reference = graph_facts(given), onnx_runner(given)
        tried, _ = attempt(SIMPLIFY_FUNCTION, lambda: function(str(given), str(path)))
        agreement = compare(reference, path, IMAGE, rng)
        return facts, Probe(attempt=tried, graph=_written(path), agreement=agreement)


def _refusal(function: Callable[..., Any], graph: onnx.ModelProto) -> Refusal:
    with _scratch() as folder:
        given, path = folder / "given.onnx", folder / "simplified.onnx"
        onnx.save(graph, given)
        tried, _ = attempt(SIMPLIFY_FUNCTION, lambda: function(str(given), str(path)))
        return Refusal(error=tried.error, wrote=path.exists())


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield an empty folder that is the current one, and keep stdout quiet.

    A function that writes to a fixed name must not overwrite the student's own file.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def _written(path: Path) -> GraphFacts:
    if not path.exists():
        return GraphFacts(problem="the function wrote no file at the path that it was given")
    return graph_facts(path)


def _random_graph() -> onnx.ModelProto:
    """Return a graph that drops other features at every run, as one exported in training mode."""
    return _small_graph(
        [
            helper.make_node("GlobalMaxPool", ["input"], ["pooled"]),  # the largest of 50,176: > 0
            helper.make_node("Tile", ["pooled", "repeats"], ["many"]),
            helper.make_node("Flatten", ["many"], ["features"]),
            helper.make_node("Dropout", ["features", "ratio", "training"], ["output"]),
        ],
        columns=3 * 64,
        constants=[
            numpy_helper.from_array(np.array([1, 1, 8, 8]), "repeats"),
            numpy_helper.from_array(np.float32(0.5), "ratio"),
            numpy_helper.from_array(np.bool_(True), "training"),
        ],
    )


def _contradictory_graph() -> onnx.ModelProto:
    """Return a graph that declares 7 output columns and computes 3."""
    return _small_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["output"]),
        ],
        columns=7,
    )


def _small_graph(
    nodes: list[onnx.NodeProto], columns: int, constants: Sequence[onnx.TensorProto] = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *IMAGE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", columns])],
        constants,
    )
    # IR 8 is what PyTorch writes with opset 17.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
