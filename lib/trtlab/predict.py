"""Class predictions for files on disk: what `trtlab infer` does."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from trtlab.errors import InputError
from trtlab.images import ImageSource
from trtlab.infer import TensorRTInference
from trtlab.progress import progress_bar
from trtlab.tensors import in_chunks, smallest_batch
from trtlab.workloads import Workload


class Guess(BaseModel):
    """One class and its softmax probability."""

    index: int
    label: str
    probability: float


class Prediction(BaseModel):
    """The likeliest classes of one input, best first; five, or all where there are fewer."""

    source: str
    top5: list[Guess]


def predict(
    engine: Path, source: Path, workload: Workload, batch_size: int | None = None
) -> list[Prediction]:
    """Classify an image, a folder of images or a .npy file of preprocessed inputs.

    Args:
        engine: engine file with one input and one output of logits (N, classes).
        source: see `images.ImageSource`.
        workload: gives preprocessing and class names.
        batch_size: images per call; None takes the profile's largest. Where fewer are left than
            the profile's smallest batch, it is filled up, and only their answers are returned.

    Raises:
        EngineError, DataError, InputError: the engine, the files or the batch size do not fit.
    """
    with TensorRTInference(engine) as model:
        inputs = ImageSource(source, workload.preprocess)
        smallest, size = smallest_batch(model.inputs, model.profile), batch_size or model.max_batch
        if not smallest <= size <= model.max_batch:
            raise InputError(
                f"The batch size is {size}, but the engine's profile takes {smallest} to "
                f"{model.max_batch}: use --batch-size {model.max_batch}, or rebuild with a profile "
                "that includes it."
            )
        infer = in_chunks(model.infer, smallest, size)
        predictions: list[Prediction] = []
        with progress_bar("inferring", len(inputs)) as advance:
            for start in range(0, len(inputs), size):
                batch = np.stack(inputs[start : start + size])  # (N, C, H, W)
                logits = infer(batch)  # (N, classes)
                names = inputs.names[start : start + size]
                predictions += [
                    Prediction(source=name, top5=_top5(row, workload.classes))
                    for name, row in zip(names, logits, strict=True)
                ]
                advance(len(batch))
    return predictions


def _top5(logits: NDArray[np.float32], classes: Sequence[str]) -> list[Guess]:
    """Return the five likeliest classes of one row of logits (classes,)."""
    if len(classes) != len(logits):
        raise InputError(
            f"The engine has {len(logits)} classes, the workload {len(classes)}: choose the "
            "--workload that the engine was built for."
        )
    exponentials = np.exp(logits - logits.max())
    probabilities = exponentials / exponentials.sum()
    return [
        Guess(index=int(i), label=classes[i], probability=float(probabilities[i]))
        for i in np.argsort(-probabilities, kind="stable")[:5]
    ]


def to_json(predictions: Sequence[Prediction]) -> str:
    """Return the predictions as JSON text, one object for each input."""
    return json.dumps([prediction.model_dump() for prediction in predictions], indent=2)
