"""The calibration cache: TensorRT's text file of one scale per tensor.

    TRT-8601-EntropyCalibration2
    input: 3c8e1a2f
    /conv1/Conv_output_0: 3d0a17c4

The header holds version and algorithm, each further line a tensor and the eight hexadecimal digits
of its big-endian float32 scale. INT8 represents [-127 * scale, 127 * scale]. Producing the scales
is the calibrators' work (calibrate.py).
"""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtlab.errors import CacheError

_HEADER = re.compile(r"TRT-(\d{1,9})-(\w+)")  # int() refuses numbers of thousands of digits
_SCALE = re.compile(r"[0-9a-fA-F]{1,8}")
_ADVICE = "Delete the file to calibrate again"

INT8_MAX = 127
"""Largest magnitude of symmetric INT8 in TensorRT: -128 is not used."""


def version_number(tensorrt_version: str) -> int:
    """Return the number TensorRT writes in a cache's header: '8.6.1' -> 8601, '10.16.1' -> 101601.

    Source: NV_TENSORRT_VERSION in NvInferRuntimeBase.h; its factor for the major version is ten
    times larger since 10.0.
    """
    major, minor, patch = (int(part) for part in tensorrt_version.split("+")[0].split(".")[:3])
    return major * (10_000 if major >= 10 else 1_000) + minor * 100 + patch


@dataclass(frozen=True)
class CalibrationCache:
    """A calibration cache whose every scale is a finite, positive float32.

    Args:
        version: TensorRT's version number, see `version_number`.
        algorithm: 'EntropyCalibration2' or 'MinMaxCalibration'.
        scales: tensor name -> scale, in units of that tensor per INT8 step.

    Raises:
        CacheError: if there is no tensor, or a name or a scale is not usable.
    """

    version: int
    algorithm: str
    scales: Mapping[str, float]

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self._header):
            raise CacheError(f"{self._header!r} is not a header like TRT-8601-EntropyCalibration2.")
        if not self.scales:
            raise CacheError(f"The calibration cache lists no tensors. {_ADVICE}.")
        for name, scale in self.scales.items():
            if not name or "\n" in name:
                raise CacheError(f"{name!r} cannot be the name of a tensor in a cache.")
            if not (math.isfinite(scale) and scale > 0):
                raise CacheError(
                    f"The scale of tensor {name!r} is {scale}, expected a finite number above 0. "
                    f"{_ADVICE}, with images on which this tensor is not constantly zero."
                )

    @property
    def _header(self) -> str:
        return f"TRT-{self.version}-{self.algorithm}"

    @classmethod
    def parse(cls, data: bytes) -> "CalibrationCache":
        """Read the text format. Raises: CacheError with the line that does not fit."""
        if not data.strip():
            raise CacheError(f"The calibration cache is empty. {_ADVICE}.")
        try:
            header, *lines = data.decode().split("\n")
        except UnicodeDecodeError as error:
            raise CacheError(f"The calibration cache is not text: {error}. {_ADVICE}.") from error
        match = _HEADER.fullmatch(header.strip())
        if match is None:
            raise CacheError(
                f"The calibration cache begins with {header[:60]!r}, expected a line like "
                f"TRT-8601-EntropyCalibration2. {_ADVICE}."
            )
        scales: dict[str, float] = {}
        for number, line in enumerate(lines, start=2):
            if not line.strip():
                continue
            # Tensor names may hold colons and spaces: only the last separator counts.
            name, _, digits = line.rstrip().rpartition(": ")
            if not name or not _SCALE.fullmatch(digits):
                raise CacheError(
                    f"Line {number} of the calibration cache is {line[:60]!r}, expected "
                    f"'tensor: ' and up to eight hexadecimal digits. {_ADVICE}."
                )
            if name in scales:
                raise CacheError(f"Line {number} of the cache repeats tensor {name!r}. {_ADVICE}.")
            (scales[name],) = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))
        return cls(int(match[1]), match[2], scales)

    @classmethod
    def read(cls, path: str | Path) -> "CalibrationCache":
        """Read a cache file. Raises: CacheError, naming the file, if missing or not a cache."""
        try:
            return cls.parse(Path(path).read_bytes())
        except OSError as error:
            raise CacheError(
                f"Cannot read the calibration cache {path}: {error.strerror}."
            ) from error
        except CacheError as error:
            raise CacheError(f"{path}: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the text format; scales are rounded to float32."""
        lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in self.scales.items()]
        return "\n".join([self._header, *lines, ""]).encode()

    def ranges(self) -> dict[str, float]:
        """Return tensor name -> the largest magnitude that INT8 represents, 127 * scale."""
        return {name: INT8_MAX * scale for name, scale in self.scales.items()}

    def check(self, tensorrt_version: str, algorithm: str) -> None:
        """Refuse a cache that another TensorRT version or another algorithm wrote.

        NVIDIA does not promise that a cache carries over to another release: tensor names and
        fusions change, and scales that find no tensor are dropped without a word.

        Raises:
            CacheError: if version or algorithm differ from the ones given.
        """
        if self.version != version_number(tensorrt_version):
            raise CacheError(
                f"The calibration cache was written by TensorRT {self.version}, and this is "
                f"{version_number(tensorrt_version)} ({tensorrt_version}). {_ADVICE}."
            )
        if self.algorithm != algorithm:
            raise CacheError(
                f"The calibration cache was written by {self.algorithm}, and this calibrator is "
                f"{algorithm}. {_ADVICE}, or name another file for this algorithm."
            )
