"""Engines as students build them by mistake; a mutant's cell makes one in the current folder.

Small batches and few images: what is wrong with these engines shows in any size.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.calibrate import EntropyCalibrator
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.lab import provided
from trtlab.workloads import load_workload

BATCH = 8
PROFILE = (ShapeProfile(min=1, opt=8, max=32),)


def with_untrained_classifier() -> Path:
    """Return an FP16 engine of a network whose last layer was never trained."""
    model = onnx.load(provided("resnet50_simplified.onnx"))
    (gemm,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == gemm.input[1]]
    rng = np.random.default_rng(0)
    fresh = rng.standard_normal(tuple(weight.dims), dtype=np.float32)
    weight.CopyFrom(numpy_helper.from_array(fresh, weight.name))
    onnx.save(model, "untrained.onnx")
    spec = BuildSpec(precision=Precision.FP16, profiles=PROFILE)
    engine = Path("resnet50_dynamic_fp16.engine")
    build_engine(Path("untrained.onnx"), engine, spec)
    return engine


def calibrated_on_pixels() -> Path:
    """Return an INT8 engine calibrated on images from 0 to 255, as they are before normalising."""
    images, _ = next(iter(load_workload().loader("calibration", size=BATCH)))  # (N, 3, 224, 224)
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return _calibrated((255 * (images.numpy() * std + mean)).astype(np.float32))


def calibrated_on_darkness() -> Path:
    """Return an INT8 engine calibrated on black pictures with a little noise."""
    rng = np.random.default_rng(0)
    return _calibrated(0.01 * rng.standard_normal((BATCH, 3, 224, 224), dtype=np.float32))


def _calibrated(images: NDArray[np.float32]) -> Path:
    engine = Path("resnet50_int8.engine")
    with EntropyCalibrator([images], BATCH) as calibrator:
        spec = BuildSpec(precision=Precision.INT8, profiles=PROFILE)
        build_engine(provided("resnet50_simplified.onnx"), engine, spec, calibrator=calibrator)
    return engine
