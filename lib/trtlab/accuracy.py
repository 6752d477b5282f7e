"""Top-1 and top-5 of one runner, or of several on the same images, with their intervals."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab import stats
from trtlab.errors import DataError, InferenceError
from trtlab.results import AccuracyChange, AccuracyStats

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, 3, H, W) float32 -> (N, classes) logits. Returns only once they are on the host."""


@dataclass(frozen=True)
class Hits:
    """Per image, whether the label is the best class and whether it is among the best five."""

    top1: NDArray[np.bool_]  # (N,)
    top5: NDArray[np.bool_]  # (N,)


def measure_accuracy(
    predict: Predict, loader: Iterable[tuple[Any, Any]], limit: int | None = None
) -> AccuracyStats:
    """Return top-1 and top-5 of `predict` over the first `limit` images of `loader`, or all.

    Raises:
        DataError: if the loader holds no images.
        InferenceError: if the logits are not finite, or not one row per image.
    """
    return accuracy_stats(count_hits({"runner": predict}, loader, limit)["runner"])


def count_hits(
    predicts: Mapping[str, Predict], loader: Iterable[tuple[Any, Any]], limit: int | None = None
) -> dict[str, Hits]:
    """Run every one of `predicts` on the same images, read once from `loader`.

    Args:
        predicts: Name to runner.
        loader: Batches of (images (N, 3, H, W), labels (N,)), as tensors or arrays.
        limit: Images to use at most; None for all.

    Raises:
        DataError: if the loader holds no images.
        InferenceError: if a runner's logits are not finite, or not one row per image.
    """
    found: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in predicts}
    seen = 0
    for images, labels in loader:
        count = len(labels) if limit is None else min(len(labels), limit - seen)
        batch = np.ascontiguousarray(np.asarray(images)[:count], dtype=np.float32)
        truth = np.asarray(labels)[:count]  # (N,)
        for name, predict in predicts.items():
            found[name].append(_hits(name, predict(batch), truth))
        seen += count
        if seen == limit:
            break
    if seen == 0:
        raise DataError("There are no images to measure accuracy on: the loader is empty.")
    hits = {name: np.concatenate(parts) for name, parts in found.items()}  # (images, 2)
    return {name: Hits(top1=both[:, 0], top5=both[:, 1]) for name, both in hits.items()}


def _hits(
    name: str, logits: NDArray[np.float32], labels: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """Return (N, 2) booleans: top-1 right, top-5 right."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise InferenceError(
            f"{name} returned an array of shape {logits.shape} for {len(labels)} images; "
            "one row of class scores per image is expected."
        )
    # Every comparison with NaN is false, so it must not reach the ranking.
    if not np.isfinite(logits).all():
        raise InferenceError(
            f"{name} returned NaN or infinity. Look for an overflow in FP16 or INT8, or for an "
            "output that was read before it was written."
        )
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]  # (N, 5)
    right = best == labels[:, None]
    return np.stack([right[:, 0], right.any(axis=1)], axis=1)


def accuracy_stats(hits: Hits) -> AccuracyStats:
    """Return top-1 with its 95 % Wilson interval, and top-5, in percent."""
    low, high = stats.wilson_interval(int(hits.top1.sum()), len(hits.top1))
    return AccuracyStats(
        top1=100 * float(hits.top1.mean()),
        top5=100 * float(hits.top5.mean()),
        top1_low=100 * low,
        top1_high=100 * high,
        images=len(hits.top1),
    )


def accuracy_change(baseline: Hits, candidate: Hits) -> AccuracyChange:
    """Return how much better `candidate` is than `baseline` on the same images, in points."""
    gained = int((candidate.top1 & ~baseline.top1).sum())
    lost = int((baseline.top1 & ~candidate.top1).sum())
    images = len(baseline.top1)
    low, high = stats.tango_interval(gained, lost, images)
    return AccuracyChange(
        points=100 * (gained - lost) / images,
        low=100 * low,
        high=100 * high,
        gained=gained,
        lost=lost,
        p_value=stats.mcnemar_p(gained, lost),
        images=images,
    )
