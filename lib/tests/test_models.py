"""The two architectures, and the files that their weights come in."""

from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import resnet50

from trtlab import models
from trtlab.errors import ModelError, OutputError
from trtlab.models import (
    create_model,
    imagenet_resnet50,
    load_model,
    read_metadata,
    save_weights,
    shipped_weights,
    silence_residuals,
)


@pytest.fixture(scope="module")
def slim():
    torch.manual_seed(0)
    return create_model("resnet50-slim", 10).eval()


@pytest.fixture
def weights(slim, tmp_path):
    return save_weights(slim, tmp_path / "slim.safetensors", {"arch": "resnet50-slim", "top1": 97})


def shapes(model, kind):
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kind)]


def test_the_slim_model_is_resnet_50_at_a_quarter_of_the_width(slim):
    full = dict(shapes(resnet50(), nn.Conv2d))
    convolutions = dict(shapes(slim, nn.Conv2d))
    assert len(convolutions) == 53
    assert convolutions.keys() == full.keys()
    for name, convolution in convolutions.items():
        reference = full[name]
        assert convolution.out_channels * 4 == reference.out_channels
        assert convolution.in_channels * (1 if name == "conv1" else 4) == reference.in_channels
        for attribute in ("kernel_size", "stride", "padding"):
            assert getattr(convolution, attribute) == getattr(reference, attribute)


def test_the_slim_model_computes_what_torchvisions_forward_does(slim):
    # Oracle: torchvision's own ResNet with its modules replaced by the slim ones.
    reference = resnet50(num_classes=10)
    for name, module in slim.named_children():
        setattr(reference, name, module)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(slim(x), reference.eval()(x))


def test_the_full_model_is_torchvisions():
    assert create_model("resnet50", 10).state_dict().keys() == resnet50().state_dict().keys()


def test_silenced_residuals_make_every_bottleneck_its_shortcut(slim):
    model = create_model("resnet50-slim", 10).eval()
    silence_residuals(model)
    x = torch.rand(1, 64, 8, 8)  # not negative, as after a ReLU
    with torch.no_grad():
        assert torch.equal(model.layer1[1](x), x)
        assert not torch.equal(slim.layer1[1](x), x)


def test_weights_come_back_as_they_were_up_to_fp16(slim, weights):
    loaded = load_model(weights)
    assert not loaded.training
    for name, tensor in slim.state_dict().items():
        expected = tensor.half().float() if tensor.ndim > 1 else tensor
        assert torch.equal(loaded.state_dict()[name], expected), name
        assert loaded.state_dict()[name].dtype == tensor.dtype


def test_batch_norm_statistics_outside_the_range_of_fp16_survive(tmp_path):
    model = create_model("resnet50-slim", 10)
    model.bn1.running_var.fill_(1e6)
    model.bn1.running_mean.fill_(1e-9)
    loaded = load_model(save_weights(model, tmp_path / "w.safetensors", {}))
    assert torch.equal(loaded.bn1.running_var, model.bn1.running_var)
    assert torch.equal(loaded.bn1.running_mean, model.bn1.running_mean)


def test_the_file_records_what_is_known_about_the_weights(weights):
    assert read_metadata(weights) == {"arch": "resnet50-slim", "top1": 97}


def test_a_state_dict_of_either_architecture_is_recognised(slim, tmp_path):
    torch.save(slim.state_dict(), tmp_path / "slim.pt")
    assert load_model(tmp_path / "slim.pt").conv1.out_channels == 16
    torch.save(resnet50(num_classes=3).state_dict(), tmp_path / "full.pth")
    assert load_model(tmp_path / "full.pth", num_classes=3).fc.out_features == 3


def test_the_shipped_weights_are_small_half_precision_and_know_where_they_are_from():
    path = shipped_weights("digits/resnet50-slim.safetensors")
    assert path.stat().st_size <= 5_000_000
    assert load_model(path, num_classes=10).fc.out_features == 10
    assert load_file(path)["conv1.weight"].dtype == torch.float16
    facts = read_metadata(path)
    assert facts["arch"] == "resnet50-slim"
    assert facts["workload"] == "digits"
    assert facts["recipe"]["steps"] > 0


def test_the_shipped_weights_are_found_in_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "trtlab"
    (package / "_datasets" / "digits").mkdir(parents=True)
    monkeypatch.setattr(models, "__file__", str(package / "models.py"))
    assert shipped_weights("digits/w") == package / "_datasets" / "digits" / "w"


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ModelError, match=r"'resnet18'.*resnet50, resnet50-slim"):
        create_model("resnet18", 10)


def test_a_missing_file_is_refused(tmp_path):
    for name in ("none.safetensors", "none.pt"):
        with pytest.raises(ModelError, match="no weights file"):
            load_model(tmp_path / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(slim, tmp_path, suffix, share):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(slim.state_dict(), path)
    else:
        save_weights(slim, path, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"empty|truncated|no PyTorch file"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_another_kind_is_refused(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text("this is a text, and no tensors are in it")
    with pytest.raises(ModelError, match=r"not a safetensors file|no PyTorch file"):
        load_model(path)


def test_a_pickled_model_is_refused_and_not_run(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="Save the state dict"):
        load_model(tmp_path / "model.pt")


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="no state dict but list"):
        load_model(tmp_path / "list.pt")


def test_weights_of_another_model_are_refused(tmp_path):
    save_file({"features.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"begin with features\.weight"):
        load_model(tmp_path / "other.safetensors")


def test_missing_and_misshapen_tensors_are_named(slim, tmp_path):
    state = dict(slim.state_dict())
    state["bn1.weight"] = torch.ones(3)
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"(?s)layer1\.0\.conv1\.weight.*bn1\.weight"):
        load_model(tmp_path / "w.pt")


def test_another_number_of_classes_is_refused(weights):
    with pytest.raises(ModelError, match="tells 10 classes apart, but 1000 are needed"):
        load_model(weights, num_classes=1000)


def test_weights_that_cannot_be_written_leave_nothing_behind(slim, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError):
        save_weights(slim, tmp_path / "taken", {})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_without_a_network_the_imagenet_weights_say_where_to_put_them(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ModelError) as caught:
        imagenet_resnet50()
    assert str(tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth") in str(caught.value)
    assert "'digits'" in str(caught.value)
