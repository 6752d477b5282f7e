"""The course's expected results as targets, and whether a benchmark run meets them.

This is what a student's report shows. Grades are decided elsewhere, from the grader's own
measurements and its rubric.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trtlab.results import Results, RunnerResult, TargetVerdict, Verdict
from trtlab.thresholds import THRESHOLDS


@dataclass(frozen=True)
class Target:
    """What the TensorRT engine of one precision is expected to reach.

    `required` is a factor for "speed-up" and "size reduction" (at least), and percentage points of
    top-1 for "accuracy loss" (at most).
    """

    precision: str
    quantity: Literal["speed-up", "accuracy loss", "size reduction"]
    required: float

    @property
    def at_most(self) -> bool:
        """Whether `required` is an upper bound."""
        return self.quantity == "accuracy loss"


TARGETS = (
    Target("fp16", "speed-up", THRESHOLDS.fp16_speedup),
    Target("int8", "speed-up", THRESHOLDS.int8_speedup),
    Target("fp16", "accuracy loss", THRESHOLDS.fp16_accuracy_loss),
    Target("int8", "accuracy loss", THRESHOLDS.int8_accuracy_loss),
    Target("fp16", "size reduction", THRESHOLDS.fp16_size_ratio),
    Target("int8", "size reduction", THRESHOLDS.int8_size_ratio),
)
"""The course's targets; the numbers and their sources are in thresholds.py."""


def target_for(precision: str, quantity: str) -> Target | None:
    """Return the target of a precision for a quantity, or None if the course sets none."""
    return next((t for t in TARGETS if (t.precision, t.quantity) == (precision, quantity)), None)


def judged_batch(results: Results) -> int:
    """Return the batch size at which speed is judged: the smallest, 1 in the course."""
    return min(results.settings.batch_sizes)


def judge(results: Results) -> list[TargetVerdict]:
    """Hold every TensorRT runner against the course's targets.

    A speed-up is judged against each PyTorch baseline on its own: over strict FP32 it is a
    different number than over PyTorch's default, which runs convolutions in TF32.
    """
    return [
        verdict
        for runner in results.runners
        if runner.kind == "tensorrt"
        for target in TARGETS
        if target.precision == runner.precision
        for verdict in _JUDGES[target.quantity](results, runner, target)
    ]


def _judge_speedup(
    results: Results, runner: RunnerResult, target: Target
) -> Iterator[TargetVerdict]:
    batch_size = judged_batch(results)
    for baseline in (r.name for r in results.runners if r.kind == "pytorch"):
        about = _Case(runner.name, target, baseline, batch_size)
        measured = results.speedup(runner.name, baseline, batch_size)
        if results.emulated:
            yield about.verdict("not applicable", "not measured: emulated")
        elif measured is None:
            yield about.verdict("not applicable", f"not measured at batch {batch_size}")
        else:
            yield about.decide(measured.speedup, measured.low, measured.high, "measure more pairs")


def _judge_accuracy(
    results: Results, runner: RunnerResult, target: Target
) -> Iterator[TargetVerdict]:
    about = _Case(runner.name, target, results.settings.baseline)
    change = runner.accuracy_change
    if change is None:
        yield about.verdict("not applicable", "accuracy was not measured")
        return
    yield about.decide(
        0.0 - change.points,  # unary minus would make a negative zero
        -change.high,
        -change.low,
        f"{change.images:,} images leave it open; measure more",
    )


def _judge_size(results: Results, runner: RunnerResult, target: Target) -> Iterator[TargetVerdict]:
    baseline = results.runner(results.settings.baseline)
    about = _Case(runner.name, target, results.settings.baseline)
    if results.emulated:
        yield about.verdict("not applicable", "emulated plan, not an engine")
    elif baseline is None or not baseline.sizes.weights or not runner.sizes.engine:
        yield about.verdict("not applicable", "the sizes are not known")
    else:
        ratio = baseline.sizes.weights / runner.sizes.engine
        yield about.decide(ratio, ratio, ratio, "")


_JUDGES = {
    "speed-up": _judge_speedup,
    "accuracy loss": _judge_accuracy,
    "size reduction": _judge_size,
}


@dataclass(frozen=True)
class _Case:
    """One runner before one target."""

    runner: str
    target: Target
    against: str
    batch_size: int | None = None

    def decide(self, measured: float, low: float, high: float, remedy: str) -> TargetVerdict:
        """Pass or fail if the whole interval lies on one side of the target, else inconclusive."""
        required = self.target.required
        met, missed = (
            (high <= required, low > required)
            if self.target.at_most
            else (low >= required, high < required)
        )
        values = {"measured": measured, "low": low, "high": high}
        if met:
            return self.verdict("pass", "", **values)
        if missed:
            return self.verdict("fail", "", **values)
        return self.verdict("inconclusive", remedy, **values)

    def verdict(self, verdict: Verdict, reason: str, **values: float) -> TargetVerdict:
        return TargetVerdict(
            runner=self.runner,
            quantity=self.target.quantity,
            against=self.against,
            batch_size=self.batch_size,
            required=self.target.required,
            verdict=verdict,
            reason=reason,
            **values,
        )
