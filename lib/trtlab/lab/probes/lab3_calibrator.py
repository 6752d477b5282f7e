"""Probe of the calibrator: called as TensorRT calls it, with every batch read back.

After a batch has been read, its device buffer is overwritten with NaN, so that only what the next
get_batch copies can be found in it. What was read is compared outside the student's kernel.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt
from torch.utils.data import DataLoader, Dataset

from trtlab.backend import cuda, trt
from trtlab.calibration_cache import CalibrationCache, version_number
from trtlab.checks.lab3_calibrator import Address, CalibratorEvidence
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, read_bytes, read_float32, write_array
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.scratch import scratch_folder

BATCH, IMAGES, SHAPE = 4, 11, (3, 224, 224)
FULL, PARTIAL = divmod(IMAGES, BATCH)
MORE_CALLS = 3  # after the end
TOO_MANY = 3 * FULL  # so many batches are no end
MOST_CACHE_BYTES = 1 << 20
MOST_TEXT = 200

GIVEN_IMAGES, READ_BACK = "images.npy", "batches.npy"
TO_WRITE, TO_READ = "to_write.cache", "to_read.cache"
WRITTEN, RETURNED = "written.cache", "returned.cache"
_INPUT = ["input"]


class CalibratorObserved(Observed):
    """Beside it: the batches as (N, 4, 3, 224, 224), NaN where one could not be read; two caches.

    Attributes are as in CalibratorEvidence.
    """

    reported: str = Field(default="", max_length=MOST_TEXT)
    batches: int = Field(default=0, ge=0, le=TOO_MANY)
    address: Address = ""
    ends: bool = False
    stays_ended: bool = False
    buffers: NonNegativeInt = 0
    allocations: NonNegativeInt = 0
    images_shown: int | None = None
    absent_cache: str = Field(default="", max_length=MOST_TEXT)
    after_error: Literal["raised", "kept", "hidden", "none"] = "none"


@probe("3.2")
class EntropyCalibrator(Probe[CalibratorObserved]):
    """Drives Int8EntropyCalibrator over a loader of secret images, and over a damaged one."""

    observed = CalibratorObserved

    def give(self, given: Path, seed: int) -> None:
        """Write the images and two calibration caches."""
        write_array(given / GIVEN_IMAGES, _secret_images(seed))
        for file in (TO_WRITE, TO_READ):
            (given / file).write_bytes(_secret_cache(file, seed))

    def run(self, names: Names, given: Path, made: Path) -> CalibratorObserved:
        """Save what lay at the calibrator's addresses, and what became of its cache."""
        what = "Int8EntropyCalibrator"
        make = names.get(what)
        if not callable(make):
            return CalibratorObserved(attempt=missing(what))
        images = torch.from_numpy(read_float32(given / GIVEN_IMAGES, (IMAGES, *SHAPE)))
        with scratch_folder() as folder:
            cache = folder / "probe.cache"
            ran, facts = attempt(what, lambda: _drive(make, images, cache, made))
            if facts is not None:
                ran, rest = attempt(
                    what,
                    lambda: {
                        "absent_cache": _use_cache(make, images, cache, given, made)[:MOST_TEXT],
                        "after_error": _after_error(make, images, cache),
                    },
                )
                facts |= rest or {}
        return CalibratorObserved(attempt=ran, **(facts or {}))

    def evidence(self, observed: CalibratorObserved, scene: Scene) -> CalibratorEvidence:
        """Compare the batches and the caches with what they should be."""
        if observed.attempt.stage != "done":
            return CalibratorEvidence(attempt=observed.attempt)
        images, shown = _secret_images(scene.seed), observed.batches
        found = read_float32(scene.made / READ_BACK, (shown, BATCH, *SHAPE))
        full = images[: FULL * BATCH].reshape(FULL, BATCH, *SHAPE)
        # A short batch that is shown may count as the images in it, or as a full one.
        right = {shown * BATCH, IMAGES} if shown > FULL else {shown * BATCH}
        counted = observed.images_shown
        return CalibratorEvidence(
            **observed.model_dump(exclude={"batches"}),
            batch_size=BATCH,
            full_batches=FULL,
            right_batches=sum(map(np.array_equal, found, full)),
            partial=_partial(found, images[FULL * BATCH :], observed.ends),
            images_right=counted if counted in right else max(right),
            writes_cache=_holds(scene.made / WRITTEN, _secret_cache(TO_WRITE, scene.seed)),
            reads_cache=_holds(scene.made / RETURNED, _secret_cache(TO_READ, scene.seed)),
        )


def shown_by(calibrator: Any) -> int | None:
    """Return the calibrator's own count of images, if it is a number that could be one."""
    shown = getattr(calibrator, "images_shown", None)
    return shown if type(shown) is int and abs(shown) < 2**31 else None


# What both sides can draw from the seed


def _secret_images(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((IMAGES, *SHAPE), np.float32)


def _secret_cache(file: str, seed: int) -> bytes:
    """Return a cache such as TensorRT writes, another for each file."""
    scale = np.random.default_rng([seed, *file.encode()]).uniform(0.01, 0.1)
    version = version_number(trt.__version__)
    return CalibrationCache(version, "EntropyCalibration2", {_INPUT[0]: scale}).to_bytes()


# In the student's kernel


class _Images(Dataset[torch.Tensor]):
    """The given images; reading number `damaged` raises."""

    def __init__(self, values: torch.Tensor, damaged: int | None = None) -> None:
        self.values, self.damaged = values, damaged

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self.damaged:
            raise OSError("the image file is truncated (this is a test of the check)")
        return self.values[index]


class _Allocations:
    """What cuda.mem_alloc has returned: addresses, and whether anybody still holds them."""

    def __init__(self) -> None:
        self._made: list[tuple[int, weakref.ref[Any]]] = []

    def __len__(self) -> int:
        return len(self._made)

    def is_gone(self, address: int) -> bool:
        """Say whether the memory at `address` has been freed by the end of its allocation.

        A copy would not tell: on a GPU, freed memory often stays readable.
        """
        owners = [owner() for start, owner in self._made if start == address]
        return bool(owners) and not any(owner is not None for owner in owners)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note the allocations made in the block."""
        original = cuda.mem_alloc

        def mem_alloc(nbytes: int) -> Any:
            allocation = original(nbytes)
            self._made.append((int(allocation), weakref.ref(allocation)))
            return allocation

        with mock.patch.object(cuda, "mem_alloc", mem_alloc):
            yield


def _drive(
    make: Callable[..., Any], images: torch.Tensor, cache: Path, made: Path
) -> dict[str, Any]:
    """Save the batches of one calibration; return fields of CalibratorObserved."""
    allocations = _Allocations()
    with allocations.watched():
        calibrator = make(DataLoader(_Images(images), batch_size=BATCH), str(cache))
        run = _Run(calibrator, allocations)
        run.to_the_end()
    found = np.array(run.batches, np.float32).reshape(len(run.batches), BATCH, *SHAPE)
    write_array(made / READ_BACK, found)
    return {
        "reported": repr(calibrator.get_batch_size())[:MOST_TEXT],
        "batches": len(run.batches),
        "address": run.address,
        "ends": run.ends,
        "stays_ended": run.stays_ended,
        "buffers": len(run.buffers),
        "allocations": run.allocations_after_first,
        "images_shown": run.images_shown,
    }


class _Run:
    """One calibration, as TensorRT does it but for the network."""

    def __init__(self, calibrator: Any, allocations: _Allocations) -> None:
        self.calibrator, self.allocations = calibrator, allocations
        self.batches: list[NDArray[np.float32]] = []  # each (BATCH, 3, 224, 224)
        self.allocations_after_first = 0
        self.buffers: set[int] = set()
        self.address: Address = ""
        self.ends = self.stays_ended = False
        self.images_shown: int | None = None  # by its own count, at the first None

    def to_the_end(self) -> None:
        """Ask for batches until None, and a few times more."""
        after_first = 0
        while len(self.batches) < TOO_MANY:
            addresses = self.calibrator.get_batch(_INPUT)
            if addresses is None:
                self.ends = True
                break
            self.batches.append(self._read(addresses))
            if len(self.batches) == 1:
                after_first = len(self.allocations)
        self.allocations_after_first = len(self.allocations) - after_first
        self.images_shown = shown_by(self.calibrator)
        self.stays_ended = self.ends and all(
            self.calibrator.get_batch(_INPUT) is None for _ in range(MORE_CALLS)
        )

    def _read(self, addresses: Any) -> NDArray[np.float32]:
        """Return the batch at the address, and wipe it out there; NaN if it cannot be read."""
        values = np.full((BATCH, *SHAPE), np.nan, np.float32)
        if not isinstance(addresses, (list, tuple)) or len(addresses) != len(_INPUT):
            self.address = "malformed"
            return values
        if isinstance(addresses[0], (np.ndarray, torch.Tensor)):
            self.address = "host"
            return values
        try:
            address = int(addresses[0])
            if self.allocations.is_gone(address):
                self.address = "freed"
                return values
            cuda.memcpy_dtoh(values, address)
            cuda.memcpy_htod(address, np.full_like(values, np.nan))
        except (cuda.Error, TypeError, ValueError):
            self.address = "host"
            return values
        self.buffers.add(address)
        return values


def _use_cache(
    make: Callable[..., Any], images: torch.Tensor, cache: Path, given: Path, made: Path
) -> str:
    """Save what writing and reading the cache do; return what reading did before there was one."""
    cache.unlink(missing_ok=True)
    calibrator = make(DataLoader(_Images(images), batch_size=BATCH), str(cache))
    absent = _outcome(calibrator.read_calibration_cache)
    # TensorRT passes a view of its own memory, which is gone afterwards.
    content = bytearray((given / TO_WRITE).read_bytes())
    calibrator.write_calibration_cache(memoryview(content).toreadonly())
    content[:] = bytes(len(content))
    if cache.is_file():
        (made / WRITTEN).write_bytes(read_bytes(cache, MOST_CACHE_BYTES))
    cache.write_bytes((given / TO_READ).read_bytes())
    present = calibrator.read_calibration_cache()
    if isinstance(present, (bytes, bytearray, memoryview)):
        (made / RETURNED).write_bytes(bytes(present)[:MOST_CACHE_BYTES])
    return absent


def _outcome(call: Callable[[], Any]) -> str:
    try:
        return repr(call())
    except NotImplementedError:
        raise
    except Exception as error:
        return f"it raised {type(error).__name__}"


def _after_error(
    make: Callable[..., Any], images: torch.Tensor, cache: Path
) -> Literal["raised", "kept", "hidden"]:
    """Return what get_batch does with an exception of the loader in the second batch."""
    damaged = _Images(images, damaged=BATCH)
    calibrator = make(DataLoader(damaged, batch_size=BATCH), str(cache))
    for _ in range(FULL):
        try:
            batch = calibrator.get_batch(_INPUT)
        except Exception:
            return "raised"
        if batch is None:
            kept = [value for value in vars(calibrator).values() if isinstance(value, Exception)]
            return "kept" if kept else "hidden"
    return "hidden"


# Outside of it


def _partial(
    found: NDArray[np.float32], last: NDArray[np.float32], ends: bool
) -> Literal["dropped", "filled", "stale", "none"]:
    """Return what became of the last images, which do not fill a batch."""
    if len(found) == FULL and ends:
        return "dropped"
    if len(found) > FULL and np.array_equal(found[FULL][:PARTIAL], last):
        # Any whole images will do behind them.
        return "filled" if np.isfinite(found[FULL]).all() else "stale"
    return "none"


def _holds(file: Path, content: bytes) -> bool:
    """Whether a file holds these bytes. There is none where the calibrator did not make one."""
    try:
        return read_bytes(file, MOST_CACHE_BYTES) == content
    except ExchangeError:
        return False
