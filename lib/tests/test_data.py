"""The preprocessing, and class-per-folder directories."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from trtlab.data import (
    SPLITS,
    ImageFiles,
    Preprocessed,
    cache_dir,
    class_folders,
    preprocess,
    split_files,
    write_image_folder,
)
from trtlab.digits import CLASSES, DigitsDataset
from trtlab.errors import DataError, OutputError


def picture(width, height, seed=0, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten tiny images each, and things that are no classes."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            picture(8, 6, number).save(tmp_path / name / f"{number}.png")
    (tmp_path / "README.txt").write_text("not a class")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    return tmp_path


@pytest.mark.parametrize("size", [(300, 400), (500, 260), (64, 64), (224, 225)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_preprocessing_is_that_of_torchvision(size, mode):
    oracle = v2.Compose(
        [
            v2.RGB(),
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image = picture(*size, mode=mode)
    torch.testing.assert_close(preprocess(image), oracle(image), atol=1e-5, rtol=1e-5)


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = picture(224, 224)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = preprocess(image).permute(1, 2, 0).numpy() * std + mean
    assert np.array_equal((pixels * 255).round(), np.asarray(image))


def test_preprocessing_the_png_files_gives_exactly_the_data_set(tmp_path):
    dataset = DigitsDataset("calibration", 6, seed=4)
    write_image_folder(dataset, CLASSES, tmp_path / "images")
    written = sorted((tmp_path / "images").glob("*/*.png"), key=lambda path: path.stem)
    assert len(written) == 6
    for (image, label), path in zip(dataset, written, strict=True):
        assert path.parent.name == CLASSES[label]
        with Image.open(path) as file:
            assert torch.equal(preprocess(file), image)


def test_torchvision_reads_the_written_folder_with_the_same_labels(tmp_path):
    dataset = DigitsDataset("validation", 30, seed=1)
    write_image_folder(dataset, CLASSES, tmp_path)
    labels = sorted(dataset.label(index) for index in range(30))
    assert (
        sorted(
            int(ImageFolder(tmp_path).classes[label]) for _, label in ImageFolder(tmp_path).samples
        )
        == labels
    )


def test_writing_images_where_a_file_is_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError):
        write_image_folder(DigitsDataset("validation", 1), CLASSES, tmp_path / "taken")


def test_classes_are_the_visible_folders_in_alphabetical_order(folder):
    classes = class_folders(folder)
    assert list(classes) == ["cat", "dog"]
    assert [path.name for path in classes["cat"]] == [f"{number}.png" for number in range(10)]


def test_the_splits_of_a_folder_are_stratified_and_share_no_file(folder):
    parts = {split: split_files(class_folders(folder), split).files for split in SPLITS}
    assert {split: len(files) for split, files in parts.items()} == {
        "train": 14,
        "calibration": 2,
        "validation": 4,
    }
    assert len({path for files in parts.values() for path, _ in files}) == 20
    for files in parts.values():
        labels = [label for _, label in files]
        assert labels.count(0) == labels.count(1)


def test_the_splits_do_not_depend_on_where_the_folder_lies(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("moved") / "copy"
    here = [(p.parent.name, p.name) for p, _ in split_files(class_folders(folder), "train").files]
    folder.rename(elsewhere)
    there = [
        (p.parent.name, p.name) for p, _ in split_files(class_folders(elsewhere), "train").files
    ]
    assert here == there


def test_a_subset_is_drawn_by_its_seed_without_repeats(folder):
    files = split_files(class_folders(folder), "train")
    drawn = Preprocessed(files, 8, seed=1)
    assert len(drawn) == 8
    chosen = [files.files[index] for index in drawn._chosen]
    assert len(set(chosen)) == 8
    assert Preprocessed(files, 8, seed=1)._chosen == drawn._chosen
    assert Preprocessed(files, 8, seed=2)._chosen != drawn._chosen


def test_an_item_is_the_preprocessed_file_with_its_label(folder):
    dataset = Preprocessed(split_files(class_folders(folder), "validation"))
    image, label = dataset[0]
    assert torch.equal(image, preprocess(dataset.picture(0)))
    assert label == dataset.label(0)


@pytest.mark.parametrize("size", [0, 15])
def test_more_images_than_there_are_is_refused(folder, size):
    with pytest.raises(DataError, match="this split has 14"):
        Preprocessed(split_files(class_folders(folder), "train"), size)


def test_a_damaged_image_is_an_error_with_its_name(folder):
    path = folder / "cat" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"3\.png"):
        Preprocessed(ImageFiles([(path, 0)]))[0]


@pytest.mark.parametrize("what", ["missing", "file", "empty", "flat", "empty class"])
def test_folders_that_are_no_class_folders_are_refused(tmp_path, what):
    path = tmp_path / "images"
    if what == "file":
        path.write_text("a file")
    elif what != "missing":
        path.mkdir()
    if what == "flat":
        picture(4, 4).save(path / "a.png")
    if what == "empty class":
        (path / "cat").mkdir()
    said = {
        "missing": "There is no folder",
        "file": "is a file, not a folder",
        "empty": "found nothing at all",
        "flat": "found a.png",
        "empty class": "no image in cat",
    }
    with pytest.raises(DataError, match=said[what]):
        class_folders(path)


def test_a_class_with_too_few_images_to_split_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    for number in range(2):
        picture(4, 4, number).save(tmp_path / "cat" / f"{number}.png")
    with pytest.raises(DataError, match="class cat has 2"):
        split_files(class_folders(tmp_path), "train")


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TRTLAB_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    monkeypatch.delenv("TRTLAB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "trtlab"
