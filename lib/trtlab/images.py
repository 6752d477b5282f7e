"""Reading inputs from disk: one image, a folder of images, or .npy arrays.

Used by the calibration dataset and by `trtlab infer --input`. Labels and splits are data.py's.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trtlab.errors import DataError
from trtlab.progress import track

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
ARRAY_SUFFIX = ".npy"
_SUFFIXES = IMAGE_SUFFIXES | {ARRAY_SUFFIX}

MAX_BAD_FRACTION = 0.05
"""The share of unreadable files that is skipped; above it the folder is refused."""

Preprocess = Callable[[Image.Image], Any]
"""A PIL RGB image -> float32 tensor or array (3, H, W), as `Workload.preprocess`."""

_EXPECTED = (
    f"Expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) or {ARRAY_SUFFIX} arrays, "
    "in the folder itself or in one subfolder per class"
)


def find_images(folder: str | Path) -> list[Path]:
    """List the image and .npy files of a folder, flat or class-per-folder, sorted by path.

    Hidden files and folders (`.ipynb_checkpoints`, macOS's `._photo.jpg`) are left out, and nothing
    deeper than one subfolder is searched: `imagenette/` holding `train/` and `val/` is a mistake
    that would mix the two.

    Raises:
        DataError: if the folder is missing, is a file, or holds no such file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"There is no folder {folder}. {_EXPECTED}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder. {_EXPECTED}.")
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for subfolder in [path for path in visible if path.is_dir()]:
        visible += [path for path in subfolder.iterdir() if not path.name.startswith(".")]
    found = sorted(path for path in visible if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing at all"
        raise DataError(f"The folder {folder} holds no images. {_EXPECTED}; found {there}.")
    return found


def load_image(path: str | Path) -> Image.Image:
    """Decode one image file completely, to RGB.

    Raises:
        DataError: if the file is missing, is not an image, or is damaged; names file and reason.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            # Palette images with transparency go through RGBA; Pillow warns about the short way.
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"There is no image file {path}.") from None
    except Image.UnidentifiedImageError:
        raise DataError(f"{path} is not an image that Pillow can identify.") from None
    except Exception as error:  # on damaged files Pillow's decoders raise many unrelated types
        raise DataError(f"The image {path} cannot be decoded ({error}).") from error


def load_array(path: str | Path) -> NDArray[Any]:
    """Open a .npy file of preprocessed inputs as a read-only memory map (N, C, H, W).

    A single input (C, H, W) is returned as a batch of one.

    Raises:
        DataError: if the file is missing, damaged, of objects or integers, or of another rank.
    """
    path = Path(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"There is no array file {path}.") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is not a readable .npy file ({error}).") from error
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"The array {path} is {array.dtype}, expected float32: a .npy file holds inputs that "
            "are already preprocessed. Give the images themselves, or preprocess before saving."
        )
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"The array {path} has shape {array.shape}, expected (C, H, W) or (N, C, H, W) "
            "without a zero."
        )
    return array if array.ndim == 4 else array[np.newaxis]


class ImageSource(Sequence[NDArray[np.float32]]):
    """Preprocessed inputs by index, each (C, H, W) float32, read from disk when asked for.

    `source` is an image, a .npy file, or a folder of them (see `find_images`). Images of different
    sizes are fine, because `preprocess` resizes; arrays must all have one shape, because nothing
    resizes them. Every file is decoded once here, so that a damaged one is found before the work
    starts and not in the middle of it.

    Args:
        source: file or folder.
        preprocess: the model's own preprocessing; not applied to .npy arrays.
        limit: keep at most this many files, drawn at random with `seed`; None keeps all, in order.
            Drawn, because the first files of a class-per-folder directory are all of one class.
        seed: of that draw.
        max_bad_fraction: share of the examined files that may be unreadable and is skipped.

    Attributes:
        names: the name of each input, in order.
        skipped: the unreadable files, each with the reason.

    Raises:
        DataError: if nothing usable is there, too many files are unreadable, or arrays differ in
            shape.
    """

    def __init__(
        self,
        source: str | Path,
        preprocess: Preprocess,
        *,
        limit: int | None = None,
        seed: int = 0,
        max_bad_fraction: float = MAX_BAD_FRACTION,
    ) -> None:
        self._preprocess = preprocess
        self.names: list[str] = []
        self.skipped: list[tuple[Path, str]] = []
        self._items: list[tuple[Path, int]] = []  # file, and the index inside a .npy file
        source = Path(source)
        if source.is_dir() or source.suffix.lower() not in _SUFFIXES:
            files = find_images(source)
            if limit is not None:
                if limit < 1:
                    raise DataError(f"The limit is {limit} images; it must be at least 1.")
                files = random.Random(seed).sample(files, min(limit, len(files)))
            self._examine(files, max_bad_fraction)
        else:
            self._add(source)
        self._require_one_array_shape()

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...

    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.float32]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        path, row = self._items[index]
        if path.suffix.lower() == ARRAY_SUFFIX:
            return np.array(load_array(path)[row], np.float32)
        return np.asarray(self._preprocess(load_image(path)), np.float32)

    def _examine(self, files: list[Path], max_bad_fraction: float) -> None:
        for path in track(files, "checking images"):
            try:
                self._add(path)
            except DataError as error:
                self.skipped.append((path, str(error)))
        if len(self.skipped) > max_bad_fraction * len(files):
            reasons = "\n".join(f"  {reason}" for _, reason in self.skipped)
            raise DataError(
                f"{len(self.skipped)} of {len(files)} files are unreadable, and at most "
                f"{max_bad_fraction:.0%} may be skipped. Repair or remove them:\n{reasons}"
            )

    def _add(self, path: Path) -> None:
        """Append the inputs of one file. Raises: DataError if it is unreadable."""
        if path.suffix.lower() == ARRAY_SUFFIX:
            rows = len(load_array(path))
            names = [path.name] if rows == 1 else [f"{path.name}[{row}]" for row in range(rows)]
        else:
            load_image(path)
            rows, names = 1, [path.name]
        self.names += names
        self._items += [(path, row) for row in range(rows)]

    def _require_one_array_shape(self) -> None:
        arrays = {path for path, _ in self._items if path.suffix.lower() == ARRAY_SUFFIX}
        shapes = {path: load_array(path).shape[1:] for path in sorted(arrays)}
        if len(set(shapes.values())) > 1:
            listing = ", ".join(f"{path.name} {shape}" for path, shape in list(shapes.items())[:5])
            raise DataError(
                f"The arrays have different shapes ({listing}). They go into one batch and are not "
                "resized: save them all as (C, H, W) of one size, or give images instead."
            )
