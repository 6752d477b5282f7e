"""Top-1 of the engines and of PyTorch FP32 on the same fresh images, and the change from it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speed.rig import STANDARD, Rig
from trtlab.accuracy import Predict, accuracy_change, accuracy_stats, count_hits
from trtlab.data import normalise
from trtlab.digits import DigitsDataset
from trtlab.infer import TensorRTInference
from trtlab.progress import track
from trtlab.spec import Precision
from trtlab.torch_infer import torch_predictor

IMAGES = (20_000, 64)  # at full length, and where only the scripts are tried
SEED = 5  # of nothing that was trained, calibrated or tuned on
BASELINE = "pytorch-fp32"


def measure(rig: Rig) -> dict[str, Any]:
    """Return each runner's accuracy and, but for the baseline, its change in points."""
    device = "cpu" if rig.emulated else "cuda"
    images = rig.validation(rig.count(*IMAGES), SEED)
    with ExitStack() as stack:
        predicts: dict[str, Predict] = {
            BASELINE: stack.enter_context(torch_predictor(rig.model(), device))
        }
        for precision in (Precision.FP32, Precision.FP16, Precision.INT8):
            path = rig.engine(precision, STANDARD)
            runner = stack.enter_context(TensorRTInference(path))
            predicts[f"tensorrt-{precision.value}"] = runner.infer
        hits = count_hits(predicts, drawn_batches(images, STANDARD.max, device))
    changes = {
        name: accuracy_change(hits[BASELINE], found)
        for name, found in hits.items()
        if name != BASELINE
    }
    return {
        "seed": SEED,
        "drawn_on": device,
        "accuracy": {name: accuracy_stats(found).model_dump() for name, found in hits.items()},
        "change": {name: change.model_dump() for name, change in changes.items()},
    }


def drawn_batches(
    dataset: DigitsDataset, batch: int, device: str
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Draw a data set on `device` and yield host arrays; a GPU draws far faster than any loader.

    Pixels differ from the CPU's by a level of rounding at most; see DigitsDataset.draw. All runners
    see the same ones.
    """
    for start in track(range(0, len(dataset), batch), "accuracy"):
        chosen = range(start, min(start + batch, len(dataset)))
        pictures, labels = dataset.draw(chosen, device)
        yield normalise(pictures).cpu().numpy(), labels.cpu().numpy()
