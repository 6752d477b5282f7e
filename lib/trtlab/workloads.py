"""Model, data set, input shape and classes under one name: `load_workload("digits")`.

Every lab takes its model and images from here, so that it says the same on every machine.
"""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets as torchvision_datasets
from torchvision.models import ResNet50_Weights

import trtlab
from trtlab import data, digits, models, training
from trtlab.data import Preprocessed, Split
from trtlab.errors import DataError, ModelError

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
NAMES = ("digits", "imagenette", "cifar10", "imagefolder:PATH", "auto")


class Workload(ABC):
    """One classification task, with everything that the labs need of it.

    Attributes:
        name: as given to `load_workload`.
        classes: the name of each output of the model, in order.
        arch: of models.ARCHITECTURES.
        weights: a weights file given by the user, or None.
        validation_size: images that a newly trained model is validated on; None: the whole split.
    """

    input_name = "input"
    output_name = "output"
    input_shape = (3, data.IMAGE_SIZE, data.IMAGE_SIZE)
    validation_size: int | None = None

    def __init__(
        self, name: str, classes: tuple[str, ...], arch: str, weights: Path | None
    ) -> None:
        self.name, self.classes, self.arch, self.weights = name, classes, arch, weights

    def preprocess(self, image: Image.Image) -> Tensor:
        """Turn a PIL image into the model's input, (3, 224, 224) float32; see data.preprocess."""
        return data.preprocess(image)

    @abstractmethod
    def dataset(
        self, split: Split, size: int | None = None, seed: int = 0
    ) -> Dataset[tuple[Tensor, int]]:
        """Return ((3, 224, 224) float32, label) samples; the same arguments give the same samples.

        Args:
            split: "train", "calibration" or "validation"; they share no image.
            size: how many; None takes each image of the split once.
            seed: which ones, and in which order.

        Raises:
            DataError: if the images cannot be had, or size or seed is out of range.
        """

    def loader(
        self, split: Split, size: int | None = None, seed: int = 0, batch_size: int = 32
    ) -> DataLoader[Any]:
        """Return `dataset(split, size, seed)` in batches ((N, 3, 224, 224) float32, (N,) int64)."""
        return data.make_loader(self.dataset(split, size, seed), batch_size)

    def load_model(self) -> nn.Module:
        """Return the trained model: FP32, eval mode, on the CPU.

        Raises:
            ModelError: if the weights are missing or do not fit.
        """
        if self.weights is not None:
            return models.load_model(self.weights, num_classes=len(self.classes))
        return self._trained_model()

    @abstractmethod
    def _trained_model(self) -> nn.Module:
        """Return the model that belongs to this workload where the user gave no weights."""

    def initial_model(self) -> nn.Module:
        """Return the model that training starts from."""
        model = models.create_model(self.arch, len(self.classes))
        models.silence_residuals(model)
        return model

    def training_batches(
        self, batch_size: int, seed: int, device: str
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return training batches without end, in another order each time round."""
        for turn in itertools.count():
            yield from self.loader("train", seed=seed + turn, batch_size=batch_size)

    def _train_once(self) -> nn.Module:
        """Load the model from the user's cache; train it and put it there the first time."""
        recipe = training.RECIPES[self.arch]
        key = hashlib.sha256(f"{trtlab.__version__} {recipe}".encode()).hexdigest()[:8]
        path = data.cache_dir() / self.name / f"{self.arch}-{key}.safetensors"
        if not path.exists():
            training.train_workload_model(self, path)
        return models.load_model(path, num_classes=len(self.classes))


class Digits(Workload):
    """scikit-learn's handwritten digits, drawn at 224x224; needs no network. See digits.py."""

    validation_size = 2000

    def __init__(self, arch: str | None, weights: Path | None) -> None:
        # The full ResNet-50 is trained on the spot, which takes a GPU.
        arch = arch or ("resnet50" if torch.cuda.is_available() else "resnet50-slim")
        super().__init__("digits", digits.CLASSES, arch, weights)

    def dataset(
        self, split: Split, size: int | None = None, seed: int = 0
    ) -> Dataset[tuple[Tensor, int]]:
        """Return drawn digits; `size` may exceed the number of source images."""
        return digits.DigitsDataset(split, size, seed)

    def training_batches(
        self, batch_size: int, seed: int, device: str
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return batches drawn on `device`; no picture comes twice."""
        return digits.training_batches(batch_size, seed, device)

    def _trained_model(self) -> nn.Module:
        if self.arch == "resnet50-slim":
            return models.load_model(models.shipped_weights("digits/resnet50-slim.safetensors"))
        return self._train_once()


class Imagenette(Workload):
    """Ten ImageNet classes of Imagenette, under ResNet-50's own thousand outputs.

    Its train/ folder calibrates, its val/ folder validates. The weights have seen train/.
    """

    # torchvision's labels are positions in this list; the model's are ImageNet's.
    IMAGENET_IDS = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)

    def __init__(self, arch: str | None, weights: Path | None) -> None:
        classes = tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])
        super().__init__("imagenette", classes, arch or "resnet50", weights)

    def dataset(
        self, split: Split, size: int | None = None, seed: int = 0
    ) -> Dataset[tuple[Tensor, int]]:
        """Return Imagenette's photographs, 320 pixels high or wide, with ImageNet's labels."""
        data.require_split(split)
        folder = "val" if split == "validation" else "train"
        images = _download(
            torchvision_datasets.Imagenette,
            "imagenette2-320.tgz",
            split=folder,
            size="320px",
            target_transform=self.IMAGENET_IDS.__getitem__,
        )
        return Preprocessed(images, size, seed)

    def _trained_model(self) -> nn.Module:
        if self.arch != "resnet50":
            raise ModelError(f"There are no ImageNet weights of {self.arch}; use resnet50.")
        return models.imagenet_resnet50()


class Cifar10(Workload):
    """CIFAR-10 at 224x224: ResNet-50 from ImageNet weights, fine-tuned on first use."""

    _CALIBRATION = 1000  # of the 50,000 training images

    def __init__(self, arch: str | None, weights: Path | None) -> None:
        super().__init__("cifar10", CIFAR10_CLASSES, arch or "resnet50", weights)

    def dataset(
        self, split: Split, size: int | None = None, seed: int = 0
    ) -> Dataset[tuple[Tensor, int]]:
        """Return CIFAR-10's images; the test set validates, 1,000 training images calibrate."""
        data.require_split(split)
        images: Any = _download(
            torchvision_datasets.CIFAR10, "cifar-10-python.tar.gz", train=split != "validation"
        )
        parts = {
            "train": range(self._CALIBRATION, len(images)),
            "calibration": range(self._CALIBRATION),  # CIFAR-10 is stored in random order
            "validation": range(len(images)),
        }
        return Preprocessed(torch.utils.data.Subset(images, parts[split]), size, seed)

    def initial_model(self) -> nn.Module:
        """Return a model with ImageNet's features where there are any, and a new last layer."""
        return _pretrained(self.arch, len(self.classes)) or super().initial_model()

    def _trained_model(self) -> nn.Module:
        return self._train_once()


class ImageFolder(Workload):
    """Any class-per-folder directory; the classes are the folders' names.

    Nobody but the user knows what model belongs to it: give a weights file, or train one with
    training.train_workload_model, which starts from ImageNet's weights.
    """

    def __init__(self, path: str, arch: str | None, weights: Path | None) -> None:
        self._folders = data.class_folders(path)
        super().__init__(f"imagefolder:{path}", tuple(self._folders), arch or "resnet50", weights)

    def dataset(
        self, split: Split, size: int | None = None, seed: int = 0
    ) -> Dataset[tuple[Tensor, int]]:
        """Return the images that data.split_files gives to `split`."""
        return Preprocessed(data.split_files(self._folders, split), size, seed)

    def initial_model(self) -> nn.Module:
        """Return a model with ImageNet's features where there are any, and a new last layer."""
        return _pretrained(self.arch, len(self.classes)) or super().initial_model()

    def _trained_model(self) -> nn.Module:
        raise ModelError(
            f"{self.name} has no model of its own. Train one with `trtlab train --workload "
            f"{self.name} --output FILE.safetensors`, and give that file as the weights."
        )


def load_workload(
    name: str = "auto", *, arch: str | None = None, weights: str | Path | None = None
) -> Workload:
    """Return the workload called `name`.

    Args:
        name: of NAMES; "auto" is "digits", which runs on every machine.
        arch: of models.ARCHITECTURES; None takes the workload's own.
        weights: a weights file in place of the workload's own; see models.load_model.

    Raises:
        DataError: if there is no such workload, or an image folder cannot be used.
        ModelError: if there is no such architecture.
    """
    if arch is not None:
        models.require_arch(arch)
    file = Path(weights) if weights is not None else None
    if name.startswith("imagefolder:"):
        return ImageFolder(name.removeprefix("imagefolder:"), arch, file)
    known: dict[str, Any] = {
        "auto": Digits, "digits": Digits, "imagenette": Imagenette, "cifar10": Cifar10
    }  # fmt: skip
    if name not in known:
        raise DataError(f"There is no workload {name!r}; there are {', '.join(NAMES)}.")
    workload: Workload = known[name](arch, file)
    return workload


def _pretrained(arch: str, num_classes: int) -> nn.Module | None:
    """Return ImageNet's ResNet-50 with a new last layer; None for any other architecture."""
    if arch != "resnet50":
        return None
    model = models.imagenet_resnet50()
    model.fc = nn.Linear(2048, num_classes)
    return model


def _download(source: Any, archive: str, **options: Any) -> Any:
    """Return a data set of torchvision, downloaded to the user's cache the first time.

    Raises:
        DataError: if it is not there and cannot be downloaded; says what to fetch and where to put
            it.
    """
    root = data.cache_dir()
    try:
        return source(str(root), download=True, **options)
    except (*models.NETWORK_ERRORS, RuntimeError) as error:  # RuntimeError: a damaged archive
        raise DataError(
            f"{source.__name__} could not be downloaded: {error}. Without a network, fetch "
            f"{archive} elsewhere and unpack it in {root}, or use the workload 'digits', which "
            "needs no network."
        ) from error
