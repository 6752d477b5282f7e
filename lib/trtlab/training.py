"""The recipe that trains a workload's model, on a GPU in under a minute or slowly on the CPU.

It reproduces the shipped weights of the slim model, and trains the full ResNet-50 on the spot.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtlab.data import make_loader
from trtlab.errors import BackendError
from trtlab.models import save_weights
from trtlab.progress import progress_bar

if TYPE_CHECKING:
    from trtlab.workloads import Workload


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: AdamW with a one-cycle learning rate.

    The first half of the steps sees the pictures at half their size, which costs a quarter of the
    arithmetic and gets through the start, when the loss hardly falls.
    Sources: Smith and Topin, "Super-Convergence", 2018; for the sizes, Howard's entry to DAWNBench,
    2018 ("progressive resizing").
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.02
    seed: int = 0


RECIPES = {
    "resnet50": Recipe(steps=1500, batch_size=128, learning_rate=1e-3),
    "resnet50-slim": Recipe(steps=1500, batch_size=256, learning_rate=3e-3),
}
"""What each architecture is trained with unless told otherwise."""

VALIDATION_SEED = 1_000_003
"""Of the pictures that a freshly trained model is validated on."""


def default_device() -> str:
    """Return "cuda" where PyTorch can use a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def train_classifier(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    recipe: Recipe,
    device: str,
) -> nn.Module:
    """Train `model` in place for `recipe.steps` batches and return it in eval mode on the CPU.

    Args:
        model: maps (N, 3, H, W) float32 to logits (N, classes).
        batches: endless (images (N, 3, H, W) float32, labels (N,) int64), on any device.
        recipe: what to do.
        device: "cuda" or "cpu". On CUDA the arithmetic is BF16 under autocast, channels last.
    """
    # channels_last is missing from the stub that mypy reads
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, recipe.weight_decay), lr=recipe.learning_rate
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps
    )
    with progress_bar(f"training on {device}", recipe.steps) as advance:
        for step in range(recipe.steps):
            images, labels = next(batches)
            if step < recipe.steps // 2:
                images = F.avg_pool2d(images, 2)
            images = images.to(device, memory_format=torch.channels_last)  # (N, 3, H, W)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
                logits = model(images)  # (N, classes)
            loss = F.cross_entropy(logits.float(), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            advance(1)
    return model.cpu().eval()


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay kernels and matrices only; biases and batch-norm scales are left alone."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: str) -> float:
    """Return the top-1 in percent of `model`, moved to `device`, over (images, labels) batches."""
    model.to(device).eval()
    correct, total = 0, 0
    for images, labels in batches:
        predicted = model(images.to(device)).argmax(dim=1).cpu()  # (N,)
        correct += int((predicted == labels.cpu()).sum())
        total += len(labels)
    return 100 * correct / total


def train_workload_model(
    workload: "Workload",
    output: str | Path,
    *,
    device: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    validation_size: int | None = None,
) -> dict[str, Any]:
    """Train a workload's model, validate it, write it to `output` and return what was measured.

    Args:
        workload: gives the architecture, where training starts, and the pictures.
        output: the .safetensors file to write; the returned facts are its metadata.
        device: "cuda" or "cpu"; None takes the GPU if there is one.
        steps: how many batches; None takes the recipe's number.
        seed: of the initial weights and of the pictures.
        validation_size: how many pictures to validate on, none of which was trained on; None takes
            the workload's number.

    Raises:
        BackendError: if there is no such device.
        DataError: if the images cannot be had.
        ModelError: if ImageNet's weights are where training starts, and cannot be had.
        OutputError: if `output` cannot be written.
    """
    device = _require_device(device or default_device())
    recipe = replace(RECIPES[workload.arch], seed=seed)
    recipe = replace(recipe, steps=steps or recipe.steps)
    size = validation_size or workload.validation_size
    # Made before the training, so that what is wrong with the data shows before the work.
    validation = make_loader(workload.dataset("validation", size, VALIDATION_SEED), batch_size=100)
    batches = workload.training_batches(recipe.batch_size, seed, device)
    torch.manual_seed(seed)
    model = workload.initial_model()
    start = time.perf_counter()
    train_classifier(model, batches, recipe, device)
    seconds = time.perf_counter() - start
    facts = {
        "workload": workload.name,
        "arch": workload.arch,
        "classes": len(workload.classes),
        "recipe": asdict(recipe),
        "training_seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "top1": round(accuracy(model, validation, device), 2),
        "validation_images": len(validation.dataset),  # type: ignore[arg-type]
        "validation_seed": VALIDATION_SEED,
    }
    save_weights(model, output, facts)
    return facts


def _require_device(device: str) -> str:
    """Return `device`, or raise BackendError where it does not exist."""
    if device not in ("cuda", "cpu"):
        raise BackendError(f"There is no device {device!r}; train on 'cuda' or 'cpu'.")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("PyTorch finds no usable GPU here; train on 'cpu', which takes hours.")
    return device
