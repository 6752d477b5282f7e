"""Evidence of lab 5: what the measuring functions reported, beside what was there to measure."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trtlab.checks.evidence import Evidence

Statistic = Literal["mean_ms", "median_ms", "std_ms", "p95_ms", "p99_ms"]
"""The keys of what `benchmark_latency` returns."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TimedCall(_Facts):
    """One call of the asynchronous model.

    Attributes:
        work_ms: how long its work took.
        waited: whether the device was synchronised before the next call.
        queued: whether earlier work was still under way when it was made.
        given_input: whether it got the very input that the function was given.
        at_most_ms: what a stopwatch around it may show, if the function did nothing else: as long
            as the device heard nothing between the end of the work before and the next call. On a
            busy machine that is more than the work. 0 where it does not excuse more.
    """

    work_ms: float
    waited: bool
    queued: bool
    given_input: bool
    at_most_ms: float = 0.0


class LatencyEvidence(Evidence):
    """One use of `benchmark_latency` on an asynchronous model.

    Attributes:
        warmup, iterations: as the function was asked.
        calls: every call that it made, in order.
        reported: the finite numbers that it returned, by key.
        complaint: what is wrong with the form of what it returned; "" if nothing.
    """

    warmup: int = 0
    iterations: int = 0
    calls: tuple[TimedCall, ...] = ()
    reported: dict[Statistic, float] = Field(default_factory=dict)
    complaint: str = ""


class ThroughputRun(_Facts):
    """One use of `benchmark_throughput` on an asynchronous model.

    Attributes:
        batch_size, duration_s: as the function was asked.
        images_per_call: first dimension of the inputs; None where they had none.
        calls: how many it made.
        unfinished: how many of them nothing waited for.
        busy_s: time that the model worked.
        span_s: from the first call until its work was done.
        elapsed_s: from the first call until the function returned.
        inputs: how many different arrays it passed.
        reported: the number that it returned, or None.
        stopped: whether it had to be stopped.
    """

    batch_size: int
    duration_s: float
    images_per_call: int | None = None
    calls: int = 0
    unfinished: int = 0
    busy_s: float = 0.0
    span_s: float = 0.0
    elapsed_s: float = 0.0
    inputs: int = 0
    reported: float | None = None
    stopped: bool = False


class ThroughputEvidence(Evidence):
    """Uses of `benchmark_throughput` at several batch sizes."""

    runs: tuple[ThroughputRun, ...] = ()


class ScoredRun(_Facts):
    """One use of `evaluate_accuracy` on a classifier whose logits are known.

    Attributes:
        logits: (images, classes), of every image that the loader holds.
        labels: (images,).
        batch_sizes: of the loader; they add up to the images.
        num_samples: as the function was asked.
        reported: (top1, top5), or None.
        problem: what was raised or returned instead; "" if nothing.
    """

    logits: list[list[float]]
    labels: list[int]
    batch_sizes: list[int]
    num_samples: int
    reported: tuple[float, float] | None = None
    problem: str = ""


class ScoreEvidence(Evidence):
    """Uses of `evaluate_accuracy`.

    Attributes:
        square: as many images in every batch as there are classes.
        uneven: batches of different sizes, the last one that counts only in part.
        calls_in_train_mode: calls of a module that was handed over in train mode.
        module_problem: what was raised on that module; "" if nothing.
    """

    square: ScoredRun | None = None
    uneven: ScoredRun | None = None
    calls_in_train_mode: int = 0
    module_problem: str = ""


class AccuracyLossEvidence(Evidence):
    """An engine against PyTorch FP32 on the same images, which neither has seen before.

    Attributes:
        provided: whether the engine is a provided one instead of the student's.
        images: how many.
        baseline_top1, top1: in percent.
        loss, loss_low, loss_high: points of top-1 lost, with their 95 % interval.
        gained, lost: images that only the engine, or only PyTorch, gets right.
        problem: why the engine could not be measured; "" if it could.
    """

    provided: bool = False
    images: int = 0
    baseline_top1: float = 0.0
    top1: float = 0.0
    loss: float = 0.0
    loss_low: float = 0.0
    loss_high: float = 0.0
    gained: int = 0
    lost: int = 0
    problem: str = ""
