"""INT8 calibration: showing TensorRT representative inputs, so that it can choose INT8 ranges.

The calibrators only hand over batches; the histograms and the choice of the ranges are TensorRT's.
The file that keeps the ranges is calibration_cache.py's.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from trtlab.backend import cuda, device_context, trt
from trtlab.calibration_cache import CalibrationCache
from trtlab.errors import CacheError, CalibrationError
from trtlab.files import write_bytes
from trtlab.images import MAX_BAD_FRACTION, ImageSource, Preprocess
from trtlab.progress import track


class CalibrationDataset(Dataset[torch.Tensor]):
    """Images of a folder, flat or class-per-folder, each as float32 (3, H, W).

    Calibration measures the range of every activation, so the images must go through exactly the
    preprocessing that inference uses: pass the model's own as `preprocess`. Take images from the
    training split; those that measure accuracy later must not have shaped the engine.

    Args:
        folder: see `trtlab.images.find_images`; .npy arrays of preprocessed inputs work too.
        preprocess: PIL RGB image -> float32 (3, H, W), as `Workload.preprocess`.
        limit: draw at most this many; a few hundred representative images are usually enough.
        seed: of that draw.
        max_bad_fraction: share of the files that may be unreadable; they are listed in `skipped`.

    Raises:
        DataError: if the folder is missing or empty, or too many files are unreadable.
    """

    def __init__(
        self,
        folder: str | Path,
        preprocess: Preprocess,
        *,
        limit: int | None = None,
        seed: int = 0,
        max_bad_fraction: float = MAX_BAD_FRACTION,
    ) -> None:
        self._source = ImageSource(
            folder, preprocess, limit=limit, seed=seed, max_bad_fraction=max_bad_fraction
        )
        self.skipped = self._source.skipped

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._source[index])


def calibration_batches(
    dataset: Dataset[Any], batch_size: int
) -> "DataLoader[NDArray[np.float32]]":
    """Return an iterable of float32 arrays (batch_size, 3, H, W), C-contiguous.

    Takes any dataset of images or of (image, label) pairs. The last partial batch is dropped:
    calibration runs at one fixed shape, and TensorRT would read whatever lies behind a short one.

    Raises:
        CalibrationError: if the dataset has fewer images than one batch.
    """
    size = len(dataset)  # type: ignore[arg-type]  # torch does not declare map datasets as Sized
    if size < batch_size:
        raise CalibrationError(
            f"{size} calibration images do not fill one batch of {batch_size}. "
            f"Add images, or calibrate with a batch size of at most {max(size, 1)}."
        )
    return DataLoader(dataset, batch_size=batch_size, drop_last=True, collate_fn=_stack_images)


def _stack_images(samples: list[Any]) -> NDArray[np.float32]:
    images = [sample[0] if isinstance(sample, tuple) else sample for sample in samples]
    batch = np.stack([np.asarray(image, np.float32) for image in images])  # (N, 3, H, W)
    return np.ascontiguousarray(batch)  # np.stack keeps the strides of channels-last images


class BaseCalibrator:
    """What both calibrators share: all of TensorRT's calibration protocol but the algorithm.

    TensorRT calls `read_calibration_cache` once. If that returns None, it calls `get_batch` until
    it returns None, runs the network on each batch, and calls `write_calibration_cache`.

    An exception in one of these methods would vanish inside TensorRT, which then builds an engine
    from the batches it has seen so far. It is therefore kept in `error`, for whoever started the
    build to raise (`build_engine` does), and no cache is written.

    Args:
        batches: float32 arrays of one shape (batch_size, ...); see `calibration_batches`.
        batch_size: their first dimension.
        cache_path: where to keep the scales. A file that is there replaces the calibration run, if
            this version of TensorRT wrote it with this algorithm, and is an error otherwise.
        total: number of batches, for the progress bar, where len(batches) does not tell.

    Attributes:
        batches_consumed: batches handed to TensorRT; compare with what you meant to show it.
        cache_used: whether the scales came from the file at `cache_path`.
        seconds: of TensorRT's calibration, from its asking for the first batch to its handing over
            the scales; None until then, and where they came from the file.
        error: the first exception of a callback, or None.

    One calibrator serves one build. Keep it open until the build has returned: TensorRT reads the
    device buffer after `get_batch` has returned.
    """

    algorithm: str  # as TensorRT writes it in the header of the cache

    def __init__(
        self,
        batches: Iterable[NDArray[np.float32]],
        batch_size: int,
        cache_path: str | Path | None = None,
        total: int | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.cache_path = None if cache_path is None else Path(cache_path)
        self.batches_consumed = 0
        self.cache_used = False
        self.seconds: float | None = None
        self.error: BaseException | None = None
        self._asked_first: float | None = None
        self._batches = track(batches, "calibrating", total)
        self._shape: tuple[int, ...] | None = None  # of every batch, once the first is known
        self._device_input: Any = None

    @property
    def images_consumed(self) -> int:
        """Number of images that TensorRT was shown."""
        return self.batches_consumed * self.batch_size

    def get_batch_size(self) -> int:
        """Return the batch size, for TensorRT."""
        return self.batch_size

    def get_batch(self, names: Sequence[str]) -> list[int] | None:
        """Copy the next batch to the device and return its address; None when there are no more."""
        with self._recorded():
            self._asked_first = self._asked_first or time.perf_counter()
            batch = next(self._batches, None)
            if batch is None:
                if self.batches_consumed == 0:
                    raise CalibrationError("There is not a single calibration batch.")
                return None
            batch = np.ascontiguousarray(batch)
            self._require_usable(batch, names)
            if self._device_input is None:
                self._device_input = self._allocate(batch.nbytes)
            cuda.memcpy_htod(self._device_input, batch)
            self.batches_consumed += 1
            return [int(self._device_input)]
        return None

    def read_calibration_cache(self) -> bytes | None:
        """Return the cache file, once it has proved to fit; None if there is none."""
        with self._recorded():
            if self.cache_path is not None and self.cache_path.exists():
                cache = CalibrationCache.read(self.cache_path)
                try:
                    cache.check(trt.__version__, self.algorithm)
                except CacheError as error:
                    raise CacheError(f"{self.cache_path}: {error}") from error
                self.cache_used = True
                return cache.to_bytes()
        return None

    def write_calibration_cache(self, cache: bytes | memoryview) -> None:
        """Write the cache file in one step; not after an error, when the scales are unfinished."""
        with self._recorded():
            if self._asked_first is not None:
                self.seconds = time.perf_counter() - self._asked_first
            if self.cache_path is not None and self.error is None:
                write_bytes(self.cache_path, cache)

    def close(self) -> None:
        """Free the device buffer. May be called twice, and only after the build has returned."""
        self._batches = iter(())
        if self._device_input is not None:
            with device_context():
                self._device_input.free()
            self._device_input = None

    def __enter__(self) -> "BaseCalibrator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # Ctrl-C too: TensorRT would go on with the build
            self.error = self.error or error
            self._batches = iter(())  # nothing more to show, and the progress bar goes

    def _allocate(self, nbytes: int) -> Any:
        try:
            return cuda.mem_alloc(nbytes)
        except cuda.MemoryError as error:
            raise CalibrationError(
                f"The GPU has no {nbytes / 2**20:.0f} MiB left for a calibration batch of "
                f"{self.batch_size}. Calibrate with smaller batches, or free GPU memory."
            ) from error

    def _require_usable(self, batch: NDArray[Any], names: Sequence[str]) -> None:
        number = self.batches_consumed + 1
        if len(names) != 1:
            raise CalibrationError(
                f"The network has {len(names)} inputs ({', '.join(names)}); this calibrator feeds "
                "networks of one input."
            )
        self._shape = self._shape or (self.batch_size, *batch.shape[1:])
        if batch.shape != self._shape:
            raise CalibrationError(
                f"Calibration batch {number} has shape {batch.shape}, expected {self._shape}: "
                "calibration runs at one fixed shape, so drop the last partial batch."
            )
        if batch.dtype != np.float32:
            raise CalibrationError(
                f"Calibration batch {number} is {batch.dtype}, expected float32: pass images "
                "through the model's preprocessing, and cast with .astype(np.float32)."
            )
        if not np.isfinite(batch).all():
            raise CalibrationError(
                f"Calibration batch {number} holds NaN or infinity, which would ruin the range of "
                "every tensor. Check the preprocessing."
            )


class EntropyCalibrator(BaseCalibrator, trt.IInt8EntropyCalibrator2):
    """Chooses the clip that loses least information (KL divergence); the choice for CNNs.

    Source: S. Migacz, 8-bit Inference with TensorRT, GTC 2017.
    """

    algorithm = "EntropyCalibration2"


class MinMaxCalibrator(BaseCalibrator, trt.IInt8MinMaxCalibrator):
    """Takes the largest magnitude seen: nothing is clipped, and one outlier coarsens every step."""

    algorithm = "MinMaxCalibration"
