"""The engines that lab 4 runs a student's class on, with fresh images and what they should give.

The course's engine, and a small one of other tensor names, image size, classes and profile, so that
a class made for one engine shows. Running the class is collect4.py's.
"""

import atexit
import functools
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from IPython.utils.capture import capture_output
from numpy.typing import NDArray
from torch import nn

from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.engines import load_engine
from trtlab.export import export_onnx
from trtlab.infer import TensorRTInference
from trtlab.lab.artifacts import artifact, provided
from trtlab.tensors import tensor_specs
from trtlab.thresholds import THRESHOLDS

COURSE_ENGINE = "resnet50_dynamic_fp16.engine"
OTHER_PROFILE = ShapeProfile(min=2, opt=4, max=6)


@dataclass(frozen=True)
class Case:
    """One batch and the logits that it should give."""

    images: NDArray[np.float32]  # (N, C, H, W)
    expected: NDArray[np.float32]  # (N, classes)


@dataclass(frozen=True)
class Subject:
    """An engine to run a class on, the batches its profile takes, and cases for it."""

    engine: Path
    smallest: int
    largest: int
    cases: tuple[Case, ...]

    def images(self, batch: int, seed: int) -> NDArray[np.float32]:
        """Return fresh images of this engine's size, (batch, C, H, W)."""
        return fresh_images((batch, *self.cases[0].images.shape[1:]), seed)


def fresh_images(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return noise whose contrast and brightness differ from image to image: so do the logits."""
    rng = np.random.default_rng(seed)
    one_each = (shape[0],) + (1,) * (len(shape) - 1)  # (N, 1, 1, 1)
    contrast, brightness = rng.uniform(0.2, 2.0, one_each), rng.uniform(-1.0, 1.0, one_each)
    noise = rng.standard_normal(shape, dtype=np.float32)
    return (noise * contrast + brightness).astype(np.float32)


def course_subject(batches: Iterable[int], seed: int | None = None) -> Subject:
    """Return the dynamic FP16 engine, yours if it has the course's profile, with fresh cases."""
    seed = secrets.randbits(32) if seed is None else seed
    smallest, _, largest = THRESHOLDS.profile
    engine = _course_engine()
    with TensorRTInference(engine) as reference:
        shape = next(iter(reference.inputs.values())).shape[1:]
        cases = tuple(
            Case(images, reference.infer(images))
            for images in (fresh_images((n, *shape), seed + n) for n in batches)
        )
    return Subject(engine, smallest, largest, cases)


def _course_engine() -> Path:
    with capture_output():  # the notebook has said already whose engine it is
        path = artifact(COURSE_ENGINE).resolve()
    inputs, _ = tensor_specs(load_engine(path))
    batches = tuple(shape[0] for shape in next(iter(inputs.values())).profiles[0])
    return path if batches == THRESHOLDS.profile else provided(COURSE_ENGINE)


def other_subject(batches: Iterable[int], seed: int | None = None) -> Subject:
    """Return a small FP32 engine, with cases whose oracle is ONNX Runtime.

    Weights, image size and classes come from the seed; the engine is built once per seed.
    """
    seed = _session_seed() if seed is None else seed
    onnx_path, engine, shape = _build_other(seed)
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    cases = []
    for batch in batches:
        images = fresh_images((batch, *shape), seed + batch)
        cases.append(Case(images, session.run(None, {"pixels": images})[0]))
    return Subject(engine, OTHER_PROFILE.min, OTHER_PROFILE.max, tuple(cases))


@functools.cache
def _session_seed() -> int:
    return secrets.randbits(32)


@functools.cache
def _build_other(seed: int) -> tuple[Path, Path, tuple[int, int, int]]:
    """Build it; return the paths of its ONNX file and its engine, and the shape of an image."""
    folder = Path(tempfile.mkdtemp(prefix="trtlab-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = np.random.default_rng(seed)
    height, width, classes = rng.integers([16, 24, 3], [24, 32, 9]).tolist()
    shape = (1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, classes),
        ).eval()
    onnx_path = export_onnx(
        model, folder / "other.onnx", input_shape=shape, input_name="pixels", output_name="scores"
    )
    spec = BuildSpec(
        precision=Precision.FP32,
        profiles=(OTHER_PROFILE,),
        workspace_mib=64,
        optimization_level=0,  # nobody waits for a fast engine here
    )
    build_engine(onnx_path, folder / "other.engine", spec)
    return onnx_path, folder / "other.engine", shape
