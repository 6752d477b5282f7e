"""What the labs get under one name, and what they are told where the network is missing."""

import tarfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import datasets as torchvision_datasets
from torchvision.datasets import CIFAR10
from torchvision.datasets import Imagenette as TorchvisionImagenette
from torchvision.models import ResNet50_Weights

from trtlab import models, training, workloads
from trtlab.data import SPLITS, preprocess
from trtlab.errors import DataError, ModelError
from trtlab.models import create_model, save_weights
from trtlab.workloads import Imagenette, load_workload

WNIDS = tuple(TorchvisionImagenette._WNID_TO_CLASS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", unreachable)


@pytest.fixture
def imagenette(cache):
    """Two photographs per class and split where torchvision looks for them."""
    for split in ("train", "val"):
        for number, wnid in enumerate(WNIDS):
            folder = cache / "imagenette2-320" / split / wnid
            folder.mkdir(parents=True)
            for copy in range(2):
                shade = 20 * number + copy + (5 if split == "val" else 0)
                Image.new("RGB", (330, 320), (shade, 0, 0)).save(folder / f"{copy}.JPEG")


@pytest.fixture
def image_folder(tmp_path):
    for shade, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            color = (100 * shade, number, 0)
            Image.new("RGB", (30, 30), color).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def test_auto_is_the_digits_workload():
    assert load_workload().name == load_workload("digits").name == "digits"


@pytest.mark.parametrize(("gpu", "arch"), [(True, "resnet50"), (False, "resnet50-slim")])
def test_digits_take_the_full_model_where_there_is_a_gpu_to_train_it(monkeypatch, gpu, arch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert load_workload("digits").arch == arch


def test_the_digits_workload_is_complete():
    workload = load_workload("digits", arch="resnet50-slim")
    assert workload.classes == tuple("0123456789")
    assert (workload.input_name, workload.output_name) == ("input", "output")
    images, labels = next(iter(workload.loader("validation", size=5, seed=1, batch_size=3)))
    assert images.shape == (3, *workload.input_shape)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.equal(images[2], workload.dataset("validation", 5, 1)[2][0])
    assert torch.equal(
        workload.preprocess(Image.new("L", (9, 9))), preprocess(Image.new("L", (9, 9)))
    )


def test_the_shipped_model_reads_digits_that_it_has_never_seen():
    workload = load_workload("digits", arch="resnet50-slim")
    model = workload.load_model()
    assert not model.training
    top1 = training.accuracy(model, workload.loader("validation", 200, seed=9), "cpu")
    assert top1 > 90  # 95 to 98 over many images; three standard deviations at 200 are 4 points


def test_a_weights_file_takes_the_place_of_the_workloads_own(tmp_path):
    model = create_model("resnet50-slim", 10)
    path = save_weights(model, tmp_path / "mine.safetensors", {})
    loaded = load_workload("digits", weights=path).load_model()
    assert torch.equal(loaded.fc.weight, model.fc.weight.half().float())


def test_weights_for_other_classes_are_refused(tmp_path):
    path = save_weights(create_model("resnet50-slim", 7), tmp_path / "w.safetensors", {})
    with pytest.raises(ModelError, match="7 classes"):
        load_workload("digits", weights=path).load_model()


def test_the_full_model_is_trained_once_and_then_read_from_the_cache(cache, monkeypatch):
    runs = []

    def train(workload, output):
        runs.append(output)
        save_weights(workload.initial_model(), output, {})

    monkeypatch.setattr(training, "train_workload_model", train)
    workload = load_workload("digits", arch="resnet50")
    first, second = workload.load_model(), workload.load_model()
    assert len(runs) == 1
    assert runs[0].parent == cache / "digits"
    assert torch.equal(first.fc.weight, second.fc.weight)


def test_a_changed_recipe_trains_another_model(cache, monkeypatch):
    seen = []

    def train(workload, output):
        seen.append(output)
        save_weights(create_model("resnet50-slim", 10), output, {})

    monkeypatch.setattr(training, "train_workload_model", train)
    workload = load_workload("digits", arch="resnet50")
    workload.load_model()
    changed = training.Recipe(steps=7, batch_size=2, learning_rate=0.1)
    monkeypatch.setitem(training.RECIPES, "resnet50", changed)
    workload.load_model()
    assert len(set(seen)) == 2


def test_imagenettes_classes_are_those_of_the_imagenet_model():
    # Oracles: torchvision's names of Imagenette's classes and of the model's outputs.
    categories = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    names = [TorchvisionImagenette._WNID_TO_CLASS[wnid][0] for wnid in sorted(WNIDS)]
    ours = [categories[number] for number in Imagenette.IMAGENET_IDS]
    assert [name.lower() for name in ours] == [name.lower() for name in names]
    assert load_workload("imagenette").classes == tuple(categories)


@pytest.mark.usefixtures("imagenette")
def test_imagenette_labels_its_photographs_with_imagenet_ids():
    workload = load_workload("imagenette")
    dataset = workload.dataset("validation")
    assert len(dataset) == 20
    for index in range(20):
        image, label = dataset[index]
        number = Imagenette.IMAGENET_IDS.index(label)
        red = np.asarray(dataset.picture(index))[0, 0, 0]
        assert abs(int(red) - (20 * number + 5)) <= 4  # the shade that the fixture painted
        assert image.shape == (3, 224, 224)


@pytest.mark.usefixtures("imagenette")
def test_imagenette_validates_on_its_val_folder_alone():
    workload = load_workload("imagenette")
    train = {np.asarray(workload.dataset("train").picture(i)).tobytes() for i in range(20)}
    held = {np.asarray(workload.dataset("validation").picture(i)).tobytes() for i in range(20)}
    assert not train & held
    assert len(workload.dataset("calibration", size=7)) == 7


def test_imagenettes_model_is_the_imagenet_one(monkeypatch):
    model = nn.Identity()
    monkeypatch.setattr(models, "imagenet_resnet50", lambda: model)
    assert load_workload("imagenette").load_model() is model
    with pytest.raises(ModelError, match="no ImageNet weights of resnet50-slim"):
        load_workload("imagenette", arch="resnet50-slim").load_model()


class FakeCifar10(CIFAR10):
    """CIFAR-10's interface over a few images, so that nothing is downloaded."""

    def __init__(self, root, train, download):
        assert download
        self.count = 1010 if train else 6

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return Image.new("RGB", (32, 32), (index % 256, index // 256, 0)), index % 10


def test_cifar10_calibrates_on_images_that_are_not_trained_on(monkeypatch):
    monkeypatch.setattr(torchvision_datasets, "CIFAR10", FakeCifar10)
    workload = load_workload("cifar10")
    assert len(workload.classes) == 10
    sizes = {split: len(workload.dataset(split)) for split in SPLITS}
    assert sizes == {"train": 10, "calibration": 1000, "validation": 6}
    train = {workload.dataset("train").picture(i).tobytes() for i in range(10)}
    calibration = {workload.dataset("calibration").picture(i).tobytes() for i in range(1000)}
    assert not train & calibration
    assert workload.dataset("validation", size=2)[0][0].shape == (3, 224, 224)


def test_fine_tuning_starts_from_imagenets_features_with_a_new_head(monkeypatch, image_folder):
    features = models.create_model("resnet50", 1000)
    monkeypatch.setattr(models, "imagenet_resnet50", lambda: features)
    model = load_workload(f"imagefolder:{image_folder}").initial_model()
    assert model.fc.out_features == 2
    assert model.conv1 is features.conv1
    slim = load_workload(f"imagefolder:{image_folder}", arch="resnet50-slim").initial_model()
    assert slim.conv1.out_channels == 16


def test_the_training_batches_of_a_finite_data_set_go_round_in_new_orders(image_folder):
    workload = load_workload(f"imagefolder:{image_folder}")
    batches = workload.training_batches(batch_size=14, seed=0, device="cpu")
    first, second = next(batches), next(batches)
    assert sorted(first[1].tolist()) == sorted(second[1].tolist()) == [0] * 7 + [1] * 7
    assert not torch.equal(first[0], second[0])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "archive"),
    [("imagenette", "imagenette2-320.tgz"), ("cifar10", "cifar-10-python.tar.gz")],
)
def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(cache, name, archive):
    with pytest.raises(DataError) as caught:
        load_workload(name).dataset("validation")
    message = str(caught.value)
    assert archive in message
    assert str(cache) in message
    assert "'digits'" in message


@pytest.mark.usefixtures("offline")
def test_an_archive_put_there_by_hand_is_used(cache, tmp_path, monkeypatch, imagenette):
    # As the error advises: the archive unpacked in the cache folder. The fixture is that folder.
    assert len(load_workload("imagenette").dataset("validation")) == 20


@pytest.mark.usefixtures("offline")
def test_a_damaged_archive_is_a_data_error(cache):
    cache.mkdir()
    with tarfile.open(cache / "cifar-10-python.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match="CIFAR10 could not be downloaded"):
        load_workload("cifar10").dataset("train")


def test_a_class_per_folder_directory_is_a_workload(image_folder, tmp_path):
    path = save_weights(create_model("resnet50-slim", 2), tmp_path / "w.safetensors", {})
    workload = load_workload(f"imagefolder:{image_folder}", weights=path)
    assert workload.classes == ("cat", "dog")
    assert {split: len(workload.dataset(split)) for split in SPLITS} == {
        "train": 14,
        "calibration": 2,
        "validation": 4,
    }
    assert workload.load_model().fc.out_features == 2


def test_an_image_folder_without_weights_says_how_to_get_them(image_folder):
    with pytest.raises(ModelError, match="trtlab train --workload imagefolder:"):
        load_workload(f"imagefolder:{image_folder}").load_model()


def test_a_missing_image_folder_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        load_workload(f"imagefolder:{tmp_path / 'none'}")


def test_an_unknown_workload_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match=r"'mnist'.*digits, imagenette, cifar10"):
        load_workload("mnist")


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ModelError, match="vgg"):
        load_workload("digits", arch="vgg")


@pytest.mark.parametrize("name", ["digits", "imagenette", "cifar10"])
def test_an_unknown_split_is_refused(name):
    with pytest.raises(DataError, match="no split 'test'"):
        load_workload(name).dataset("test")


def test_the_names_that_are_advertised_are_the_ones_that_work(image_folder):
    for name in workloads.NAMES:
        assert load_workload(name.replace("PATH", str(image_folder)))
