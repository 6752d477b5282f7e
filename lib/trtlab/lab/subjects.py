"""The engines that lab 4 runs a student's class on, with fresh images and what they should give.

`COURSE` is the course's dynamic FP16 engine, always the provided one: what the class is worth must
not hang on an engine that its author has built. `OTHER` is a small engine of other tensor names,
image size, classes and profile, so that a class made for one engine shows. Engines and images are
written by trusted code, which also knows the logits; running the class is probes/lab4.py's.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.errors import of_the_course
from trtlab.export import export_onnx
from trtlab.lab.artifacts import provided
from trtlab.lab.bench import Bench
from trtlab.lab.exchange import read_array, write_array
from trtlab.thresholds import THRESHOLDS
from trtlab.workloads import load_workload

COURSE_ENGINE = "resnet50_dynamic_fp16.engine"

Images = NDArray[np.float32]  # (N, C, H, W)
Logits = NDArray[np.float32]  # (N, classes)


@dataclass(frozen=True)
class Subject(ABC):
    """An engine to run a class on.

    Attributes:
        name: of its files in the folder `given`.
        profile: the batches that it takes.
    """

    name: str
    profile: ShapeProfile

    def give(self, given: Path, seed: int, batches: Sequence[int]) -> None:
        """Write the engine and fresh images, a file for each of `batches`, into `given`."""
        self._write_engine(self.engine(given), seed)
        for index, images in enumerate(self.images(seed, batches)):
            write_array(self._images_file(given, index), images)

    def engine(self, given: Path) -> Path:
        """Return the path of the engine that `give` has written."""
        return given / f"{self.name}.engine"

    def given_images(self, given: Path, count: int) -> list[Images]:
        """Return the first `count` batches that `give` has written."""
        return [read_array(self._images_file(given, index)) for index in range(count)]

    def images(self, seed: int, batches: Sequence[int]) -> list[Images]:
        """Return the batches that `give` writes, the same for the same seed."""
        rng = np.random.default_rng(seed)
        shape = self._image_shape(seed)
        return [fresh_images((batch, *shape), rng) for batch in batches]

    @abstractmethod
    def logits(self, seed: int, images: Images, bench: Bench) -> Logits:
        """Return what the engine should give for one batch."""

    def _images_file(self, given: Path, index: int) -> Path:
        return given / f"{self.name}-{index}.npy"

    @abstractmethod
    def _image_shape(self, seed: int) -> tuple[int, ...]:
        """Return (C, H, W)."""

    @abstractmethod
    def _write_engine(self, path: Path, seed: int) -> None: ...


class _Course(Subject):
    """The provided engine; what it should give is what it gives on the bench."""

    def logits(self, seed: int, images: Images, bench: Bench) -> Logits:
        with of_the_course(f"The provided {COURSE_ENGINE}"):
            return bench.run_engine(provided(COURSE_ENGINE), images, len(images))

    def _image_shape(self, seed: int) -> tuple[int, ...]:
        return load_workload().input_shape

    def _write_engine(self, path: Path, seed: int) -> None:
        shutil.copyfile(provided(COURSE_ENGINE), path)


class _Other(Subject):
    """An FP32 engine whose weights, image size and classes come from the seed.

    What it should give comes from PyTorch on the CPU.
    """

    def logits(self, seed: int, images: Images, bench: Bench) -> Logits:
        model, _ = _other_model(seed)
        with torch.inference_mode():
            return model(torch.from_numpy(images)).numpy()

    def _image_shape(self, seed: int) -> tuple[int, ...]:
        return _other_model(seed)[1]

    def _write_engine(self, path: Path, seed: int) -> None:
        model, shape = _other_model(seed)
        spec = BuildSpec(
            precision=Precision.FP32,
            profiles=(self.profile,),
            workspace_mib=64,
            optimization_level=0,  # nobody waits for a fast engine here
        )
        with tempfile.TemporaryDirectory(prefix="trtlab-") as name:
            onnx_path = export_onnx(
                model,
                Path(name) / "other.onnx",
                input_shape=shape,
                input_name="pixels",
                output_name="scores",
            )
            engine = Path(name) / "other.engine"
            build_engine(onnx_path, engine, spec)
            shutil.copyfile(engine, path)  # without its sidecar, which nobody needs here


def _other_model(seed: int) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return the small model in eval mode, and the shape of its images."""
    rng = np.random.default_rng([seed, 1])  # not the images' own
    height, width, classes = rng.integers([16, 24, 3], [24, 32, 9]).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, classes),
        )
    return model.eval(), (1, height, width)


def fresh_images(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Return noise whose contrast and brightness differ from image to image: so do the logits."""
    one_each = (shape[0],) + (1,) * (len(shape) - 1)  # (N, 1, 1, 1)
    contrast, brightness = rng.uniform(0.2, 2.0, one_each), rng.uniform(-1.0, 1.0, one_each)
    noise = rng.standard_normal(shape, dtype=np.float32)
    return (noise * contrast + brightness).astype(np.float32)


_smallest, _usual, _largest = THRESHOLDS.profile
COURSE = _Course("course", ShapeProfile(min=_smallest, opt=_usual, max=_largest))
OTHER = _Other("other", ShapeProfile(min=2, opt=4, max=6))
