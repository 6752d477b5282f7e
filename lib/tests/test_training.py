"""The recipe: it learns, it is reproducible, and it says what it did."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from trtlab import models, training
from trtlab.errors import BackendError, DataError, OutputError
from trtlab.models import load_model, read_metadata
from trtlab.training import RECIPES, Recipe, accuracy, train_classifier, train_workload_model
from trtlab.workloads import load_workload

RECIPE = Recipe(steps=60, batch_size=16, learning_rate=0.02)


def stripes(batch_size):
    """Yield images with horizontal (0) or vertical (1) stripes in noise: easy, not trivial."""
    generator = torch.Generator().manual_seed(0)
    while True:
        labels = torch.randint(0, 2, (batch_size,), generator=generator)
        wave = (torch.arange(16) % 4 < 2).float() * 2 - 1
        rows = wave[:, None].expand(16, 16)
        images = torch.stack([rows if label == 0 else rows.T for label in labels])[:, None]
        noise = torch.randn(batch_size, 3, 16, 16, generator=generator)
        yield images + 0.5 * noise, labels


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def held_out():
    batches = stripes(100)
    return [batch for _, batch in zip(range(3), batches, strict=False)][2:]


def test_training_learns_what_it_is_shown():
    untrained = accuracy(tiny(), held_out(), "cpu")
    model = train_classifier(tiny(), stripes(16), RECIPE, "cpu")
    assert untrained < 70
    assert accuracy(model, held_out(), "cpu") > 95
    assert not model.training


def test_training_twice_gives_the_same_weights():
    first = train_classifier(tiny(), stripes(16), RECIPE, "cpu").state_dict()
    second = train_classifier(tiny(), stripes(16), RECIPE, "cpu").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_first_half_of_the_steps_sees_half_the_size():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            seen.append(tuple(x.shape))
            return self.fc(x.mean(dim=(2, 3)))

    train_classifier(Spy(), stripes(4), replace(RECIPE, steps=4), "cpu")
    assert seen == [(4, 3, 8, 8)] * 2 + [(4, 3, 16, 16)] * 2


def test_only_kernels_and_matrices_decay():
    model = tiny()
    decayed, spared = training._parameter_groups(model, 0.1)
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[5].weight)}
    assert len(spared["params"]) == 4
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_accuracy_counts_every_image_once():
    model = nn.Identity()
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    batches = [(logits[:2], torch.tensor([0, 1])), (logits[2:], torch.tensor([1]))]
    assert accuracy(model, batches, "cpu") == pytest.approx(200 / 3)


@pytest.fixture
def short_recipe(monkeypatch):
    monkeypatch.setitem(RECIPES, "resnet50-slim", replace(RECIPES["resnet50-slim"], batch_size=2))


@pytest.mark.usefixtures("short_recipe")
def test_the_file_holds_the_trained_model_and_how_it_came_about(tmp_path):
    workload = load_workload("digits", arch="resnet50-slim")
    path = tmp_path / "slim.safetensors"
    facts = train_workload_model(workload, path, device="cpu", steps=2, seed=5, validation_size=4)
    assert read_metadata(path) == facts
    assert facts["arch"] == "resnet50-slim"
    assert facts["recipe"]["steps"] == 2
    assert facts["recipe"]["seed"] == 5
    assert facts["validation_images"] == 4
    trained = load_model(path, num_classes=10)
    torch.manual_seed(5)
    assert not torch.equal(trained.fc.weight, workload.initial_model().fc.weight)


@pytest.mark.usefixtures("short_recipe")
def test_the_seed_alone_decides_the_weights(tmp_path):
    workload = load_workload("digits", arch="resnet50-slim")
    heads = []
    for run, seed in enumerate([5, 5, 6]):
        torch.manual_seed(run)  # whatever was drawn before must not matter
        path = tmp_path / f"{run}.safetensors"
        train_workload_model(workload, path, device="cpu", steps=2, seed=seed, validation_size=2)
        heads.append(load_model(path).fc.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.usefixtures("short_recipe")
def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError):
        train_workload_model(
            load_workload("digits", arch="resnet50-slim"),
            tmp_path / "taken" / "w.safetensors",
            device="cpu",
            steps=2,
            validation_size=2,
        )


@pytest.mark.usefixtures("short_recipe")
def test_data_that_cannot_be_had_is_found_out_before_the_training(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "train_classifier", lambda *_: pytest.fail("it was trained"))
    workload = load_workload("digits", arch="resnet50-slim")
    with pytest.raises(DataError, match="seed is -1"):
        train_workload_model(workload, tmp_path / "w.safetensors", device="cpu", seed=-1)


@pytest.mark.parametrize(
    ("device", "said"), [("tpu", "no device 'tpu'"), ("cuda", "no usable GPU")]
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, tmp_path, device, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    workload = load_workload("digits", arch="resnet50-slim")
    with pytest.raises(BackendError, match=said):
        train_workload_model(workload, tmp_path / "w.safetensors", device=device)


def test_there_is_a_recipe_for_every_architecture():
    assert RECIPES.keys() == models.ARCHITECTURES.keys()
