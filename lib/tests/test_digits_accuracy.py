"""What quantisation costs the shipped model, on 1,000 fresh images and the whole way through.

The emulation's numerics are real, so these are statements about FP16 and INT8, not about code.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, TensorDataset

from trtlab.accuracy import Hits, accuracy_stats, count_hits
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.infer import TensorRTInference
from trtlab.pipeline import convert_to_onnx, fresh_calibration
from trtlab.torch_infer import torch_predictor
from trtlab.workloads import Workload, load_workload

IMAGES, SEED, BATCH = 1000, 20_261_120, 25


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload("digits", arch="resnet50-slim")


@pytest.fixture(scope="module")
def onnx_path(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "slim.onnx"
    convert_to_onnx(workload.load_model(), path)
    return path


def engine(onnx_path: Path, name: str, calibration: Dataset | None = None) -> Path:
    path = onnx_path.with_name(f"{name}.engine")
    profile = (ShapeProfile(min=1, opt=BATCH, max=BATCH),)
    spec = BuildSpec(precision=Precision(name.split("-")[0]), profiles=profile)
    if calibration is None:
        build_engine(onnx_path, path, spec)
        return path
    with fresh_calibration("entropy", calibration, 16, path.with_suffix(".cache")) as calibrator:
        build_engine(onnx_path, path, spec, calibrator=calibrator)
    return path


@pytest.fixture(scope="module")
def hits(workload: Workload, onnx_path: Path) -> dict[str, Hits]:
    """Which of the same fresh images each runner gets right."""
    generator = torch.Generator().manual_seed(0)
    noise = TensorDataset(torch.randn(64, 3, 224, 224, generator=generator), torch.zeros(64))
    engines = {
        "fp32": engine(onnx_path, "fp32"),
        "fp16": engine(onnx_path, "fp16"),
        "int8": engine(onnx_path, "int8", workload.dataset("calibration", size=64)),
        "int8-noise": engine(onnx_path, "int8-noise", noise),
    }
    predicts = {name: TensorRTInference(path) for name, path in engines.items()}
    loader = workload.loader("validation", size=IMAGES, seed=SEED, batch_size=BATCH)
    return count_hits(predicts, loader)


def lost(hits: dict[str, Hits], name: str) -> float:
    """Return the points of top-1 that an engine loses against FP32."""
    return 100 * float(hits["fp32"].top1.mean() - hits[name].top1.mean())


@pytest.mark.slow
def test_the_shipped_model_is_neither_perfect_nor_poor(hits: dict[str, Hits]) -> None:
    assert 95.0 <= accuracy_stats(hits["fp32"]).top1 <= 98.0


def test_fp32_is_pytorch_to_a_ten_thousandth(workload: Workload, onnx_path: Path) -> None:
    images: NDArray[np.float32] = next(iter(workload.loader("validation", 8, SEED)))[0].numpy()
    path = engine(onnx_path, "fp32")
    with TensorRTInference(path) as model, torch_predictor(workload.load_model()) as reference:
        np.testing.assert_allclose(model(images), reference(images), atol=1e-4)


@pytest.mark.slow
def test_fp16_loses_at_most_a_tenth_of_a_point(hits: dict[str, Hits]) -> None:
    assert lost(hits, "fp16") <= 0.1


@pytest.mark.slow
def test_int8_loses_at_most_one_point(hits: dict[str, Hits]) -> None:
    assert lost(hits, "int8") <= 1.0


@pytest.mark.slow
def test_int8_calibrated_on_noise_is_visibly_worse(hits: dict[str, Hits]) -> None:
    assert lost(hits, "int8-noise") >= 2.0 + max(0.0, lost(hits, "int8"))
