"""What the card itself reaches: arithmetic in large matrix products, bandwidth in a large copy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from trtlab.benchmark import event_median_ms
from trtlab.roofline import measure_ceilings
from trtlab.torch_infer import tf32_set_to

SIZE = 8192  # of the square matrices
CALLS = 30


@dataclass(frozen=True)
class CardCeilings:
    """Operations (a multiplication and an addition are two) and bytes per second."""

    fp32_ops: float  # strict, without TF32
    fp16_ops: float
    int8_ops: float
    bytes_per_second: float  # reads and writes counted

    def ops(self, precision: str) -> float:
        """Return the arithmetic of "fp32", "fp16" or "int8"."""
        return {"fp32": self.fp32_ops, "fp16": self.fp16_ops, "int8": self.int8_ops}[precision]


def card_ceilings() -> CardCeilings:
    """Measure the ceilings; takes some seconds and 2 GiB of GPU memory."""
    known = measure_ceilings()
    found = CardCeilings(_fp32_ops(), known.fp16_flops, int8_ops(), known.bytes_per_second)
    torch.cuda.empty_cache()
    return found


def int8_ops() -> float:
    """Return INT8 operations per second; the second matrix lies by columns, as cuBLAS likes it."""
    a, b = (
        torch.randint(-128, 128, (SIZE, SIZE), dtype=torch.int8, device="cuda") for _ in range(2)
    )
    return _ops(lambda: torch._int_mm(a, b.t()))


def _fp32_ops() -> float:
    a, b = (torch.randn(SIZE, SIZE, device="cuda") for _ in range(2))
    with tf32_set_to(False):
        return _ops(lambda: torch.matmul(a, b))


def _ops(product: Callable[[], object]) -> float:
    for _ in range(3):
        product()
    return 2 * SIZE**3 / (event_median_ms(product, CALLS) / 1e3)
