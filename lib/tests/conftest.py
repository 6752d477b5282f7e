"""Fixtures that several test files share, such as a network whose engines build in no time."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings
from torch import nn

SMALL_CLASSES = 10

# The same examples in every run, and all the time they need: a red test is about the code, never
# about luck or a busy machine.
settings.register_profile("trtlab", derandomize=True, deadline=None)
settings.load_profile("trtlab")


class SmallNet(nn.Module):
    """A few layers with the inputs and outputs of the digits workload's model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.fc = nn.Linear(16, SMALL_CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))  # (N, 16, 13, 13)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


@pytest.fixture(scope="session")
def small_net() -> nn.Module:
    torch.manual_seed(0)
    return SmallNet().eval()


@pytest.fixture(scope="session")
def small_onnx(small_net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as ONNX, with a dynamic batch."""
    from trtlab.export import export_onnx

    return export_onnx(small_net, tmp_path_factory.mktemp("onnx") / "small.onnx")


@pytest.fixture(scope="session")
def small_engine(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP16 engine of it for batches 1 to 4, with its sidecar."""
    from trtlab.build import BuildSpec, ShapeProfile, build_engine

    path = tmp_path_factory.mktemp("engine") / "small.engine"
    build_engine(small_onnx, path, BuildSpec(profiles=(ShapeProfile(min=1, opt=2, max=4),)))
    return path


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen drawn digits as PNG files, one folder a class."""
    from trtlab.data import write_image_folder
    from trtlab.workloads import load_workload

    workload = load_workload("digits", arch="resnet50-slim")
    folder = tmp_path_factory.mktemp("digits")
    return write_image_folder(workload.dataset("calibration", 16), workload.classes, folder)


@pytest.fixture
def gpu_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA events as on a GPU whose default stream is idle: they happen when they are recorded."""

    class Event:
        def record(self) -> None:
            self.recorded = time.perf_counter()

        def synchronize(self) -> None:
            self.waited = True

        def time_since(self, start: "Event") -> float:
            assert self.waited
            return (self.recorded - start.recorded) * 1e3

    monkeypatch.setattr("trtlab.backend.cuda", SimpleNamespace(Event=Event))
