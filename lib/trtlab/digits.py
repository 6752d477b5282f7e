"""The `digits` data set: scikit-learn's 1,797 handwritten digits, drawn at 224x224 without end.

A sample is a function of (split, seed, index) alone: neither batch, nor size of the set, nor order,
nor worker changes it. The splits are by digit image, so that a validation picture never shows a
digit that was trained on; the clutter, too, is cut from digits of the same split.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import functional as TF

from trtlab.data import SPLITS, Split, normalise, require_split
from trtlab.drawing import NUMBERS, OTHERS, draw
from trtlab.errors import DataError

CLASSES = tuple("0123456789")
_VALIDATION, _CALIBRATION = 50, 15  # source images per class; the remaining 109 to 118 train
_STREAMS = {"split": 0, "order": 1, "sample": 2}  # independent random numbers under one seed


@functools.cache
def source_images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the original images (1797, 8, 8) in [0, 1] and their labels (1797,)."""
    # Imported late: scikit-learn takes a second to load, and only the data needs it.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32) / 16, bunch.target.astype(np.int64)


@functools.cache
def split_sources(split: Split) -> NDArray[np.int64]:
    """Return the indices of the source images of `split`: stratified, and the same everywhere.

    Raises:
        DataError: if there is no such split.
    """
    require_split(split)
    _, labels = source_images()
    shuffled = np.argsort(_uniform("split", 0, 0, 0, (1, len(labels)))[0])
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in SPLITS}
    for digit in range(len(CLASSES)):
        members = shuffled[labels[shuffled] == digit]
        cuts = [_VALIDATION, _VALIDATION + _CALIBRATION]
        for name, part in zip(
            ("validation", "calibration", "train"), np.split(members, cuts), strict=True
        ):
            parts[name].append(part)
    return np.sort(np.concatenate(parts[split]))


def _uniform(
    stream: str, seed: int, split: int, start: int, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return rows `start`, `start + 1`, ... of an endless table of uniform numbers in [0, 1).

    Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011):
    row r begins at counter r * ceil(columns / 4), because one count gives four numbers, so any row
    is had without the ones before it.
    """
    rows, columns = shape
    counts = -(-columns // 4)
    bits = np.random.Philox(
        key=np.array([seed, split], np.uint64),
        counter=np.array([start * counts, 0, 0, _STREAMS[stream]], np.uint64),
    )
    return np.random.Generator(bits).random((rows, counts * 4))[:, :columns]


@functools.lru_cache(maxsize=64)
def _round(split: Split, seed: int, turn: int) -> NDArray[np.int64]:
    """Return the order in which the source images are drawn the `turn`-th time."""
    sources = split_sources(split)
    keys = _uniform("order", seed, SPLITS.index(split), turn, (1, len(sources)))
    return sources[np.argsort(keys[0])]


class DigitsDataset(Dataset[tuple[Tensor, int]]):
    """`size` drawn digits of a split, preprocessed: ((3, 224, 224) float32, label).

    Every source image of the split is drawn once before any is drawn again.

    Args:
        split: "train", "calibration" or "validation".
        size: number of pictures; None draws each source image once.
        seed: of everything random; another seed gives an independent set.

    Raises:
        DataError: if there is no such split, or size or seed is out of range.
    """

    def __init__(self, split: Split, size: int | None = None, seed: int = 0) -> None:
        self.sources = split_sources(split)
        self.size = len(self.sources) if size is None else size
        if self.size < 1:
            raise DataError(f"A data set of {size} pictures was asked for; give at least 1.")
        if not 0 <= seed < 2**64:
            raise DataError(f"The seed is {seed}; it must be between 0 and 2**64 - 1.")
        self.split, self.seed = split, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Draw several samples at once; DataLoader calls this with the indices of a batch."""
        pictures, labels = self.draw(indices)
        return list(zip(normalise(pictures), labels.tolist(), strict=True))

    def picture(self, index: int) -> Image.Image:
        """Return sample `index` as an image, before the preprocessing."""
        return TF.to_pil_image(self.draw([index])[0][0])

    def label(self, index: int) -> int:
        """Return the label of sample `index` without drawing it."""
        return int(source_images()[1][self._source(index)])

    def draw(
        self, indices: Sequence[int], device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Draw samples on `device`: (N, 3, 224, 224) uint8, and their labels (N,) int64.

        CPU and GPU agree up to the rounding of single pixels by one level.
        """
        images, labels = source_images()
        sources = np.array([self._source(index) for index in indices])
        table = self._numbers(indices)
        others = self.sources[(table[:, NUMBERS:] * len(self.sources)).astype(np.int64)]
        pictures = draw(
            torch.from_numpy(images[sources]).to(device),
            torch.from_numpy(images[others]).to(device),
            torch.from_numpy(table[:, :NUMBERS].astype(np.float32)).to(device),
        )
        return pictures, torch.from_numpy(labels[sources]).to(device)

    def _numbers(self, indices: Sequence[int]) -> NDArray[np.float64]:
        """Return the uniform numbers of each sample, (N, NUMBERS + OTHERS)."""
        split, columns = SPLITS.index(self.split), NUMBERS + OTHERS
        runs = [  # consecutive indices in one call: a training batch costs what one sample costs
            [index for _, index in run]
            for _, run in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0])
        ]
        return np.concatenate(
            [_uniform("sample", self.seed, split, run[0], (len(run), columns)) for run in runs]
        )

    def _source(self, index: int) -> int:
        """Return the source image of sample `index`."""
        if not 0 <= index < self.size:
            raise IndexError(f"Sample {index} of a data set of {self.size}.")
        turn, place = divmod(index, len(self.sources))
        return int(_round(self.split, self.seed, turn)[place])


def training_batches(
    batch_size: int, seed: int, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw training batches without end: (N, 3, 224, 224) float32 and labels (N,), on `device`."""
    dataset = DigitsDataset("train", size=2**40, seed=seed)  # the seed is checked here, at once

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        for start in itertools.count(0, batch_size):
            pictures, labels = dataset.draw(range(start, start + batch_size), device)
            yield normalise(pictures), labels

    return endless()
