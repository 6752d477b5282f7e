"""What all data sets share: splits, the preprocessing, loaders, and images in class folders.

The drawn digits are in digits.py, torchvision's data sets in workloads.py. Reading unlabelled
images for inference and calibration is images.py's.
"""

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from trtlab.errors import DataError
from trtlab.files import atomic_path
from trtlab.images import IMAGE_SUFFIXES, load_image
from trtlab.progress import progress_bar

Split = Literal["train", "calibration", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)

IMAGE_SIZE = 224
_RESIZED = 256  # the shorter side before the centre crop, as ImageNet models are evaluated
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def require_split(split: str) -> None:
    """Raise DataError unless `split` is one of SPLITS."""
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")


def cache_dir() -> Path:
    """Return the user's cache folder: TRTLAB_CACHE, or ~/.cache/trtlab."""
    return Path(os.environ.get("TRTLAB_CACHE") or Path.home() / ".cache" / "trtlab")


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 pixels (..., 3, H, W) into the float32 input of an ImageNet model."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def preprocess(image: Image.Image) -> Tensor:
    """Turn a PIL image of any mode and size into the model's input, (3, 224, 224) float32.

    A 224x224 image keeps its pixels; any other is resized to 256 on its shorter side and cropped at
    the centre. Then the normalisation with ImageNet's mean and standard deviation.
    """
    image = image.convert("RGB")
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = TF.center_crop(TF.resize(image, _RESIZED), [IMAGE_SIZE, IMAGE_SIZE])
    return normalise(TF.pil_to_tensor(image))


class Pictures(Protocol):
    """A data set whose samples can also be had as images, before the preprocessing."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Image.Image:
        """Return the image of a sample."""
        ...

    def label(self, index: int) -> int:
        """Return the label of a sample."""
        ...


class Preprocessed(Dataset[tuple[Tensor, int]]):
    """Labelled images under the preprocessing: ((3, 224, 224) float32, label).

    Args:
        images: any sequence of (PIL image, label): `ImageFiles`, or a data set of torchvision.
        size: keep this many, drawn at random without replacement; None keeps all, shuffled.
        seed: of the draw and of the order.

    Raises:
        DataError: if there are fewer images than `size`.
    """

    def __init__(self, images: Any, size: int | None = None, seed: int = 0) -> None:
        available = len(images)
        if size is not None and not 1 <= size <= available:
            raise DataError(
                f"{size} images were asked for, and this split has {available}. "
                f"Give a size between 1 and {available}."
            )
        self._images = images
        self._chosen = random.Random(seed).sample(range(available), size or available)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._images[self._chosen[index]]
        return preprocess(image), int(label)

    def picture(self, index: int) -> Image.Image:
        """Return the image of a sample, before the preprocessing."""
        image: Image.Image = self._images[self._chosen[index]][0]
        return image

    def label(self, index: int) -> int:
        """Return the label of a sample."""
        return int(self._images[self._chosen[index]][1])


class ImageFiles(Sequence[tuple[Image.Image, int]]):
    """Image files as (PIL image, label), decoded when asked for.

    A damaged file raises DataError with its name and is not skipped: an accuracy over fewer images
    than were asked for would be another figure.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self.files = list(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        path, label = self.files[index]
        return load_image(path), label


def class_folders(root: str | Path) -> dict[str, list[Path]]:
    """List the images of a class-per-folder directory: class name -> files, both sorted.

    Raises:
        DataError: if the directory is missing or is a file, or has no folder with images in it.
    """
    root = Path(root)
    expected = "Expected one folder per class with images in it, such as cats/001.jpg"
    if not root.exists():
        raise DataError(f"There is no folder {root}. {expected}.")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder. {expected}.")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = {
        folder.name: sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        for folder in folders
    }
    empty = [name for name, files in classes.items() if not files]
    if not classes or empty:
        there = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing at all"
        what = f"no image in {', '.join(empty[:5])}" if empty else "no folder in it"
        raise DataError(f"{root} has {what}. {expected}; found {there}.")
    return classes


def split_files(classes: dict[str, list[Path]], split: Split) -> ImageFiles:
    """Return the part of a class-per-folder directory that belongs to `split`.

    Per class, a fifth of the files validates, a tenth calibrates (one at least of each), and the
    rest trains. Which file goes where follows from a hash of its class and name, so it is the same
    on every machine.

    Raises:
        DataError: if there is no such split, or a class has fewer than three images.
    """
    require_split(split)
    chosen: list[tuple[Path, int]] = []
    for label, (name, files) in enumerate(classes.items()):
        if len(files) < 3:
            raise DataError(
                f"The class {name} has {len(files)} of the at least 3 images that it needs: one "
                "each to train, to calibrate and to validate."
            )
        ranked = sorted(files, key=_rank)
        validation = max(1, len(files) // 5)
        calibration = validation + max(1, len(files) // 10)
        parts: dict[Split, list[Path]] = {
            "validation": ranked[:validation],
            "calibration": ranked[validation:calibration],
            "train": ranked[calibration:],
        }
        chosen += [(path, label) for path in parts[split]]
    return ImageFiles(chosen)


def _rank(file: Path) -> bytes:
    return hashlib.sha256(f"{file.parent.name}/{file.name}".encode()).digest()


def write_image_folder(dataset: Pictures, classes: Sequence[str], folder: str | Path) -> Path:
    """Write every image of `dataset` as `folder/CLASS/000123.png` and return the folder.

    PNG keeps the pixels, so preprocessing the files gives exactly the samples of the data set.

    Raises:
        OutputError: if a file cannot be written.
    """
    folder = Path(folder)
    with progress_bar(f"writing {folder}", len(dataset)) as advance:
        for index in range(len(dataset)):
            target = folder / classes[dataset.label(index)] / f"{index:06d}.png"
            with atomic_path(target) as temporary:
                dataset.picture(index).save(temporary, format="PNG")
            advance(1)
    return folder


def make_loader(dataset: Dataset[tuple[Tensor, int]], batch_size: int) -> DataLoader[Any]:
    """Return batches of ((N, 3, 224, 224) float32, (N,) int64) in the order of the data set.

    Nothing is shuffled here: the data set's seed already did it, and said in which order.
    """
    return DataLoader(dataset, batch_size=batch_size)
