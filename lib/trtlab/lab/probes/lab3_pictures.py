"""The secret pictures that task 3.1 is driven over, and recognising what became of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from trtlab.checks.lab3 import Recognised
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD, preprocess

CLASSES = 10
_FEWEST, _MOST = 4, 6  # pictures of a class: the number of all of them is secret as well
_SIZES = ((224, 224), (300, 240), (120, 200), (224, 224))  # width, height

_SAME = 0.02  # of values around 1: decoders and resizers round differently in the last bits
_ALIKE = 0.7
"""Correlation of fingerprints from which on they are of one picture. Measured: 1.00 after the
model's preprocessing, up to 0.60 between different pictures, up to 0.25 with noise."""

_MEAN, _STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


@dataclass(frozen=True)
class Picture:
    """An image, its class, and its file's path within the folder."""

    image: Image.Image
    label: int
    file: str


def secret_pictures(seed: int) -> list[Picture]:
    """Draw smooth colour fields, of which no two are alike, however they are resized."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), rng.integers(_FEWEST, _MOST + 1, CLASSES))
    grey = rng.integers(len(labels))  # every large collection has some in black and white
    pictures = []
    for index, label in enumerate(labels):
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        size = _SIZES[index % len(_SIZES)]
        image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        image = image.convert("L") if index == grey else image
        pictures.append(Picture(image, int(label), f"class_{label}/{index:03d}.png"))
    return pictures


class Recogniser:
    """Finds out which pictures items were made of, and how.

    Args:
        pictures: those that the items may show.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._images = [picture.image.convert("RGB") for picture in pictures]
        self._labels = [picture.label for picture in pictures]
        squeezed = [TF.resize(image, [224, 224]) for image in self._images]
        known = torch.stack([preprocess(image) for image in self._images + squeezed])
        self._prints = _fingerprints(known)

    def recognise(self, items: Tensor) -> tuple[Recognised, int | None]:
        """Return which recipe made all items (N, 3, 224, 224), and of how many pictures.

        The number is None where the recipe is unknown, since nobody can tell then.
        """
        nearest, _ = self._nearest(items)
        found = [self._images[index] for index in nearest]
        for name, recipes in _RECIPES.items():
            most = _SAME * (255 if name == "pixels" else 1)
            for recipe in recipes:
                if all(
                    # NaN compares as false.
                    float((item - recipe(image)).abs().max()) <= most
                    for item, image in zip(items, found, strict=True)
                ):
                    return name, len(set(nearest))
        return "unknown", None

    def classes(self, items: Tensor) -> int:
        """Return how many classes the items (N, 3, 224, 224) show, of those that are known."""
        nearest, alike = self._nearest(items)
        return len({self._labels[i] for i, a in zip(nearest, alike, strict=True) if a >= _ALIKE})

    def _nearest(self, items: Tensor) -> tuple[list[int], list[float]]:
        """Return the picture that each item is most like, and their correlation."""
        alike, nearest = (_fingerprints(items) @ self._prints.T / self._prints.shape[1]).max(dim=1)
        return [index % len(self._images) for index in nearest.tolist()], alike.tolist()


def _fingerprints(images: Tensor) -> Tensor:
    """Return (N, 196) that survive another resize, normalisation or channel order."""
    small = torch.nn.functional.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 14)
    flat = small.flatten(start_dim=1)
    return (flat - flat.mean(dim=1, keepdim=True)) / (flat.std(dim=1, keepdim=True) + 1e-6)


_RECIPES: Mapping[Recognised, list[Callable[[Image.Image], Tensor]]] = {
    "model": [preprocess],
    "unit": [lambda image: preprocess(image) * _STD + _MEAN],
    "pixels": [lambda image: (preprocess(image) * _STD + _MEAN) * 255],
    "bgr": [
        lambda image: preprocess(image).flip(0),
        lambda image: preprocess(Image.fromarray(np.asarray(image)[:, :, ::-1].copy())),
    ],
    "resize": [
        lambda image: preprocess(TF.resize(image, [224, 224])),
        lambda image: preprocess(TF.center_crop(image, [224, 224])),
        lambda image: preprocess(TF.center_crop(TF.resize(image, 224), [224, 224])),
        lambda image: preprocess(TF.center_crop(TF.resize(image, 256), [224, 224])),
    ],
}
