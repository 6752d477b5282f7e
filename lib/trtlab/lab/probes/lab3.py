"""Probes of lab 3: the calibration dataset, driven over a fresh folder of images.

The calibrator's is in lab3_calibrator.py and the engine's in lab3_engine.py; lab3_pictures.py draws
the images and recognises them. What is in the notebook's own calibration folder is read here.
"""

import hashlib
import itertools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field, NonNegativeInt

from trtlab.checks.lab3 import DatasetEvidence
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, read_bytes, read_float32, write_array
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes import lab3_calibrator as lab3_calibrator  # registers task 3.2
from trtlab.lab.probes import lab3_engine as lab3_engine  # registers tasks 3.3 to 3.5
from trtlab.lab.probes.lab3_pictures import CLASSES, Recogniser, secret_pictures
from trtlab.lab.scratch import scratch_folder
from trtlab.workloads import Workload, load_workload

FOLDER = "calibration_images"
LIMIT = 16  # in sorted order, pictures of four classes at most
NO_LIMIT = 500  # more than there are pictures
MOST_ITEMS = 80  # of one dataset, that are looked at
ITEM_SHAPE = Workload.input_shape
ITEM = f"float32 {ITEM_SHAPE}"
FILES = ("whole.npy", "limited.npy", "again.npy")

SAMPLED = 32
"""So many images of the validation set are looked for among the notebook's own."""

MOST_ENTRIES, MOST_FILES, MOST_BYTES, MOST_PIXELS = 5000, 1000, 8 << 20, 2048 * 2048
"""What is looked at in the notebook's folder: entries, files, bytes and pixels of a file."""


class DatasetObserved(Observed):
    """Beside it: the items of three datasets as arrays (N, 3, 224, 224), unless one is odd.

    Attributes:
        lengths: len() of the whole dataset, of a limited one, and of that constructed again.
        odd: what the first item is that is no float32 tensor (3, 224, 224); "" if all are.
    """

    lengths: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (0, 0, 0)
    odd: str = Field(default="", max_length=200)


@probe("3.1")
class CalibrationDataset(Probe[DatasetObserved]):
    """Constructs CalibrationDataset three times over secret images."""

    observed = DatasetObserved

    def give(self, given: Path, seed: int) -> None:
        """Write images of several sizes into class folders, and other files beside them."""
        for picture in secret_pictures(seed):
            file = given / "images" / picture.file
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.image.save(file)
        (given / "images" / "labels.txt").write_text("not an image")
        (given / "images" / "class_0" / "notes.md").write_text("not an image either")

    def run(self, names: Names, given: Path, made: Path) -> DatasetObserved:
        """Save what the datasets return for a copy of the folder."""
        what = "CalibrationDataset"
        dataset_class = names.get(what)
        if not callable(dataset_class):
            return DatasetObserved(attempt=missing(what))
        with scratch_folder() as scratch:
            folder = scratch / "images"
            shutil.copytree(given / "images", folder)
            ran, facts = attempt(what, lambda: _drive(dataset_class, folder, made))
        return DatasetObserved(attempt=ran, **(facts or {}))

    def evidence(self, observed: DatasetObserved, scene: Scene) -> DatasetEvidence:
        """Recognise the items, and look where the notebook's own images are from."""
        if observed.attempt.stage != "done":
            return DatasetEvidence(attempt=observed.attempt)
        if observed.odd == ITEM:
            raise ExchangeError(f"an item is said to be odd that is {ITEM}")
        pictures = secret_pictures(scene.seed)
        facts: dict[str, Any] = {
            "images": len(pictures),
            "limit": LIMIT,
            "lengths": observed.lengths[:2],
            "item": observed.odd or "no items",
            "expected_item": ITEM,
            "classes": CLASSES,
            **_source(scene.folder / FOLDER),
        }
        if not observed.odd and 0 not in observed.lengths:
            whole, limited, again = (
                read_float32(scene.made / file, (min(length, MOST_ITEMS), *ITEM_SHAPE))
                for file, length in zip(FILES, observed.lengths, strict=True)
            )
            finite = whole[np.isfinite(whole)]
            recogniser = Recogniser(pictures)
            recognised, different = recogniser.recognise(torch.from_numpy(whole))
            facts |= {
                "item": ITEM,
                "recognised": recognised,
                "low": float(finite.min(initial=0)),
                "high": float(finite.max(initial=0)),
                "limited_classes": recogniser.classes(torch.from_numpy(limited)),
                "repeatable": np.array_equal(limited, again),
            }
            if different is not None:
                facts["lengths"] = (different, observed.lengths[1])
        return DatasetEvidence(attempt=observed.attempt, **facts)


def _drive(dataset_class: Callable[..., Any], folder: Path, made: Path) -> dict[str, Any]:
    """Save the items that the student's datasets return; return fields of DatasetObserved."""
    limits = (NO_LIMIT, LIMIT, LIMIT)
    datasets = [dataset_class(str(folder), num_samples=limit) for limit in limits]
    lengths = tuple(len(dataset) for dataset in datasets)
    if 0 in lengths:
        return {"lengths": lengths}
    for file, dataset, length in zip(FILES, datasets, lengths, strict=True):
        items = [dataset[index] for index in range(min(length, MOST_ITEMS))]
        for item in items:
            if (described := _describe(item)) != ITEM:
                return {"lengths": lengths, "odd": described[:200]}
        write_array(made / file, torch.stack([item.detach().cpu() for item in items]).numpy())
    return {"lengths": lengths}


def _describe(item: Any) -> str:
    """Return "float32 (3, 224, 224)" of a tensor, and say what it is of anything else."""
    if not isinstance(item, torch.Tensor):
        return f"a {type(item).__name__}, no tensor"
    return f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}"


def _source(folder: Path) -> dict[str, int]:
    """Return how many images the notebook's folder holds, and how many of them validate."""
    mine = [_digest(image) for image in map(_decode, _image_files(folder)) if image is not None]
    if not mine:
        return {"written": 0, "from_validation": 0}
    # The validation set that the labs evaluate on begins like any other of its seed.
    validation: Any = load_workload().dataset("validation", size=len(mine))
    first = range(min(len(mine), SAMPLED))
    theirs = {_digest(validation.picture(index).convert("RGB")) for index in first}
    return {"written": len(mine), "from_validation": len(set(mine) & theirs)}


def _image_files(folder: Path) -> list[Path]:
    """Return the images of a folder, flat or class-per-folder; nothing behind a link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    entries = itertools.islice(_entries(folder), MOST_ENTRIES)
    files = [
        Path(entry.path)
        for entry in entries
        if entry.is_file(follow_symlinks=False)
        and entry.name.lower().endswith((".png", ".jpg", ".jpeg"))
        and not entry.name.startswith(".")
    ]
    return files[:MOST_FILES]


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder and in its subfolders, but no deeper."""
    with os.scandir(folder) as outer:
        for entry in outer:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as inner:
                    yield from inner


def _decode(file: Path) -> Image.Image | None:
    """Return an image in RGB; None if it is too large, damaged, or none."""
    try:
        data = BytesIO(read_bytes(file, MOST_BYTES))
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(data, formats=("PNG", "JPEG")) as image:
                small = image.width * image.height <= MOST_PIXELS
                return image.convert("RGB") if small else None
    except Exception:  # on damaged files Pillow's decoders raise many unrelated types
        return None


def _digest(image: Image.Image) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
