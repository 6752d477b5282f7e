"""INT8 calibrators: the base classes that students derive from, and the run that calls them.

The protocol is TensorRT's. `read_calibration_cache` is asked first; a cache that fits is used and
no batch is read. Else `get_batch` is called until it returns None; an exception in it is printed
and ends the calibration early, without failing the build. The ranges are then written with
`write_calibration_cache`.
"""

import math
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from trtlab.backend.emulated import cuda, quantize
from trtlab.backend.emulated.graph import Shape
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.pybind import PybindMeta, address
from trtlab.backend.emulated.types import CalibrationAlgoType

VERSION = 8600
"""What TensorRT 8.6.0 writes in the first line of a calibration cache."""


class IInt8Calibrator(metaclass=PybindMeta):
    """What all calibrators have in common; derive from one of the four below."""

    _algorithm: CalibrationAlgoType | None = None

    def __init__(self) -> None:
        self._constructed = True

    def get_algorithm(self) -> CalibrationAlgoType:
        """Return the algorithm."""
        if self._algorithm is None:
            raise self._missing("get_algorithm")
        return self._algorithm

    def get_batch_size(self) -> int:
        """Return the number of images in a batch. Override it."""
        raise self._missing("get_batch_size")

    def get_batch(self, names: list[str]) -> list[int] | None:
        """Return a device address for each name, or None at the end. Override it."""
        raise self._missing("get_batch")

    def read_calibration_cache(self) -> Any:
        """Return a saved cache as a buffer, or None. Override it."""
        raise self._missing("read_calibration_cache")

    def write_calibration_cache(self, cache: Any) -> None:
        """Save the cache. Override it."""
        raise self._missing("write_calibration_cache")

    def _missing(self, method: str) -> Exception:
        return RuntimeError(
            f"Method: {method} was not overriden. Please provide an implementation for this method."
        )


class IInt8EntropyCalibrator2(IInt8Calibrator):
    """Entropy calibration, TensorRT's recommendation for convolutional networks."""

    _algorithm = CalibrationAlgoType.ENTROPY_CALIBRATION_2


class IInt8EntropyCalibrator(IInt8Calibrator):
    """Entropy calibration as in older releases; the emulation treats it as the second version."""

    _algorithm = CalibrationAlgoType.ENTROPY_CALIBRATION


class IInt8MinMaxCalibrator(IInt8Calibrator):
    """The largest magnitude seen is the range: nothing is clipped."""

    _algorithm = CalibrationAlgoType.MINMAX_CALIBRATION


class IInt8LegacyCalibrator(IInt8Calibrator):
    """Percentile calibration of TensorRT 2; the emulated builder refuses it."""

    _algorithm = CalibrationAlgoType.LEGACY_CALIBRATION


_CACHE_NAMES = {
    CalibrationAlgoType.ENTROPY_CALIBRATION_2: "EntropyCalibration2",
    CalibrationAlgoType.ENTROPY_CALIBRATION: "EntropyCalibration",
    CalibrationAlgoType.MINMAX_CALIBRATION: "MinMaxCalibration",
}
_INT8_MAX = 127


class CalibrationFailed(Exception):
    """The build cannot go on; the message is what TensorRT logs, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def calibrate(
    calibrator: IInt8Calibrator,
    model: onnx.ModelProto,
    inputs: Mapping[str, Shape],
    log: Log,
) -> dict[str, float]:
    """Return the range of every calibrated tensor, from the calibrator's cache or its batches.

    `inputs` holds the shape of a batch for each network input, all of them float32.

    Raises:
        CalibrationFailed: if there is no range at the end, or a batch cannot be read.
    """
    algorithm = calibrator.get_algorithm()
    if algorithm not in _CACHE_NAMES:
        raise CalibrationFailed(
            f"Calibration algorithm {algorithm} is not available in the emulation",
            "Derive from IInt8EntropyCalibrator2 or IInt8MinMaxCalibrator.",
        )
    header = f"TRT-{VERSION}-{_CACHE_NAMES[algorithm]}"
    cached = _call("read_calibration_cache", calibrator.read_calibration_cache)
    if cached is not None and len(text := bytes(memoryview(cached))) > 0:
        try:
            scales = _parse_cache(text, header)
        except ValueError as error:
            log.warning(f"The calibration cache is not used: {error}. Calibrating from batches.")
        else:
            log.info(
                "Generated calibration scales using calibration cache. To regenerate it, delete it."
            )
            return {name: scale * _INT8_MAX for name, scale in scales.items()}
    ranges = _run(calibrator, model, inputs, log, algorithm)
    lines = [header, *(f"{name}: {_scale_hex(value)}" for name, value in ranges.items())]
    cache = memoryview("\n".join([*lines, ""]).encode())
    _call("write_calibration_cache", lambda: calibrator.write_calibration_cache(cache))
    return ranges


def _run(
    calibrator: IInt8Calibrator,
    model: onnx.ModelProto,
    inputs: Mapping[str, Shape],
    log: Log,
    algorithm: CalibrationAlgoType,
) -> dict[str, float]:
    """Feed the calibrator's batches through the network and return the ranges."""
    log.info("Starting Calibration.")
    started = time.perf_counter()
    # With an explicit batch the size is only asked for; the profile decides.
    _call("get_batch_size", calibrator.get_batch_size)
    batches = _Batches(calibrator, inputs, log)
    method = "minmax" if algorithm is CalibrationAlgoType.MINMAX_CALIBRATION else "entropy"
    try:
        ranges = quantize.collect_ranges(model, batches, method)
    except cuda.Error as error:
        raise CalibrationFailed(
            f"Cuda Runtime (an illegal memory access was encountered): {error}",
            f"get_batch must return device memory of the shape {batches.shapes()}: calibration "
            "runs at the OPT shape of the calibration profile. Set one whose batch is yours.",
        ) from error
    except ValueError as error:
        if batches.count:
            raise CalibrationFailed(str(error)) from error
        raise CalibrationFailed(
            "Calibration failure occurred with no scaling factors detected. This could be due to "
            "no int8 calibrator or insufficient custom scales for network layers. Please see int8 "
            "sample to setup calibration correctly.",
            "get_batch returned no batch at all: is the dataset empty, or the calibrator used up?",
        ) from error
    log.info(
        f"Calibration completed in {time.perf_counter() - started:.3f} seconds, "
        f"{batches.count} batches."
    )
    return ranges


class _Batches:
    """The batches of a calibrator as feeds for the network."""

    def __init__(self, calibrator: IInt8Calibrator, inputs: Mapping[str, Shape], log: Log) -> None:
        self._calibrator = calibrator
        self._inputs = inputs
        self._log = log
        self.count = 0

    def shapes(self) -> str:
        """Return what a batch holds, in words."""
        return ", ".join(f"{name} {shape}" for name, shape in self._inputs.items())

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        while (addresses := _call("get_batch", self._addresses)) is not None:
            # The network runs on the default stream, which waits for the copies of pycuda's.
            cuda.Context.synchronize()
            yield {
                name: _read(where, shape)
                for where, (name, shape) in zip(addresses, self._inputs.items(), strict=True)
            }
            self._log.info(f"  Calibrated batch {self.count}.")
            self.count += 1

    def _addresses(self) -> list[int] | None:
        found = self._calibrator.get_batch(list(self._inputs))
        if found is None or len(found) == 0:
            return None
        if len(found) != len(self._inputs):
            raise ValueError(f"{len(found)} pointers for the {len(self._inputs)} network inputs")
        return [address(pointer, "a device pointer of get_batch") for pointer in found]


def _read(where: int, shape: Shape) -> np.ndarray:
    """Return a copy of the float32 array that lies at a device address."""
    nbytes = math.prod(shape) * np.dtype(np.float32).itemsize
    return np.frombuffer(bytes(cuda.view(where, nbytes)), np.float32).reshape(shape)


def _call(method: str, function: Callable[[], Any]) -> Any:
    """Call a student's method; print what it raises and return None, as TensorRT's binding does."""
    try:
        return function()
    except Exception as error:
        print(
            f"[ERROR] Exception caught in {method}(): {type(error).__name__}: {error}",
            file=sys.stderr,
        )
        return None


def _parse_cache(text: bytes, header: str) -> dict[str, float]:
    """Return the scale of each tensor in a cache.

    Raises:
        ValueError: if it is of another version or algorithm, or a line cannot be read.
    """
    lines = text.decode(errors="replace").splitlines()
    if not lines or lines[0].strip() != header:
        found = lines[0] if lines else ""
        raise ValueError(f"it begins with {found!r} where {header!r} was expected")
    scales = {}
    for line in lines[1:]:
        name, _, digits = line.rpartition(": ")
        try:
            (scale,) = struct.unpack(">f", bytes.fromhex(digits.strip().zfill(8)))
        except (ValueError, struct.error):
            raise ValueError(f"the line {line!r} is not 'tensor: scale in hex'") from None
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"the scale of {name!r} is {scale}")
        scales[name] = scale
    if not scales:
        raise ValueError("it lists no tensors")
    return scales


def _scale_hex(value: float) -> str:
    """Return the scale of a range as hexadecimal digits of its big-endian float32."""
    return struct.pack(">f", value / _INT8_MAX).hex()
