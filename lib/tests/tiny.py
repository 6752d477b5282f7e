"""A convolutional network small enough to export, build and run in milliseconds."""

from pathlib import Path

import torch
from torch import nn

from trtlab.build import BuildSpec, Precision, ShapeProfile
from trtlab.export import export_onnx

SHAPE = (3, 8, 8)
PROFILE = ShapeProfile(min=1, opt=2, max=4)
LAYERS = [
    "/conv1/Conv",
    "/relu1/Relu",
    "/conv2/Conv",
    "/relu2/Relu",
    "/flatten/Flatten",
    "/fc/Gemm",
]
"""Names of the ONNX nodes, in order."""


def tiny_cnn(seed: int = 0) -> nn.Module:
    """Return a model (N, 3, 8, 8) -> (N, 5) in eval mode."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 4, 3, padding=1))
    model.add_module("relu1", nn.ReLU())
    model.add_module("conv2", nn.Conv2d(4, 4, 3, padding=1))
    model.add_module("relu2", nn.ReLU())
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(4 * 8 * 8, 5))
    return model.eval()


def export_tiny(folder: Path, *, batch_size: int = 2, dynamic_batch: bool = True) -> Path:
    """Export the model to `folder`/tiny.onnx."""
    return export_onnx(
        tiny_cnn(),
        folder / "tiny.onnx",
        input_shape=SHAPE,
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
    )


def tiny_spec(precision: str = "fp16", **changes: object) -> BuildSpec:
    """Return a spec for batches 1 to 4."""
    fields = {"precision": Precision(precision), "profiles": (PROFILE,), "workspace_mib": 64}
    return BuildSpec.model_validate({**fields, **changes})
