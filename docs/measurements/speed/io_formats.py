"""INT8 engines whose input arrives in another type and layout than FP32 NCHW.

`trtlab.build` leaves a network's inputs as the ONNX file has them. Here the input is what the first
convolution wants, so that no kernel has to convert it: the rest of the build is the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trtlab.backend import compat, trt
from trtlab.calibration_cache import INT8_MAX
from trtlab.errors import BuildError
from trtlab.files import write_bytes
from trtlab.logger import LOGGER, Messages
from trtlab.spec import BuildSpec, ShapeProfile


@dataclass(frozen=True)
class InputFormat:
    """Type and memory layout of the network's input.

    Source of the lanes: TensorRT's TensorFormat; channels are padded to a multiple of them.
    """

    dtype: str  # of trt.DataType
    layout: str  # of trt.TensorFormat
    lanes: int  # neighbouring channels of one pixel that lie side by side

    def __str__(self) -> str:
        return f"{self.dtype}-{self.layout}".lower()

    def pack(self, images: Tensor, scale: float) -> Tensor:
        """Lay out images (N, 3, H, W) float32 in memory as the engine reads them.

        Args:
            images: on any device.
            scale: of the input's INT8 step, from the calibration cache.

        Returns:
            (N, ceil(3 / lanes), H, W, lanes), contiguous. For three channels that is also the
            layout of HWC8, whose vectors hold all of them.
        """
        if self.dtype == "INT8":
            images = (images / scale).round().clamp(-INT8_MAX, INT8_MAX).to(torch.int8)
        elif self.dtype == "HALF":
            images = images.half()
        number, channels, height, width = images.shape
        padded = F.pad(images, (0, 0, 0, 0, 0, -channels % self.lanes))
        vectors = padded.reshape(number, -1, self.lanes, height, width)
        return vectors.permute(0, 1, 3, 4, 2).contiguous()


FP32 = InputFormat("FLOAT", "LINEAR", 1)
FP16 = InputFormat("HALF", "LINEAR", 1)
FP16_HWC8 = InputFormat("HALF", "HWC8", 8)
INT8 = InputFormat("INT8", "LINEAR", 1)
INT8_CHW4 = InputFormat("INT8", "CHW4", 4)
INT8_CHW32 = InputFormat("INT8", "CHW32", 32)


def build_int8(
    onnx: Path,
    form: InputFormat,
    batches: ShapeProfile,
    calibrator: Any,
    scale: float,
    cache: Path,
    level: int | None = None,
) -> Any:
    """Build an INT8 engine whose input has the format `form`; return the trt.ICudaEngine.

    Args:
        onnx: a model of one float32 input, its batch dynamic.
        form: of the input.
        batches: the optimization profile.
        calibrator: one that finds its scales in a cache: nothing can be calibrated on INT8 input.
        scale: of the input's INT8 step.
        cache: timing cache; read if it exists, and updated.
        level: the builder's optimization level, 0 to 5; None leaves TensorRT's own, 3.

    Raises:
        BuildError: if TensorRT refuses anything.
    """
    with LOGGER.listen() as messages:
        builder = trt.Builder(LOGGER)
        network = builder.create_network(compat.explicit_batch_flags(trt))
        parser = trt.OnnxParser(network, LOGGER)  # owns the weights until the build is done
        _require(parser.parse(onnx.read_bytes()), "parse the model", messages)
        _set_input(network.get_input(0), form, scale, messages)
        config = _config(builder, network, batches, calibrator, messages)
        if level is not None:
            config.builder_optimization_level = level
        stored = cache.read_bytes() if cache.is_file() else b""
        times = config.create_timing_cache(stored)
        taken = times is not None and config.set_timing_cache(times, ignore_mismatch=False)
        _require(taken, f"use the timing cache {cache}", messages)
        plan = builder.build_serialized_network(network, config)
        _require(plan is not None, f"build with input {form}", messages)
        write_bytes(cache, bytes(config.get_timing_cache().serialize()))
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
        _require(engine is not None, f"load the engine with input {form}", messages)
    return engine


def _set_input(tensor: Any, form: InputFormat, scale: float, messages: Messages) -> None:
    tensor.dtype = getattr(trt.DataType, form.dtype)
    tensor.allowed_formats = 1 << int(getattr(trt.TensorFormat, form.layout))
    if form.dtype == "INT8":
        largest = INT8_MAX * scale
        _require(tensor.set_dynamic_range(-largest, largest), "set the input's range", messages)


def _config(
    builder: Any, network: Any, batches: ShapeProfile, calibrator: Any, messages: Messages
) -> Any:
    config = builder.create_builder_config()
    workspace = BuildSpec().workspace_mib << 20  # the tactics that trtlab's own builds consider
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.set_flag(trt.BuilderFlag.INT8)
    config.set_flag(trt.BuilderFlag.FP16)
    compat.share_profiles(trt, config)
    tensor = network.get_input(0)
    rest = tuple(tensor.shape)[1:]
    profile = builder.create_optimization_profile()
    shapes = ((batch, *rest) for batch in (batches.min, batches.opt, batches.max))
    profile.set_shape(tensor.name, *shapes)
    accepted = config.add_optimization_profile(profile) >= 0
    _require(accepted, f"accept the profile {batches}", messages)
    config.int8_calibrator = calibrator
    accepted = config.set_calibration_profile(profile)
    _require(accepted, "accept the calibration profile", messages)
    return config


def _require(done: bool, what: str, messages: Messages) -> None:
    if not done:
        raise BuildError(f"TensorRT could not {what}{messages.because()}")
