"""Exports a model without folding anything, so that lab 1 has a graph with something to simplify.

For real exports use trtlab.export, which folds.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from trtlab.export import DEFAULT_OPSET
from trtlab.files import atomic_path


def export_unfolded(
    model: nn.Module, path: str | Path, input_shape: Sequence[int] = (3, 224, 224)
) -> Path:
    """Export a model in eval mode with a dynamic batch, node by node as it was written.

    Args:
        model: of one input (N, *input_shape) float32 and one output.
        path: where to write.
        input_shape: of one sample, without the batch.
    """
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    example = torch.randn(2, *input_shape, device=device)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Both announce the exporter's successor; the last says that folding is recommended.
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based ONNX")
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        torch.onnx.export(
            model,
            (example,),
            temporary,
            dynamo=False,
            opset_version=DEFAULT_OPSET,
            do_constant_folding=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
    return Path(path)
