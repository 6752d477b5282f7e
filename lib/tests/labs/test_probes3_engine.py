"""What lab 3's probes make of an engine and its cache that may be hostile.

A tiny network stands for the course's. The steps apart: test_probes3.py.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tiny import export_tiny, tiny_cnn, tiny_spec
from trtlab.backend import IS_EMULATED
from trtlab.build import ShapeProfile, build_engine
from trtlab.calibrate import EntropyCalibrator
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.registry import judge
from trtlab.export import export_onnx
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import Scene, probe_of
from trtlab.lab.probes import lab3_engine

SEED = 20_240_611


class Workload8x8:
    """Random images for the tiny network."""

    def loader(self, split: str, size: int, seed: int, batch_size: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return [(torch.randn(size, 3, 8, 8, generator=generator), torch.zeros(size))]


def make_deliverables(folder: Path, onnx_path: Path, scale: float = 1) -> None:
    """Build the engine and the cache that a student hands in, calibrated on scaled images."""
    folder.mkdir()
    (images, _) = Workload8x8().loader("calibration", 64, 0, 64)[0]
    spec = tiny_spec("int8", profiles=(ShapeProfile(min=1, opt=8, max=32),))
    batches = [batch.numpy() * np.float32(scale) for batch in images.split(32)]
    with EntropyCalibrator(batches, 32, folder / lab3_engine.CACHE) as calibrator:
        build_engine(onnx_path, folder / lab3_engine.ENGINE, spec, calibrator=calibrator)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny network is the course's; return its ONNX file."""
    if not IS_EMULATED:
        pytest.skip("on a GPU, the size of a tiny engine and its time are judged as well")
    onnx_path, fp32_engine = export_tiny(tmp_path), tmp_path / "fp32.engine"
    spec = tiny_spec("fp32", profiles=(ShapeProfile(min=1, opt=8, max=32),))
    build_engine(onnx_path, fp32_engine, spec)
    provided = {lab3_engine.ONNX: onnx_path, lab3_engine.FP32_ENGINE: fp32_engine}
    monkeypatch.setattr(lab3_engine, "provided", provided.__getitem__)
    monkeypatch.setattr(lab3_engine, "load_workload", Workload8x8)
    monkeypatch.setattr(lab3_engine, "reference_model", lambda: (Workload8x8(), tiny_cnn()))
    return onnx_path


@pytest.fixture
def folder(course: Path, tmp_path: Path) -> Path:
    """A lab's folder with a good engine and its cache."""
    make_deliverables(tmp_path / "lab", course)
    return tmp_path / "lab"


WATCHED = lab3_engine.Int8Observed.model_validate(
    {
        "attempt": {"stage": "done", "what": "build_engine_int8"},
        "observed": True,
        "fp16": True,
        "calibration_batch": 32,
        "batch_size": 32,
        "images_shown": 64,
    }
)


def lost_of_files(folder: Path, bench: LocalBench | None = None) -> dict[str, set[str]]:
    """Judge the files in a folder; return the criteria that failed, by task."""
    scene = Scene(folder, folder, SEED, folder, bench or LocalBench())
    found = {}
    for task in ("3.3", "3.4", "3.5"):
        verdict = judge(task, probe_of(task).evidence(WATCHED, scene))
        failed = {each.criterion for each in verdict.findings if each.state == "fail"}
        found[task] = failed or ({verdict.state} & {"not started"})
    return {task: lost for task, lost in found.items() if lost}


ANSWERS = {
    "3.3": {"its answers are the FP32 model's"},
    "3.4": {"its answers are the FP32 model's", "speed-up over PyTorch FP32 at batch 1"},
}


def test_a_good_engine_and_its_cache_lose_nothing(folder: Path) -> None:
    assert lost_of_files(folder) == {}


def linked(path: Path) -> None:
    target = path.rename(path.with_name("elsewhere"))
    path.symlink_to(target)


def test_an_engine_behind_a_link_is_none(folder: Path) -> None:
    linked(folder / lab3_engine.ENGINE)
    lost = lost_of_files(folder)
    assert lost["3.4"] == lost["3.5"] == {"not started"}
    assert "the layers compute in INT8" in lost["3.3"]


def test_an_engine_of_other_weights_is_found_out(folder: Path, tmp_path: Path) -> None:
    other = export_onnx(tiny_cnn(seed=1), tmp_path / "other.onnx", input_shape=(3, 8, 8))
    shutil.rmtree(folder)
    make_deliverables(folder, other)
    lost = lost_of_files(folder)
    assert {task: ANSWERS[task] <= lost[task] for task in ANSWERS} == {"3.3": True, "3.4": True}


def test_an_engine_of_a_smaller_network_is_not_small(folder: Path, tmp_path: Path) -> None:
    nothing = nn.Sequential(nn.Conv2d(3, 5, 8), nn.Flatten()).eval()
    other = export_onnx(nothing, tmp_path / "other.onnx", input_shape=(3, 8, 8))
    shutil.rmtree(folder)
    make_deliverables(folder, other)
    assert "bytes per weight" in lost_of_files(folder)["3.5"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda right: np.full_like(right, np.nan),
        lambda right: np.full_like(right, np.inf),
        lambda right: right[np.newaxis],  # right, but for the shape
        lambda right: right[:1],
        lambda right: np.full_like(right, 3e38),  # its norm overflows float32
    ],
    ids=["NaN", "Inf", "another rank", "fewer", "huge"],
)
def test_impossible_answers_earn_nothing(
    answer: Callable[[NDArray[np.float32]], NDArray[np.float32]], folder: Path
) -> None:
    class Hostile(LocalBench):
        def run_engine(self, engine: Path, images: Any, batch: int) -> NDArray[np.float32]:
            return answer(super().run_engine(engine, images, batch))

    assert lost_of_files(folder, Hostile()) == ANSWERS
    scene = Scene(folder, folder, SEED, folder, Hostile())
    error = lab3_engine.Int8Speedup().evidence(WATCHED, scene).logits_error
    assert error is None or np.isfinite(error), "no JSON holds NaN or Inf"


CACHE = {"3.3": {"the cache holds this network's ranges"}}


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        linked,
        lambda path: os.truncate(path, 1 << 40),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
    ids=["missing", "a link", "oversized", "a pipe"],
)
def test_a_cache_that_is_no_plain_file_earns_nothing(
    damage: Callable[[Path], Any], folder: Path
) -> None:
    damage(folder / lab3_engine.CACHE)
    assert lost_of_files(folder) == CACHE


def scaled(cache: CalibrationCache, factor: float) -> CalibrationCache:
    """Return a cache whose ranges are scaled, but for the input's."""
    scales = {name: scale * factor for name, scale in cache.scales.items()}
    return CalibrationCache(
        cache.version, cache.algorithm, scales | {"input": cache.scales["input"]}
    )


@pytest.mark.parametrize(
    "forge",
    [
        lambda cache: b"TRT-" + b"9" * 5000 + b"-EntropyCalibration2\ninput: 3caa6eb7\n",
        lambda cache: b"\xff" * 100,
        lambda cache: cache.to_bytes().replace(b"EntropyCalibration2", b"MinMaxCalibration"),
        lambda cache: cache.to_bytes().replace(b"input: ", b"other: "),
        lambda cache: scaled(cache, 0.05).to_bytes(),
        lambda cache: scaled(cache, 20).to_bytes(),
    ],
    ids=["endless version", "no text", "another algorithm", "no input", "too small", "too large"],
)
def test_a_forged_cache_earns_nothing(
    forge: Callable[[CalibrationCache], bytes], folder: Path
) -> None:
    path = folder / lab3_engine.CACHE
    path.write_bytes(forge(CalibrationCache.read(path)))
    assert lost_of_files(folder) == CACHE


def test_a_calibration_on_other_inputs_shows_in_the_file(course: Path, tmp_path: Path) -> None:
    make_deliverables(tmp_path / "lab", course, scale=100)
    assert CACHE["3.3"] | ANSWERS["3.3"] == lost_of_files(tmp_path / "lab")["3.3"]
