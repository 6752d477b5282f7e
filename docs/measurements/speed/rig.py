"""What the sections of measure_speed.py share: a trained model, its ONNX file, and engines."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trtlab.backend import IS_EMULATED
from trtlab.build import build_engine
from trtlab.calibrate import BaseCalibrator
from trtlab.data import normalise
from trtlab.digits import DigitsDataset
from trtlab.pipeline import calibrator_class, convert_to_onnx, fresh_calibration
from trtlab.spec import BuildSpec, Precision, ShapeProfile
from trtlab.workloads import load_workload

STANDARD = ShapeProfile(min=1, opt=8, max=128)
"""The profile of the engines that every section uses; a timing cache that is carried knows it."""

LARGE = ShapeProfile(min=1, opt=256, max=512)
"""The profile of the engines that show what the GPU can do; the cache knows it for INT8."""

BATCHES = (1, 8, 32, 128)
CALIBRATION_BATCH = 32
CALIBRATION_IMAGES = 128
NEEDS_GPU = {"skipped": "needs a GPU with TensorRT; this is the emulation"}

T = TypeVar("T")


class Rig:
    """The model under measurement and what is made of it; nothing is made twice.

    Args:
        folder: where ONNX file, engines and calibration caches stay between the sections.
        timing_cache: TensorRT's measured tactics; read if it exists, updated after every build.
        quick: measure next to nothing, to try the scripts themselves.

    Attributes:
        workload: the drawn digits, whose model is the full ResNet-50 where there is a GPU.
        batches: batch sizes to measure at.
        emulated: whether TensorRT is the CPU emulation here.
    """

    def __init__(self, folder: Path, timing_cache: Path, quick: bool) -> None:
        self.folder, self.timing_cache, self.quick = folder, timing_cache, quick
        self.emulated = IS_EMULATED
        self.workload = load_workload("digits")
        self.batches = self.count(BATCHES, (1, 2))
        self._model: nn.Module | None = None

    def count(self, full: T, quick: T) -> T:
        """Return how much to do: `full`, or `quick` where only the scripts are tried."""
        return quick if self.quick else full

    def model(self) -> nn.Module:
        """Return the trained model: FP32, eval mode, on the CPU. Copy it before changing it."""
        if self._model is None:
            torch.manual_seed(0)
            self._model = self.workload.load_model()
        return self._model

    def onnx(self) -> Path:
        """Return the simplified ONNX file of the model, its batch dynamic."""
        path = self.folder / "model.onnx"
        if not path.exists():
            convert_to_onnx(self.model(), path, input_shape=self.workload.input_shape)
        return path

    def images(self, batch: int) -> Tensor:
        """Return validation images on the GPU, (batch, 3, 224, 224) float32."""
        pictures, _ = self.validation(batch).draw(range(batch), "cuda")
        return normalise(pictures)

    def validation(self, size: int, seed: int = 0) -> DigitsDataset:
        """Return a validation set of `size` images; another seed gives fresh ones."""
        return DigitsDataset("validation", size, seed)

    def engine(
        self,
        precision: Precision,
        batches: ShapeProfile,
        *,
        images: int = CALIBRATION_IMAGES,
        algorithm: str = "entropy",
        dataset: Dataset[Any] | None = None,
        name: str | None = None,
    ) -> Path:
        """Return an engine file, built when it is first asked for.

        Args:
            precision: of the engine.
            batches: its optimization profile.
            images: size of the calibration set; INT8 only, as is what follows.
            algorithm: "entropy" or "minmax".
            dataset: calibrates in place of the workload's own images; needs a `name`.
            name: of the file; None makes one of the other arguments.

        Raises:
            ValueError: if there is a `dataset` and no `name`.
            BuildError, CalibrationError: as `build_engine`.
        """
        if name is None:
            name = f"{precision.value}-{batches.min}-{batches.opt}-{batches.max}"
            if precision is Precision.INT8:
                name += f"-{self.calibration_cache(images, algorithm, dataset, None).stem}"
        path = self.folder / f"{name}.engine"
        if not path.exists():
            spec = BuildSpec(precision=precision, profiles=(batches,))
            calibration: AbstractContextManager[Any] = nullcontext()
            if precision is Precision.INT8:
                calibration = self.calibrator(images, algorithm, dataset, name)
            with calibration as calibrator:
                sidecar = build_engine(
                    self.onnx(), path, spec, calibrator=calibrator, timing_cache=self.timing_cache
                )
            print(f"built {path.name} in {sidecar.build_seconds:.1f} s", file=sys.stderr)
        return path

    def calibrator(
        self,
        images: int = CALIBRATION_IMAGES,
        algorithm: str = "entropy",
        dataset: Dataset[Any] | None = None,
        name: str | None = None,
    ) -> AbstractContextManager[BaseCalibrator]:
        """Return a calibrator; its scales come from the cache of an earlier calibration, if any.

        Calibration does not depend on the profile, so engines of several profiles share one. The
        arguments are `engine`'s.
        """
        cache = self.calibration_cache(images, algorithm, dataset, name)
        if cache.exists():
            return calibrator_class(algorithm)([], CALIBRATION_BATCH, cache)
        if dataset is None:
            size = self.count(images, CALIBRATION_BATCH)
            dataset = self.workload.dataset("calibration", size=size)
        return fresh_calibration(algorithm, dataset, CALIBRATION_BATCH, cache)

    def calibration_cache(
        self,
        images: int = CALIBRATION_IMAGES,
        algorithm: str = "entropy",
        dataset: Dataset[Any] | None = None,
        name: str | None = None,
    ) -> Path:
        """Return the file of the scales that belong to `calibrator` of the same arguments."""
        if dataset is None:
            return self.folder / f"{algorithm}-{images}.calibration"
        if name is None:
            raise ValueError("An engine calibrated on another data set needs a name.")
        return self.folder / f"{name}.calibration"
