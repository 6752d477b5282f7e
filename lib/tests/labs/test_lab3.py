"""Lab 3: its probes on code of every kind, and its pictures.

Its checks are tested in test_lab3_checks.py; the probes' steps apart, and attacks on them, in
test_probes3.py.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tiny import export_tiny, tiny_spec
from trtlab.backend import IS_EMULATED, cuda, trt
from trtlab.backend.compat import explicit_batch_flags
from trtlab.build import build_engine
from trtlab.calibrate import EntropyCalibrator
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks import lab3
from trtlab.checks.verdict import Verdict
from trtlab.data import preprocess, write_image_folder
from trtlab.errors import CacheError, InputError
from trtlab.lab.calibration_study import Calibrated, calibration_study, show_study
from trtlab.lab.hints import hints_for
from trtlab.lab.pictures3 import (
    TensorView,
    first_images,
    show_clip,
    show_clip_slider,
    show_inputs,
    show_int8_speedup,
    view_tensor,
)
from trtlab.lab.probes import lab3_engine
from trtlab.lab.session import verdict_on
from trtlab.results import PairedComparison
from trtlab.workloads import load_workload


def finding(verdict: Verdict, criterion: str) -> Any:
    (found,) = [each for each in verdict.findings if criterion in each.criterion]
    return found


def lost(verdict: Verdict) -> float:
    return verdict.max_points - verdict.points


# Probes


def run_check(task: str, **names: Any) -> Verdict:
    return verdict_on(task, names)


class Images(Dataset[torch.Tensor]):
    """A right CalibrationDataset; its methods are overridden to be wrong."""

    def __init__(self, data_dir: str, num_samples: int = 1000) -> None:
        files = sorted(Path(data_dir).rglob("*.png"))
        self.files = np.random.default_rng(0).permutation(files)[:num_samples]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        return preprocess(Image.open(self.files[index]))


class InBgr(Images):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index).flip(0)


class WithLabel(Images):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index), 7


class Augmented(Images):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index) + torch.randn(1)


class Empty(Images):
    def __len__(self) -> int:
        return 0


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's folder for each of two splits, with four images in it to calibrate on."""
    workload = load_workload()
    root = tmp_path_factory.mktemp("images")
    for split in ("calibration", "validation"):
        images: Any = workload.dataset(split, size=4)
        write_image_folder(images, workload.classes, root / split / "calibration_images")
    return root


@pytest.mark.parametrize(
    ("dataset", "points"),
    [(Images, 0), (InBgr, 1), (WithLabel, 2), (Augmented, 1.5), (Empty, 2.5)],
)
def test_a_dataset_is_driven_over_a_fresh_folder(
    dataset: type[Images], points: float, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders / "calibration")
    verdict = run_check("3.1", CalibrationDataset=dataset)
    assert lost(verdict) == points + 0.5, "four images are too few"


def test_validation_images_are_found_out(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders / "validation")
    verdict = run_check("3.1", CalibrationDataset=Images)
    assert lab3.VALIDATION_IMAGES in verdict.misconceptions
    assert "4 of them" in finding(verdict, "validation").measured


class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
    """A right Int8EntropyCalibrator; its methods are overridden to be wrong."""

    def __init__(self, calibration_loader: DataLoader[Any], cache_file: str) -> None:
        super().__init__()
        self.images_shown = 0
        self.loader, self.cache_file = calibration_loader, Path(cache_file)
        self.batch_size = calibration_loader.batch_size or 1
        self.batches: Iterator[Any] = iter(calibration_loader)
        self.device_input = cuda.mem_alloc(self.batch_size * calibration_loader.dataset[0].nbytes)

    def get_batch_size(self) -> int:
        return self.batch_size

    def get_batch(self, names: list[str]) -> Any:
        batch = next(self.batches, None)
        if batch is None or len(batch) < self.batch_size:
            return None
        cuda.memcpy_htod(self.device_input, batch.numpy())
        self.images_shown += len(batch)
        return [int(self.device_input)]

    def read_calibration_cache(self) -> bytes | None:
        return self.cache_file.read_bytes() if self.cache_file.exists() else None

    def write_calibration_cache(self, cache: Any) -> None:
        self.cache_file.write_bytes(cache)


class OnHost(Calibrator):
    def get_batch(self, names: list[str]) -> Any:
        address = super().get_batch(names)
        return address and [np.zeros((4, 3, 224, 224), np.float32)]


class Freed(Calibrator):
    def get_batch(self, names: list[str]) -> Any:
        address = super().get_batch(names)
        return address and [int(cuda.mem_alloc(4 * 3 * 224 * 224 * 4))]


class NotCopied(Calibrator):
    """Copies the first batch only, which the check has overwritten when the second is due."""

    def get_batch(self, names: list[str]) -> Any:
        if not self.images_shown:
            return super().get_batch(names)
        batch = next(self.batches, None)
        return [int(self.device_input)] if batch is not None and len(batch) == 4 else None


class Endless(Calibrator):
    def __init__(self, calibration_loader: DataLoader[Any], cache_file: str) -> None:
        super().__init__(calibration_loader, cache_file)
        self.batches = itertools.cycle(itertools.islice(calibration_loader, 2))


class Short(Calibrator):
    def get_batch(self, names: list[str]) -> Any:
        batch = next(self.batches, None)
        if batch is None:
            return None
        cuda.memcpy_htod(self.device_input, batch.numpy())
        self.images_shown += len(batch)
        return [int(self.device_input)]


class Hiding(Calibrator):
    def get_batch(self, names: list[str]) -> Any:
        try:
            return super().get_batch(names)
        except OSError:
            return None


class Keeping(Calibrator):
    def get_batch(self, names: list[str]) -> Any:
        try:
            return super().get_batch(names)
        except OSError as error:
            self.error = error
            return None


class NeedsCache(Calibrator):
    def read_calibration_cache(self) -> bytes | None:
        return self.cache_file.read_bytes()


class WritesText(Calibrator):
    def write_calibration_cache(self, cache: Any) -> None:
        self.cache_file.write_text(str(cache))


@pytest.mark.parametrize(
    ("calibrator", "points", "misconception"),
    [
        (Calibrator, 0, None),
        (OnHost, 1.5, "calibrator-host-pointer"),
        (Freed, 1.5, "calibrator-freed-buffer"),
        (NotCopied, 2, None),
        (Endless, 1, "calibrator-never-ends"),
        (Short, 0.5, "calibrator-stale-rows"),
        (Hiding, 0.5, "calibrator-hides-errors"),
        (Keeping, 0, None),
        (NeedsCache, 0.5, "calibrator-needs-a-cache"),
        (WritesText, 0.5, None),
    ],
)
def test_a_calibrator_is_driven_as_tensorrt_does(
    calibrator: type[Calibrator], points: float, misconception: str | None
) -> None:
    verdict = run_check("3.2", Int8EntropyCalibrator=calibrator)
    assert lost(verdict) == points, [f for f in verdict.findings if f.state == "fail"]
    assert verdict.misconceptions == ((misconception,) if misconception else ())


@pytest.fixture
def tiny_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny network, its INT8 engine and its cache under the course's names."""
    monkeypatch.chdir(tmp_path)
    onnx_path = export_tiny(tmp_path)
    batch = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    with EntropyCalibrator([batch], 4, lab3_engine.CACHE) as calibrator:
        build_engine(onnx_path, lab3_engine.ENGINE, tiny_spec("int8"), calibrator=calibrator)
    return onnx_path


def builder_of(configure: Callable[[Any, Any], None]) -> Callable[..., Any]:
    """Return a build function like the course's, whose config `configure` completes."""

    def build_engine_int8(onnx_path: str, engine_path: str, calibrator: Any) -> Any:
        with open(engine_path, "wb") as file:  # too early, which must not harm the real engine
            builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
            network = builder.create_network(explicit_batch_flags(trt))
            parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
            assert parser.parse(Path(onnx_path).read_bytes())
            config = builder.create_builder_config()
            configure(builder, config)
            file.write(builder.build_serialized_network(network, config))

    return build_engine_int8


def both_flags_and_a_profile(builder: Any, config: Any) -> None:
    config.set_flag(trt.BuilderFlag.INT8)
    config.set_flag(trt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    profile.set_shape("input", *[(4, 3, 8, 8)] * 3)
    config.set_calibration_profile(profile)


def test_the_config_is_watched_without_a_build(tiny_lab: Path) -> None:
    engine = Path(lab3_engine.ENGINE).read_bytes()
    watched = lab3_engine._watch(builder_of(both_flags_and_a_profile), tiny_lab, None)
    assert watched == {"observed": True, "fp16": True, "calibration_batch": 4}
    assert Path(lab3_engine.ENGINE).read_bytes() == engine

    watched = lab3_engine._watch(builder_of(lambda builder, config: None), tiny_lab, None)
    assert watched == {"observed": True, "fp16": False, "calibration_batch": None}

    watched = lab3_engine._watch(lambda *paths: None, tiny_lab, None)
    assert watched == {"observed": False}


def test_a_missing_calibrator_and_an_unwritten_function_are_told_apart() -> None:
    def unwritten(*arguments: Any) -> None:
        raise NotImplementedError

    not_started = run_check("3.3", build_engine_int8=unwritten)
    assert "`build_engine_int8` still raises" in not_started.findings[0].measured
    written = run_check("3.3", build_engine_int8=builder_of(both_flags_and_a_profile))
    assert "`calibrator` does not exist" in written.findings[0].measured


@pytest.mark.parametrize("task", ["3.1", "3.2", "3.3", "3.4", "3.5"])
def test_an_untouched_notebook_gets_a_card_that_says_so(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verdict = run_check(task)
    assert (verdict.state, verdict.points) == ("not started", 0)


@pytest.mark.parametrize("task", ["3.1", "3.2", "3.3", "3.4", "3.5"])
def test_every_check_has_three_hints(task: str) -> None:
    assert all(hints_for(task))


# Pictures


class Random(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(index))


@pytest.fixture
def view(tiny_lab: Path) -> TensorView:
    return view_tensor(tiny_lab, lab3_engine.CACHE, first_images(Random(), 8))


def test_a_tensor_is_viewed_with_the_range_of_the_cache(tiny_lab: Path, view: TensorView) -> None:
    ranges = CalibrationCache.read(lab3_engine.CACHE).ranges()
    assert view.calibrated == ranges[view.name]
    named = view_tensor(
        tiny_lab, lab3_engine.CACHE, first_images(Random(), 8), "/relu1/Relu_output_0"
    )
    assert named.name == "/relu1/Relu_output_0"
    assert named.histogram.counts.sum() == 5 * 4 * 8 * 8
    with pytest.raises(InputError, match=r"no tensor 'x'; it has /relu1"):
        view_tensor(tiny_lab, lab3_engine.CACHE, first_images(Random(), 8), "x")
    with pytest.raises(CacheError, match="missing"):
        view_tensor(tiny_lab, "missing.cache", first_images(Random(), 8))


def test_the_pictures_show_the_clip_that_was_asked_for(view: TensorView) -> None:
    figure = show_clip(view, view.thresholds[-1] / 2)
    left, right = figure.axes
    (clip, calibrated) = [line.get_xdata()[0] for line in left.lines]
    assert (clip, calibrated) == (view.thresholds[-1] / 2, view.calibrated)
    assert right.get_xlabel() == "clip threshold"
    assert "0 of" in show_clip(view, 2 * view.thresholds[-1]).get_suptitle()


def test_the_slider_redraws_the_picture(view: TensorView) -> None:
    slider, picture = show_clip_slider(view).children
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    slider.value = slider.min
    assert bytes(picture.value) != before


def test_the_inputs_are_drawn_and_the_guess_waits_for_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(show_inputs(Random()).axes) == 6
    if IS_EMULATED:
        assert "no guess yet" in show_int8_speedup(None).axes[0].texts[0].get_text()
    measured = PairedComparison(speedup=5, low=4.9, high=5.1, pairs=9)
    assert "5x measured" in show_int8_speedup(measured).axes[0].texts[0].get_text()


class Workload8x8:
    """Random images and labels for the tiny network."""

    def loader(self, split: str, size: int, seed: int, batch_size: int) -> Any:
        assert split == "validation"
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(size, 3, 8, 8, generator=generator)
        return [(images, torch.zeros(size, dtype=torch.int64))]


def test_the_study_finds_the_inputs_scaled_down_worse_than_those_of_inference(
    tiny_lab: Path,
) -> None:
    workload: Any = Workload8x8()
    rows = calibration_study(tiny_lab, workload, first_images(Random(), 5), evaluated=16)
    errors = {row.name: row.logits_error for row in rows}
    assert errors["entropy, 5 images, not normalised"] > 2 * errors["min-max, 5 images"] > 0
    assert len(show_study(rows).axes[0].patches) == len(rows) == 5


def test_the_study_draws_the_errors_in_percent() -> None:
    axes = show_study([Calibrated("entropy", 0.031, 59, 60, 64)]).axes[0]
    assert axes.patches[0].get_width() == pytest.approx(3.1)
    assert "59 of 64" in axes.texts[0].get_text()
