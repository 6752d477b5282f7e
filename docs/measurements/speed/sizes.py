"""Bytes of the model in each form, and how many times smaller than the FP32 engine each is."""

from typing import Any

from speed.rig import STANDARD, Rig
from trtlab.spec import Precision


def measure(rig: Rig) -> dict[str, Any]:
    """Return the bytes of weights, ONNX file and engine files, and the FP32 engine's share of each.

    The weights are the parameters and buffers as PyTorch holds them.
    """
    model = rig.model()
    sizes = {
        "weights": sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
        "onnx": rig.onnx().stat().st_size,
    }
    for precision in (Precision.FP32, Precision.FP16, Precision.INT8):
        sizes[precision.value] = rig.engine(precision, STANDARD).stat().st_size
    return {
        "bytes": sizes,
        "times_smaller_than_fp32_engine": {
            form: sizes[Precision.FP32.value] / size for form, size in sizes.items()
        },
    }
