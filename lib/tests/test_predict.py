"""What `trtlab infer` predicts, with PyTorch as the oracle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trtlab.build import build_engine
from trtlab.errors import InputError
from trtlab.export import export_onnx
from trtlab.predict import predict
from trtlab.spec import BuildSpec, Precision, ShapeProfile
from trtlab.workloads import Workload, load_workload


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload("digits", arch="resnet50-slim")


@pytest.fixture(scope="module", params=["fixed at 4", "3 to 5"])
def engine(
    request: pytest.FixtureRequest, small_net: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An FP32 engine that takes no batch below 3."""
    folder = tmp_path_factory.mktemp("engine")
    fixed = request.param == "fixed at 4"
    export_onnx(small_net, folder / "x.onnx", batch_size=4, dynamic_batch=not fixed)
    profiles = () if fixed else (ShapeProfile(min=3, opt=4, max=5),)
    spec = BuildSpec(precision=Precision.FP32, profiles=profiles)
    build_engine(folder / "x.onnx", folder / "x.engine", spec)
    return folder / "x.engine"


def array_of(folder: Path, count: int) -> Path:
    images = np.random.default_rng(0).standard_normal((count, 3, 224, 224), np.float32)
    np.save(folder / "x.npy", images)
    return folder / "x.npy"


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_an_engine_that_asks_for_several_images_takes_any_number_of_them(
    engine: Path,
    small_net: nn.Module,
    workload: Workload,
    tmp_path: Path,
    count: int,
    batch_size: int | None,
) -> None:
    source = array_of(tmp_path, count)
    found = predict(engine, source, workload, batch_size)
    with torch.inference_mode():
        expected = small_net(torch.from_numpy(np.load(source))).softmax(1).numpy()  # (N, classes)
    assert len(found) == count
    for prediction, row in zip(found, expected, strict=True):
        probabilities = [guess.probability for guess in prediction.top5]
        assert probabilities == pytest.approx(sorted(row, reverse=True)[:5], abs=1e-4)
        assert probabilities == pytest.approx([row[g.index] for g in prediction.top5], abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_batch_size_outside_the_profile_is_refused_with_both_its_ends(
    engine: Path, workload: Workload, tmp_path: Path, batch_size: int
) -> None:
    with pytest.raises(InputError, match=rf"size is {batch_size}, .* takes (4 to 4|3 to 5): use"):
        predict(engine, array_of(tmp_path, 6), workload, batch_size)
