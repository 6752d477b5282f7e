"""Checks 5.3 to 5.5: is accuracy counted well, and does it survive FP16 and INT8?"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.checks.evidence5 import AccuracyLossEvidence, ScoredRun, ScoreEvidence
from trtlab.checks.findings import expect, expect_interval
from trtlab.checks.misconceptions5 import (
    BATCH_AVERAGES,
    BOTTOM_FIVE,
    FRACTION_FOR_PERCENT,
    NOT_ROUNDING,
    RANGES_DO_NOT_FIT,
    SAMPLES_IGNORED,
    TRAIN_MODE,
    WRONG_AXIS,
)
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.stats import Z95
from trtlab.thresholds import THRESHOLDS

TOLERANCE = 0.06  # percent: a figure rounded to one decimal is fine
Scores = tuple[float, float]


def _hits(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return (N, 2) booleans: right at top-1, right within the best five."""
    right = np.argsort(-logits, axis=1)[:, :5] == labels[:, None]
    return np.stack([right[:, 0], right.any(axis=1)], axis=1)


def _percent(hits: NDArray[np.bool_]) -> Scores:
    top1, top5 = 100 * hits.mean(axis=0)
    return float(top1), float(top5)


class _Truth:
    """The right scores of a run, and those that the known mistakes give."""

    def __init__(self, run: ScoredRun) -> None:
        self.run = run
        self.logits, self.labels = np.array(run.logits), np.array(run.labels)
        self.hits = _hits(self.logits, self.labels)
        self.exact = _percent(self.hits[: run.num_samples])

    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.run.batch_sizes)

    def overshot(self) -> list[Scores]:
        """Scores over the whole last batch, and over the whole loader."""
        ends = self._ends()
        whole = int(ends[np.searchsorted(ends, self.run.num_samples)])
        return [_percent(self.hits[:whole]), _percent(self.hits)]

    def averaged(self) -> list[Scores]:
        """Averages of the batches' scores, with the last batch cut or whole."""
        ends = self._ends()
        used = int(np.searchsorted(ends, self.run.num_samples)) + 1
        cut = np.split(self.hits[: self.run.num_samples], ends[: used - 1])
        whole = np.split(self.hits, ends[:-1])[:used]
        return [_mean([_percent(part) for part in parts]) for parts in (cut, whole)]

    def along_the_batch(self) -> Scores:
        """Scores with classes and images mixed up, for batches of as many images as classes."""
        size = self.logits.shape[1]
        parts = []
        for start in range(0, len(self.labels), size):
            logits, labels = self.logits[start : start + size], self.labels[start : start + size]
            order = np.argsort(-logits, axis=0)  # (N, classes)
            right = order[:5] == labels
            parts.append(np.stack([order[0] == labels, right.any(axis=0)], axis=1))
        return _percent(np.concatenate(parts))

    def bottom_five(self) -> float:
        """Top-5 with the five worst classes in place of the best."""
        worst = np.argsort(self.logits, axis=1)[: self.run.num_samples, :5]
        return float(100 * (worst == self.labels[: self.run.num_samples, None]).any(axis=1).mean())


def _mean(scores: list[Scores]) -> Scores:
    top1, top5 = np.mean(scores, axis=0)
    return float(top1), float(top5)


def _near(reported: float, true: float) -> bool:
    return abs(reported - true) <= TOLERANCE


def tells_mistakes_apart(square: ScoredRun, uneven: ScoredRun) -> bool:
    """Return whether right scores of two runs differ from those that the known mistakes give."""
    even, odd = _Truth(square), _Truth(uneven)
    confusable = [
        (even.exact[1], even.bottom_five()),
        (even.along_the_batch()[1], even.bottom_five()),
        *zip(even.exact, even.along_the_batch(), strict=True),
        *((odd.exact[0], score[0]) for score in odd.overshot()),
    ]
    for averaged in odd.averaged():
        for right in (odd.exact, *odd.overshot()):
            confusable += zip(averaged, right, strict=True)
    return not any(_near(one, other) for one, other in confusable)


def measures(run: ScoredRun) -> bool:
    """Return whether the top-1 reported of a run is the right one, or a known mistake's.

    Anything else was not measured, and a constant least of all.
    """
    if run.reported is None:
        return False
    truth = _Truth(run)
    known = [truth.exact, truth.along_the_batch(), *truth.overshot(), *truth.averaged()]
    reported = run.reported[0]
    return any(_near(scale * reported, score[0]) for score in known for scale in (1, 100))


@check("5.3")
def scores(evidence: ScoreEvidence) -> list[Finding]:
    """Judge an accuracy function by what it reported of a classifier that is known."""
    assert evidence.square is not None
    assert evidence.uneven is not None
    truth = {"square": _Truth(evidence.square), "uneven": _Truth(evidence.uneven)}
    return [
        _score("top-1", 0, 0.4, truth),
        _score("top-5", 1, 0.3, truth),
        _samples(truth["uneven"]),
        _mode(evidence),
    ]


def _score(name: str, which: int, points: float, truths: dict[str, _Truth]) -> Finding:
    wrong = next((t for t in truths.values() if not _score_holds(t, which)), None)
    shown = wrong or truths["uneven"]
    run = shown.run
    measured = run.problem or f"{run.reported[which]:.4g}"  # type: ignore[index]
    cause = _score_mistake(truths, wrong, which) if wrong else None
    return expect(
        f"{name}, in percent",
        wrong is None,
        points,
        measured=f"{measured} on {run.num_samples} images in batches of "
        + ", ".join(map(str, run.batch_sizes)),
        required=f"{shown.exact[which]:.4g}",
        misconception=cause,
        next_step="Count the images that are right over all batches, and divide once, at the end. "
        "The classes are along axis 1.",
    )


def _score_holds(truth: _Truth, which: int) -> bool:
    reported = truth.run.reported
    # Where an evaluation ends is judged on its own.
    right = [truth.exact, *truth.overshot()]
    return reported is not None and any(_near(reported[which], score[which]) for score in right)


def _score_mistake(truths: dict[str, _Truth], wrong: _Truth, which: int) -> str | None:
    """Name the mistake behind a wrong score, if it is a known one."""
    square, reported = truths["square"], wrong.run.reported
    in_square = square.run.reported
    # On uneven batches this mistake raises, so it is recognised on the square ones.
    if in_square is not None and not _score_holds(square, which):
        if _near(in_square[which], square.along_the_batch()[which]):
            return WRONG_AXIS
        if which == 1 and _near(in_square[1], square.bottom_five()):
            return BOTTOM_FIVE
    if reported is None:
        return None
    if _near(100 * reported[which], wrong.exact[which]):
        return FRACTION_FOR_PERCENT
    if any(_near(reported[which], score[which]) for score in wrong.averaged()):
        return BATCH_AVERAGES
    return None


def _samples(truth: _Truth) -> Finding:
    run = truth.run
    overshot = run.reported is not None and any(
        _near(run.reported[0], score[0]) for score in truth.overshot()
    )
    return expect(
        "exactly num_samples images count",
        run.reported is not None and not overshot,
        0.2,
        measured=run.problem
        or ("more images were counted" if overshot else f"{run.num_samples} images"),
        required=f"the first {run.num_samples} of {len(run.labels)} images",
        misconception=SAMPLES_IGNORED if overshot else None,
        next_step="Cut the batch in which the limit is reached, and stop after it.",
    )


def _mode(evidence: ScoreEvidence) -> Finding:
    calls = evidence.calls_in_train_mode
    return expect(
        "a module is evaluated in eval mode",
        not calls and not evidence.module_problem,
        0.1,
        measured=evidence.module_problem or f"{calls} calls in train mode",
        required="none",
        misconception=TRAIN_MODE if calls else None,
        next_step="If the model is a `torch.nn.Module`, put it into eval mode before the loop.",
    )


@check("5.4")
def fp16_loss(evidence: AccuracyLossEvidence) -> list[Finding]:
    """Judge what the FP16 engine loses against PyTorch FP32."""
    return _loss(
        evidence,
        limit=THRESHOLDS.fp16_accuracy_loss,
        points=6,
        misconception=NOT_ROUNDING,
        next_step="Compare the ONNX file that the engine was built from with PyTorch (lab 1), then "
        "build the engine from it again.",
    )


@check("5.5")
def int8_loss(evidence: AccuracyLossEvidence) -> list[Finding]:
    """Judge what the INT8 engine loses against PyTorch FP32."""
    return _loss(
        evidence,
        limit=THRESHOLDS.int8_accuracy_loss,
        points=9,
        misconception=RANGES_DO_NOT_FIT,
        next_step="In lab 3, look at what the calibrator was fed: images of the calibration split, "
        "preprocessed as for inference, a few hundred of them. Delete the cache, then build again.",
    )


def _loss(
    evidence: AccuracyLossEvidence, *, limit: float, points: int, misconception: str, next_step: str
) -> list[Finding]:
    whose = "the provided engine" if evidence.provided else "your engine"
    runs = expect(
        f"{whose} classifies the validation images",
        not evidence.problem,
        1,
        measured=evidence.problem
        or f"top-1 {evidence.top1:.2f} % on {evidence.images:,} images; PyTorch "
        f"{evidence.baseline_top1:.2f} %",
        required="one row of finite logits for every image",
        next_step="Build the engine again in its own lab, with the profile 1 / 8 / 32.",
    )
    criterion = "top-1 lost against PyTorch FP32"
    if evidence.problem:
        return [
            runs,
            expect(
                criterion,
                False,
                points - 1,
                measured="not measured",
                required=f"at most {limit:g} points",
                next_step="First make the engine run.",
            ),
        ]
    lost = expect_interval(
        criterion,
        points - 1,
        value=evidence.loss,
        low=evidence.loss_low,
        high=evidence.loss_high,
        at_most=limit,
        unit=" points",
        misconception=misconception,
        next_step=next_step,
    )
    if lost.state == "inconclusive":
        lost = lost.model_copy(update={"next_step": _too_few_images(evidence, limit)})
    return [runs, lost]


def _too_few_images(evidence: AccuracyLossEvidence, limit: float) -> str:
    """Say why an interval is as wide as it is.

    Where two runners agree on all of n images, Tango's interval reaches z^2 / n: 3.84 / n.
    """
    return (
        f"Nothing to do: you get the points. On {evidence.images:,} images the engine gained "
        f"{evidence.gained} and lost {evidence.lost}, and that few images cannot tell {limit:g} "
        f"points from nothing. Even if both always agreed, it would take about "
        f"{_images_needed(limit):,} to be sure."
    )


def _images_needed(limit: float) -> int:
    """Return, in hundreds, how many images must agree for the interval to end at `limit`."""
    return 100 * math.ceil(Z95**2 / limit)
