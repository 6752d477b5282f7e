"""The model zoo: torchvision's ResNet-50, a slim one of the same topology, and their weight files.

Weights are kept as safetensors: matrices and kernels in FP16, everything of one dimension (biases
and batch-norm statistics, whose range FP16 does not cover) in FP32. Which weights belong to which
data set is workloads.py's.
"""

import json
import pickle
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.resnet import Bottleneck

from trtlab.errors import ModelError
from trtlab.files import atomic_path

_BLOCKS = (3, 4, 6, 3)  # bottlenecks per stage; 3 convolutions each, 4 shortcuts and a stem: 53
NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError)


class SlimResNet50(nn.Module):
    """ResNet-50 at a quarter of the width: the same 53 convolutions, a sixteenth of the work.

    Module names are torchvision's, so that layers are called the same in an engine of either.
    Source: He et al., "Deep Residual Learning for Image Recognition", 2016, table 1.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(16, 16, _BLOCKS[0], stride=1)
        self.layer2 = _stage(64, 32, _BLOCKS[1], stride=2)
        self.layer3 = _stage(128, 64, _BLOCKS[2], stride=2)
        self.layer4 = _stage(256, 128, _BLOCKS[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 16, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, 512, H/32, W/32)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Stack bottlenecks; the first one changes the resolution and the number of channels."""
    outputs = width * Bottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(outputs),
    )
    first = Bottleneck(inputs, width, stride=stride, downsample=shortcut)
    return nn.Sequential(first, *(Bottleneck(outputs, width) for _ in range(blocks - 1)))


def _full(num_classes: int) -> nn.Module:
    return resnet50(num_classes=num_classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet50": _full,
    "resnet50-slim": SlimResNet50,
}


def require_arch(arch: str) -> None:
    """Raise ModelError unless `arch` is one of ARCHITECTURES."""
    if arch not in ARCHITECTURES:
        raise ModelError(
            f"There is no architecture {arch!r}; there are {', '.join(ARCHITECTURES)}."
        )


def create_model(arch: str, num_classes: int) -> nn.Module:
    """Return an untrained model. Raises: ModelError if there is no such architecture."""
    require_arch(arch)
    return ARCHITECTURES[arch](num_classes)


def silence_residuals(model: nn.Module) -> None:
    """Start every bottleneck as the identity, with which a deep model learns from the first step.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.
    """
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def shipped_weights(name: str) -> Path:
    """Return a file of `datasets/`, such as "digits/resnet50-slim.safetensors".

    It lies in the package where trtlab was installed from a wheel, and at the root of the
    repository in a checkout.
    """
    package = Path(__file__).resolve().parent
    installed = package / "_datasets"
    return (installed if installed.is_dir() else package.parents[1] / "datasets") / name


def imagenet_resnet50() -> nn.Module:
    """Return torchvision's ResNet-50 with its IMAGENET1K_V2 weights, in eval mode.

    Raises:
        ModelError: if the weights are not in PyTorch's cache and cannot be downloaded.
    """
    weights = ResNet50_Weights.IMAGENET1K_V2
    try:
        return resnet50(weights=weights).eval()
    except (*NETWORK_ERRORS, RuntimeError) as error:  # RuntimeError: the hash does not match
        target = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise ModelError(
            f"ResNet-50's ImageNet weights could not be downloaded: {error}. Without a network, "
            f"fetch {weights.url} elsewhere and put it at {target}, or use the workload "
            "'digits', which needs no network."
        ) from error


def save_weights(model: nn.Module, path: str | Path, metadata: Mapping[str, Any]) -> Path:
    """Write the weights and what is known about them (JSON-able) as safetensors.

    Raises:
        OutputError: if the file cannot be written.
    """
    state = {
        name: (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"trtlab": json.dumps(dict(metadata))})
    return Path(path)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what `save_weights` recorded. Raises: ModelError as `load_model`."""
    return _read_safetensors(Path(path))[1]


def load_model(path: str | Path, *, num_classes: int | None = None) -> nn.Module:
    """Load a weights file into the architecture that it fits; FP32, eval mode, on the CPU.

    Args:
        path: a .safetensors file of `save_weights`, or a .pt or .pth file of
            `torch.save(model.state_dict(), path)`.
        num_classes: what the last layer must have; None takes what the file has.

    Raises:
        ModelError: if the file is missing, empty, truncated, of another kind, or its tensors do
            not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}.")
    if path.stat().st_size == 0:
        raise ModelError(f"The weights file {path} is empty; copy or train it again.")
    state = _read_safetensors(path)[0] if path.suffix == ".safetensors" else _read_pickle(path)
    stem, head = state.get("conv1.weight"), state.get("fc.weight")
    arch = {64: "resnet50", 16: "resnet50-slim"}.get(len(stem)) if stem is not None else None
    if arch is None or head is None:
        there = ", ".join(list(state)[:3]) or "nothing"
        raise ModelError(
            f"{path} holds no weights of {' or '.join(ARCHITECTURES)}: its tensors begin with "
            f"{there}, expected conv1.weight with 64 or 16 filters, and fc.weight."
        )
    if num_classes is not None and len(head) != num_classes:
        raise ModelError(
            f"{path} tells {len(head)} classes apart, but {num_classes} are needed. Train a model "
            "for this workload, or choose the workload that the file was trained for."
        )
    model = create_model(arch, len(head))
    try:
        # Copying into the model's own parameters turns FP16 back into FP32.
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"The tensors of {path} do not fit {arch}: {error}") from error
    return model.eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            recorded = (file.metadata() or {}).get("trtlab", "{}")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(recorded)  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"There is no weights file {path}.") from None
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"{path} is truncated or not a safetensors file: {error}. Copy or train it again."
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # weights_only: a pickle may run any code when it is loaded; tensors alone may not.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors, or is no PyTorch file. Save the state dict, not the "
            "model: torch.save(model.state_dict(), path)."
        ) from error
    except Exception as error:  # on damaged files PyTorch raises many unrelated types
        raise ModelError(
            f"{path} is truncated or no PyTorch file: {error}. Copy or save it again."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(
            f"{path} is no state dict but {type(state).__name__}; write it with "
            "torch.save(model.state_dict(), path)."
        )
    return state
