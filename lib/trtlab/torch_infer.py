"""TorchPredictor: PyTorch inference with the same contract as TensorRTInference.

A NumPy array in, a NumPy array out, and strict FP32 or TF32 said out loud instead of inherited.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from trtlab.errors import InferenceError


@contextmanager
def tf32_set_to(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions and matrix products inside the block.

    PyTorch's own default is mixed: allowed in convolutions, forbidden in matrix products.
    """
    convolutions = torch.backends.cudnn.allow_tf32
    matmuls = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = matmuls


class TorchPredictor:
    """A model on a device, called as `predict(images) -> logits` on host arrays.

    It holds its own copy of the model, so that the caller's stays where it is and two predictors
    share no memory. Use it as a context manager, or call close(), to free that copy.
    """

    def __init__(self, model: torch.nn.Module, device: str | torch.device, tf32: bool) -> None:
        self.device = torch.device(device)
        self.tf32 = tf32
        self._model: torch.nn.Module | None = copy.deepcopy(model).eval().to(self.device)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run (N, 3, H, W) float32 images; return (N, classes) float32 logits.

        Raises:
            InferenceError: if the predictor was closed.
        """
        if self._model is None:
            raise InferenceError("This TorchPredictor was closed; make a new one.")
        # from_numpy shares memory and needs it writable and contiguous; "W" copies where it is not.
        host = torch.from_numpy(np.require(images, np.float32, ["C", "W"]))
        with torch.inference_mode(), tf32_set_to(self.tf32):
            logits = self._model(host.to(self.device)).float()
            # The copy to the host waits for the device, so no work is left running behind it.
            return logits.cpu().numpy()

    def close(self) -> None:
        """Free the model and what PyTorch's caching allocator kept for it. May be called twice."""
        self._model = None
        torch.cuda.empty_cache()

    def __enter__(self) -> "TorchPredictor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def torch_predictor(
    model: torch.nn.Module, device: str | torch.device = "cpu", tf32: bool = False
) -> TorchPredictor:
    """Return a callable that runs a copy of `model` on `device`, in strict FP32 unless `tf32`."""
    return TorchPredictor(model, device, tf32)
