"""Which TensorRT is under our feet: `from trtlab.backend import trt, cuda`.

`trt` and `cuda` are NVIDIA's `tensorrt` and `pycuda.driver` where both are installed and a GPU
answers, else an emulation on the CPU with the same names. The environment variable
TRTLAB_BACKEND=tensorrt or TRTLAB_BACKEND=emulated overrides the choice.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from trtlab.backend.compat import require_supported
from trtlab.errors import BackendError

BADGE = "Emulated on the CPU: the numerics are real, the times are not GPU times"
"""What every plot, card and report of an emulated run carries."""


def _real() -> tuple[Any, Any]:
    """Import TensorRT and pycuda and make PyTorch's primary context current."""
    import tensorrt

    require_supported(tensorrt.__version__)
    # The primary context is the one PyTorch uses; pycuda.autoinit would make a second one, and
    # memory of one context is not addressable from the other.
    import pycuda.autoprimaryctx
    import pycuda.driver

    return tensorrt, pycuda.driver


def _emulated() -> tuple[Any, Any]:
    from trtlab.backend.emulated import cuda, tensorrt

    return tensorrt, cuda


def _select() -> tuple[str, Any, Any, str | None]:
    """Return NAME, `trt`, `cuda` and WHY_NOT_REAL."""
    wanted = os.environ.get("TRTLAB_BACKEND", "auto")
    if wanted not in ("auto", "tensorrt", "emulated"):
        raise BackendError(
            f"TRTLAB_BACKEND is {wanted!r}; it must be 'tensorrt', 'emulated' or unset."
        )
    why_not_real = None
    if wanted != "emulated":
        try:
            return ("tensorrt", *_real(), None)
        except BackendError:
            raise
        except Exception as error:  # pycuda raises its own types where no GPU answers
            if wanted == "tensorrt":
                raise BackendError(
                    f"TRTLAB_BACKEND=tensorrt, but TensorRT cannot be used here: {error}. "
                    "Install requirements-gpu.lock on a machine with an NVIDIA GPU, or unset the "
                    "variable to use the emulation."
                ) from error
            why_not_real = f"{type(error).__name__}: {error}"
    return ("emulated", *_emulated(), why_not_real)


NAME, trt, cuda, WHY_NOT_REAL = _select()
IS_EMULATED = NAME == "emulated"
"""`WHY_NOT_REAL` is the error that led to the emulation, None where nothing had to be given up."""


def device_context() -> AbstractContextManager[object]:
    """Make the CUDA context current in this thread; only the thread that imported pycuda has it."""
    return _CONTEXT


class _Current:
    """PyTorch's CUDA context, current inside the block. Not a generator: every call enters it."""

    def __init__(self) -> None:
        from pycuda.autoprimaryctx import context

        self._context = context

    def __enter__(self) -> None:
        self._context.push()

    def __exit__(self, *failure: object) -> None:
        self._context.pop()


_CONTEXT: AbstractContextManager[object] = nullcontext() if IS_EMULATED else _Current()

__all__ = ["BADGE", "IS_EMULATED", "NAME", "WHY_NOT_REAL", "cuda", "device_context", "trt"]
