"""Evidence on the calibrator: called as TensorRT calls it, with every batch read back.

After a batch has been read, its device buffer is overwritten with NaN, so that only what the next
get_batch copies can be found in it.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from trtlab.backend import cuda
from trtlab.checks.lab3_calibrator import Address, CalibratorEvidence
from trtlab.lab.session import Names, attempt, collector, missing

BATCH, IMAGES, SHAPE = 4, 11, (3, 224, 224)
FULL, PARTIAL = divmod(IMAGES, BATCH)
MORE_CALLS = 3  # after the end
TOO_MANY = 3 * FULL  # so many batches are no end
_INPUT = ["input"]
_CACHE = b"TRT-8600-EntropyCalibration2\ninput: 3caa6eb7\n"


@collector("3.2")
def entropy_calibrator(names: Names) -> CalibratorEvidence:
    """Drive Int8EntropyCalibrator over a loader of known images, and over a damaged one."""
    what = "Int8EntropyCalibrator"
    make = names.get(what)
    if not callable(make):
        return CalibratorEvidence(attempt=missing(what))
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "probe.cache"
        ran, batches = attempt(what, lambda: _drive(make, cache))
        if batches is None:
            return CalibratorEvidence(attempt=ran)
        ran, rest = attempt(
            what, lambda: {**_cache_facts(make, cache), "after_error": _after_error(make, cache)}
        )
    return CalibratorEvidence(attempt=ran, **batches, **(rest or {}))


class _Images(Dataset[torch.Tensor]):
    """Random images; reading number `damaged` raises."""

    def __init__(self, damaged: int | None = None) -> None:
        self.values = torch.randn(IMAGES, *SHAPE)
        self.damaged = damaged

    def __len__(self) -> int:
        return IMAGES

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


def _drive(make: Callable[..., Any], cache: Path) -> dict[str, Any]:
    """Return what became of the batches, as fields of CalibratorEvidence."""
    images = _Images()
    expected = images.values.numpy()  # (IMAGES, 3, 224, 224)
    allocations = _Allocations()
    with allocations.watched():
        calibrator = make(DataLoader(images, batch_size=BATCH), str(cache))
        run = _Run(calibrator, allocations, expected)
        run.to_the_end()
    # A short batch that is shown may count as the images in it, or as a full one.
    right = {run.batches * BATCH, IMAGES} if run.batches > FULL else {run.batches * BATCH}
    return {
        "batch_size": BATCH,
        "reported": repr(calibrator.get_batch_size()),
        "full_batches": FULL,
        "right_batches": run.right,
        "address": run.address,
        "ends": run.ends,
        "stays_ended": run.stays_ended,
        "buffers": len(set(run.buffers)),
        "allocations": run.allocations_after_first,
        "partial": run.partial,
        "images_shown": run.images_shown,
        "images_right": run.images_shown if run.images_shown in right else max(right),
    }


class _Run:
    """One calibration, as TensorRT does it but for the network."""

    def __init__(
        self, calibrator: Any, allocations: _Allocations, expected: NDArray[np.float32]
    ) -> None:
        self.calibrator, self.allocations, self.expected = calibrator, allocations, expected
        self.batches = self.right = self.allocations_after_first = 0
        self.buffers: list[int] = []
        self.address: Address = ""
        self.ends = self.stays_ended = False
        self.partial = "none"
        self.images_shown: int | None = None  # by its own count, at the first None

    def to_the_end(self) -> None:
        """Ask for batches until None, and a few times more."""
        after_first = 0
        while self.batches < TOO_MANY:
            addresses = self.calibrator.get_batch(_INPUT)
            if addresses is None:
                self.ends = True
                break
            self._look(addresses)
            self.batches += 1
            if self.batches == 1:
                after_first = len(self.allocations)
        self.allocations_after_first = len(self.allocations) - after_first
        shown = getattr(self.calibrator, "images_shown", None)
        self.images_shown = shown if isinstance(shown, int) else None
        if self.ends:
            self.stays_ended = all(
                self.calibrator.get_batch(_INPUT) is None for _ in range(MORE_CALLS)
            )
            if self.batches == FULL:
                self.partial = "dropped"

    def _look(self, addresses: Any) -> None:
        """Compare what lies at the address with the batch that should."""
        values = self._read(addresses)
        if self.batches < FULL:
            batch = self.expected[self.batches * BATCH :][:BATCH]
            self.right += int(values is not None and np.array_equal(values, batch))
        elif self.batches == FULL and values is not None:
            last = np.array_equal(values[:PARTIAL], self.expected[FULL * BATCH :])
            if last:  # any whole images will do behind them
                self.partial = "filled" if np.isfinite(values).all() else "stale"

    def _read(self, addresses: Any) -> NDArray[np.float32] | None:
        """Return the batch at the address, and wipe it out there; None if it cannot be read."""
        if not isinstance(addresses, (list, tuple)) or len(addresses) != len(_INPUT):
            self.address = "malformed"
            return None
        if isinstance(addresses[0], (np.ndarray, torch.Tensor)):
            self.address = "host"
            return None
        values = np.empty((BATCH, *SHAPE), np.float32)
        try:
            address = int(addresses[0])
            if self.allocations.is_gone(address):
                self.address = "freed"
                return None
            cuda.memcpy_dtoh(values, address)
            cuda.memcpy_htod(address, np.full_like(values, np.nan))
        except (cuda.Error, TypeError, ValueError):
            self.address = "host"
            return None
        self.buffers.append(address)
        return values


def _cache_facts(make: Callable[..., Any], cache: Path) -> dict[str, Any]:
    """Return what reading and writing the cache do; `cache` does not exist yet."""
    cache.unlink(missing_ok=True)
    calibrator = make(DataLoader(_Images(), batch_size=BATCH), str(cache))
    absent = _outcome(calibrator.read_calibration_cache)
    # TensorRT passes a view of its own memory, which is gone afterwards.
    content = bytearray(_CACHE)
    calibrator.write_calibration_cache(memoryview(content).toreadonly())
    content[:] = bytes(len(content))
    written = cache.is_file() and cache.read_bytes() == _CACHE
    cache.write_bytes(_CACHE)
    present = calibrator.read_calibration_cache()
    return {
        "absent_cache": absent,
        "writes_cache": written,
        "reads_cache": isinstance(present, (bytes, bytearray, memoryview))
        and bytes(present) == _CACHE,
    }


def _outcome(call: Callable[[], Any]) -> str:
    try:
        return repr(call())
    except NotImplementedError:
        raise
    except Exception as error:
        return f"it raised {type(error).__name__}"


def _after_error(make: Callable[..., Any], cache: Path) -> str:
    """Return what get_batch does with an exception of the loader in the second batch."""
    calibrator = make(DataLoader(_Images(damaged=BATCH), batch_size=BATCH), str(cache))
    for _ in range(FULL):
        try:
            batch = calibrator.get_batch(_INPUT)
        except Exception:
            return "raised"
        if batch is None:
            kept = [value for value in vars(calibrator).values() if isinstance(value, Exception)]
            return "kept" if kept else "hidden"
    return "hidden"
