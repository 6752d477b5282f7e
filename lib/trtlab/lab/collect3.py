"""Evidence on lab 3: the calibration dataset, driven over a fresh folder of images.

The calibrator's is collected in collect3_calibrator.py, the engine's in collect3_engine.py.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from trtlab.checks.lab3 import DatasetEvidence, Recognised
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.errors import DataError
from trtlab.images import find_images, load_image
from trtlab.lab import collect3_calibrator as collect3_calibrator  # registers task 3.2
from trtlab.lab import collect3_engine as collect3_engine  # registers tasks 3.3 to 3.5
from trtlab.lab.session import Names, attempt, collector, missing
from trtlab.workloads import Workload, load_workload

CLASSES, IMAGES_PER_CLASS, LIMIT = 10, 4, 12
SIZES = ((224, 224), (300, 240), (120, 200), (224, 224))  # width, height
SAMPLED = 32
"""So many images of the validation set are looked for among the notebook's own."""

_SAME = 0.02  # of values around 1: decoders and resizers round differently in the last bits
_MEAN, _STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


@collector("3.1")
def calibration_dataset(names: Names) -> DatasetEvidence:
    """Run CalibrationDataset on a fresh folder, and look where the notebook's images are from."""
    workload = names.get("workload")
    if not isinstance(workload, Workload):
        workload = load_workload()
    dataset_class = names.get("CalibrationDataset")
    if not callable(dataset_class):
        return DatasetEvidence(attempt=missing("CalibrationDataset"))
    with tempfile.TemporaryDirectory() as name:
        files = _fresh_folder(Path(name))
        ran, facts = attempt(
            "CalibrationDataset", lambda: _drive(dataset_class, Path(name), files, workload)
        )
    if facts is None:
        return DatasetEvidence(attempt=ran)
    folder = Path(str(names.get("CALIBRATION_FOLDER", "calibration_images")))
    return DatasetEvidence(attempt=ran, **facts, **_source(folder, workload))


def _fresh_folder(folder: Path) -> list[Path]:
    """Write images of several sizes into class folders, and other files beside them."""
    rng = np.random.default_rng()
    files = []
    for index in range(CLASSES * IMAGES_PER_CLASS):
        file = folder / f"class_{index // IMAGES_PER_CLASS}" / f"{index:03d}.png"
        file.parent.mkdir(exist_ok=True)
        # Smooth colour fields: no two are alike, however they are resized.
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        size = SIZES[index % len(SIZES)]
        image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        # Every large collection of photographs has some in black and white.
        (image.convert("L") if index == 1 else image).save(file)
        files.append(file)
    (folder / "labels.txt").write_text("not an image")
    (folder / "class_0" / "notes.md").write_text("not an image either")
    return files


def _drive(
    dataset_class: Callable[..., Any], folder: Path, files: list[Path], workload: Workload
) -> dict[str, Any]:
    """Return what the student's dataset does, as fields of DatasetEvidence."""
    whole = dataset_class(str(folder), num_samples=10 * len(files))
    limited, again = (dataset_class(str(folder), num_samples=LIMIT) for _ in range(2))
    lengths = (len(whole), len(limited))
    expected = workload.preprocess(load_image(files[0]))
    facts: dict[str, Any] = {
        "images": len(files),
        "limit": LIMIT,
        "lengths": lengths,
        "item": "no items",
        "expected_item": _describe(expected),
        "classes": CLASSES,
    }
    if 0 in lengths:
        return facts
    items = [whole[index] for index in range(lengths[0])]
    odd = [item for item in items if _describe(item) != _describe(expected)]
    facts["item"] = _describe((odd or items)[0])
    if odd:
        return facts
    few = [limited[index] for index in range(lengths[1])]
    known = [load_image(file) for file in files]
    squeezed = [TF.resize(image, [224, 224]) for image in known]
    prints = torch.stack([_print(workload.preprocess(image)) for image in known + squeezed])
    found = [known[_nearest(item, prints) % len(known)] for item in items]
    classes = {_nearest(item, prints) % len(known) // IMAGES_PER_CLASS for item in few}
    return facts | {
        "recognised": _recognise(items, found, workload.preprocess),
        "low": min(float(item.min()) for item in items),
        "high": max(float(item.max()) for item in items),
        "limited_classes": len(classes),
        "repeatable": len(again) == len(few)
        and all(torch.equal(item, again[index]) for index, item in enumerate(few)),
    }


def _describe(item: Any) -> str:
    """Return "float32 (3, 224, 224)" of a tensor, and say what it is of anything else."""
    if not isinstance(item, Tensor):
        return f"a {type(item).__name__}, no tensor"
    return f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}"


def _print(image: Tensor) -> Tensor:
    """Return a fingerprint (196,) that survives another resize, normalisation or channel order."""
    small = torch.nn.functional.adaptive_avg_pool2d(image.float().mean(dim=0)[None, None], 14)
    flat = small.flatten()
    return (flat - flat.mean()) / (flat.std() + 1e-6)


def _nearest(item: Tensor, prints: Tensor) -> int:
    """Return the index of the fingerprint, one of (N, 196), that is most like an item's."""
    return int((prints @ _print(item)).argmax())


def _recognise(
    items: list[Tensor], images: list[Image.Image], preprocess: Callable[[Image.Image], Tensor]
) -> Recognised:
    """Return which of the known recipes made the items of the images."""
    recipes: Mapping[Recognised, list[Callable[[Image.Image], Tensor]]] = {
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
    for name, variants in recipes.items():
        scale = 255 if name == "pixels" else 1
        for recipe in variants:
            if all(
                float((item - recipe(image)).abs().max()) <= _SAME * scale
                for item, image in zip(items, images, strict=True)
            ):
                return name
    return "unknown"


def _source(folder: Path, workload: Workload) -> dict[str, Any]:
    """Return how many images the notebook's folder holds, and how many of them validate."""
    try:
        files = find_images(folder)
    except DataError:
        return {"written": 0, "from_validation": 0}
    mine = {_digest(load_image(file)) for file in files}
    # The validation set that the labs evaluate on begins like any other of its seed.
    validation: Any = workload.dataset("validation", size=len(files))
    first = range(min(len(files), SAMPLED))
    theirs = {_digest(validation.picture(index)) for index in first}
    return {"written": len(files), "from_validation": len(mine & theirs)}


def _digest(image: Image.Image) -> bytes:
    return hashlib.sha256(image.convert("RGB").tobytes()).digest()
