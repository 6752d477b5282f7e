"""The small network and graphs that lab 1's functions are tried on, drawn from a secret seed.

Nobody has seen their weights before, so code that only fits the notebook's own model shows.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.random import Generator
from onnx import TensorProto, helper, numpy_helper
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from trtlab.lab.exchange import read_array, write_array
from trtlab.lab.unfolded import export_unfolded

IMAGE = (3, 224, 224)
CLASSES = 7
FOLDABLE, RANDOM, CONTRADICTORY = "foldable", "random", "contradictory"
_RANGES = {"norm.weight": (0.5, 2.0), "norm.running_var": (0.5, 2.0)}
_OTHERWISE = (-0.4, 0.4)


class ExportCall(BaseModel):
    """What `export_model` is asked for, besides the model; not the notebook's own values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: tuple[int, int, int]  # (C, H, W)
    opset: int


class ProbeNet(nn.Module):
    """A small classifier with a dropout, batch statistics of its own, and a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, kernel_size=5, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, CLASSES)."""
        x = torch.relu(self.norm(self.conv(images)))  # (N, 8, h, w)
        x = self.dropout(x.mean(dim=(2, 3)))  # (N, 8)
        # The classic that freezes a batch: a reshape to what was traced.
        return self.fc(x.view(x.size(0), -1))


def draw_export(seed: int) -> tuple[ProbeNet, ExportCall]:
    """Return a network, and how it is to be exported."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.choice(range(40, 72, 4), 2, replace=False))
    call = ExportCall(input_shape=(3, height, width), opset=int(rng.integers(13, 17)))
    return _draw_net(rng), call


def draw_graphs(seed: int) -> tuple[ProbeNet, dict[str, onnx.ModelProto]]:
    """Return a network and three graphs by kind, in an order that the seed decides.

    FOLDABLE is the network, written with constant parts. RANDOM computes something else at every
    run. CONTRADICTORY declares another output shape than it computes.
    """
    rng = np.random.default_rng(seed)
    net = _draw_net(rng)
    graphs = {FOLDABLE: _unfolded(net), RANDOM: _random(rng), CONTRADICTORY: _contradictory(rng)}
    kinds = list(graphs)
    return net, {kinds[place]: graphs[kinds[place]] for place in rng.permutation(len(kinds))}


def write_net(folder: Path, net: ProbeNet) -> None:
    """Write a network's weights as arrays."""
    for name, values in net.state_dict().items():
        write_array(folder / f"{name}.npy", values.numpy())


def read_net(folder: Path) -> ProbeNet:
    """Build the network whose weights `write_net` wrote."""
    net = ProbeNet()
    arrays = {name: read_array(folder / f"{name}.npy") for name in net.state_dict()}
    net.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
    return net


def _draw_net(rng: Generator) -> ProbeNet:
    net = ProbeNet()
    for name, values in net.state_dict().items():  # they share the network's memory
        if values.is_floating_point():
            drawn = rng.uniform(*_RANGES.get(name, _OTHERWISE), tuple(values.shape))
            values.copy_(torch.from_numpy(drawn))
    return net.eval()


def _unfolded(net: ProbeNet) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        return onnx.load(export_unfolded(net, Path(folder) / "net.onnx", IMAGE))


def _random(rng: Generator) -> onnx.ModelProto:
    """Return a graph that drops other features at every run, as one exported in training mode."""
    times = int(rng.integers(6, 11))
    return _graph(
        [
            helper.make_node("GlobalMaxPool", ["input"], ["pooled"]),  # the largest of 50,176: > 0
            helper.make_node("Tile", ["pooled", "repeats"], ["many"]),
            helper.make_node("Flatten", ["many"], ["features"]),
            helper.make_node("Dropout", ["features", "ratio", "training"], ["output"]),
        ],
        columns=3 * times * times,
        constants=[
            numpy_helper.from_array(np.array([1, 1, times, times]), "repeats"),
            numpy_helper.from_array(np.float32(rng.uniform(0.4, 0.6)), "ratio"),
            numpy_helper.from_array(np.bool_(True), "training"),
        ],
    )


def _contradictory(rng: Generator) -> onnx.ModelProto:
    """Return a graph that declares more than the 3 output columns that it computes."""
    return _graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["output"]),
        ],
        columns=int(rng.integers(4, 10)),
    )


def _graph(
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
