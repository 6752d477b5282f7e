"""How many times faster an engine answers than PyTorch in strict FP32, host to host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trtlab.backend import IS_EMULATED
from trtlab.benchmark import compare_paired, random_inputs, rotating
from trtlab.infer import TensorRTInference
from trtlab.lab.artifacts import reference_model
from trtlab.results import PairedComparison
from trtlab.torch_infer import torch_predictor

PAIRS, WARMUP, MAX_SECONDS = 200, 20, 20.0


@contextmanager
def contestants(
    engine_path: str | Path, batch_size: int, seed: int = 0
) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Yield PyTorch's call and the engine's, each from a NumPy array to a NumPy array.

    Each call takes the next of several random batches, so that no answer can be kept.

    Raises:
        EngineError: if the engine cannot be loaded here.
        InputError: if its profile does not take the batch.
    """
    workload, model = reference_model()
    inputs = random_inputs(workload.input_shape, batch_size, seed)
    with torch_predictor(model, "cuda") as pytorch, TensorRTInference(engine_path) as engine:
        yield rotating(pytorch, inputs), rotating(engine, inputs)


def speedup_over_pytorch(engine_path: str | Path, batch_size: int) -> PairedComparison | None:
    """Compare an engine with the course's PyTorch model on the same GPU, call by call in turn.

    Returns: the speed-up with its interval; None on the emulation, whose times say nothing.

    Raises:
        EngineError, InputError: as `contestants` does.
    """
    if IS_EMULATED:
        return None
    with contestants(engine_path, batch_size) as (pytorch, engine):
        return compare_paired(pytorch, engine, PAIRS, WARMUP, max_seconds=MAX_SECONDS)
