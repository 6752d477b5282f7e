"""How many times faster an engine answers than PyTorch in strict FP32, host to host."""

from pathlib import Path

from trtlab.backend import IS_EMULATED
from trtlab.benchmark import compare_paired, random_inputs, rotating
from trtlab.infer import TensorRTInference
from trtlab.lab.artifacts import reference_model
from trtlab.results import PairedComparison
from trtlab.torch_infer import torch_predictor

PAIRS, WARMUP, MAX_SECONDS = 200, 20, 20.0


def speedup_over_pytorch(engine_path: str | Path, batch_size: int) -> PairedComparison | None:
    """Compare an engine with the course's PyTorch model on the same GPU, call by call in turn.

    The stopwatch runs from a NumPy array to a NumPy array, on both sides.

    Returns: the speed-up with its interval; None on the emulation, whose times say nothing.

    Raises:
        EngineError: if the engine cannot be loaded here.
        InputError: if its profile does not take the batch.
    """
    if IS_EMULATED:
        return None
    workload, model = reference_model()
    inputs = random_inputs(workload.input_shape, batch_size, seed=0)
    with torch_predictor(model, "cuda") as pytorch, TensorRTInference(engine_path) as engine:
        return compare_paired(
            rotating(pytorch, inputs),
            rotating(engine, inputs),
            PAIRS,
            WARMUP,
            max_seconds=MAX_SECONDS,
        )
