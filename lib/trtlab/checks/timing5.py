"""Checks 5.1 and 5.2: is the stopwatch used well, for latency and for throughput?

The model that was timed is asynchronous and of known speed, so the right figures are known on any
machine; times of engines are not judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from trtlab.checks.evidence5 import (
    LatencyEvidence,
    Statistic,
    ThroughputEvidence,
    ThroughputRun,
    TimedCall,
)
from trtlab.checks.findings import expect
from trtlab.checks.misconceptions5 import (
    BATCH_IGNORED,
    CALLS_COUNTED,
    FRACTION,
    INPUT_TIMED,
    ITERATIONS_IGNORED,
    MEAN_FOR_MEDIAN,
    NO_SYNCHRONISE,
    NO_WARM_UP,
    PAST_DURATION,
    QUEUED_COUNTED,
    SECONDS,
    UNSORTED,
    WARM_UP_COUNTED,
    WARM_UP_RUNNING,
)
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.stats import percentile

STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
TOLERANCE_MS, TOLERANCE = 0.3, 0.08
"""A student's clock is read a little outside the model's own; Python may be interrupted between."""
RATE_TOLERANCE = 0.2
LONGEST, SHORTEST, GRACE_S = 1.5, 0.7, 0.3
"""Of the duration asked for. What is in the queue when the time is up may still finish."""


def _near(reported: float, true: float) -> bool:
    return abs(reported - true) <= TOLERANCE_MS + TOLERANCE * true


def _between(reported: float, low: float, high: float) -> bool:
    """Whether a figure lies between two true ones, or near one of them."""
    return low <= reported <= high or _near(reported, low) or _near(reported, high)


@dataclass(frozen=True)
class _Timed:
    """The calls that a function timed, and what it reported of them, in milliseconds."""

    calls: Sequence[TimedCall]
    reported: dict[Statistic, float]  # seconds already turned into milliseconds
    in_seconds: bool
    warm_up: int  # calls before the timed ones
    warm_up_counted: bool

    @property
    def times(self) -> np.ndarray:
        return np.array([call.work_ms for call in self.calls])

    @property
    def longest(self) -> np.ndarray:
        """What a stopwatch may have shown of each call where the machine was busy."""
        return np.array([max(call.work_ms, call.at_most_ms) for call in self.calls])


def _no_warm_up(evidence: LatencyEvidence) -> bool:
    made = len(evidence.calls)
    return made == evidence.iterations or made <= evidence.warmup


def _timed(evidence: LatencyEvidence) -> _Timed:
    """Find out which calls the statistics are of: all, or those after the warm-up."""
    calls = evidence.calls
    mean = evidence.reported["mean_ms"]
    after = calls if _no_warm_up(evidence) else calls[evidence.warmup :]
    means = {len(part): float(np.mean([c.work_ms for c in part])) for part in (after, calls)}
    # Without a synchronise, a mean of microseconds may look like one in seconds.
    waited = sum(call.waited for call in calls) >= len(calls) / 2
    in_seconds = waited and any(_near(1e3 * mean, true) for true in means.values())
    scale = 1e3 if in_seconds else 1.0
    # A first call that had to wait for the warm-up may lift the mean just as much, and so may time
    # that every call spends on something else; that leaves the standard deviation as it is.
    std = float(np.std([call.work_ms for call in calls]))
    counted = (
        len(after) < len(calls)
        and not after[0].queued
        and _near(scale * mean, means[len(calls)])
        and _near(scale * evidence.reported["std_ms"], std)
    )
    part = calls if counted else after
    return _Timed(
        calls=part,
        reported={key: scale * value for key, value in evidence.reported.items()},
        in_seconds=in_seconds,
        warm_up=len(calls) - len(part),
        warm_up_counted=counted,
    )


@check("5.1")
def latency(evidence: LatencyEvidence) -> list[Finding]:
    """Judge a latency benchmark by what it reported of a model that is known."""
    if evidence.complaint or not evidence.calls:
        return [
            expect(
                "statistics of timed calls are returned",
                False,
                2,
                measured=evidence.complaint or "the model was never called",
                required="a dict of " + ", ".join(STATISTICS),
                next_step="Call the model, and return a number under each of these keys.",
            )
        ]
    timed = _timed(evidence)
    return [
        _waits(evidence, timed),
        _warms_up(evidence, timed),
        _counts(evidence),
        _unit(evidence, timed),
        _centre(timed),
        _tail(timed),
    ]


def _waits(evidence: LatencyEvidence, timed: _Timed) -> Finding:
    waited = sum(call.waited for call in timed.calls)
    behind = timed.calls[0].queued
    measured = f"{waited} of {len(timed.calls)} timed calls were waited for"
    if behind:
        measured += "; the first started while earlier work was still running"
    return expect(
        "the clock runs exactly as long as the work",
        waited == len(timed.calls) and not behind,
        0.5,
        measured=measured,
        required="every call waited for, and nothing under way at the start",
        misconception=NO_SYNCHRONISE if waited < len(timed.calls) else WARM_UP_RUNNING,
        next_step="Call `synchronize()` before the clock is read at the end of each call."
        if waited < len(timed.calls)
        else "Call `synchronize()` once more, between the warm-up and the first timed call.",
    )


def _warms_up(evidence: LatencyEvidence, timed: _Timed) -> Finding:
    none = _no_warm_up(evidence)
    measured = f"{timed.warm_up} warm-up calls left out"
    if none:
        measured = "no warm-up calls were made"
    elif timed.warm_up_counted:
        slow = max(call.work_ms for call in evidence.calls[: evidence.warmup])
        measured = (
            f"statistics of all {len(evidence.calls)} calls; warm-up calls took {slow:.0f} ms"
        )
    return expect(
        "warm-up calls are made, and left out",
        not none and not timed.warm_up_counted,
        0.25,
        measured=measured,
        required=f"{evidence.warmup} calls before the timed ones",
        misconception=NO_WARM_UP if none else WARM_UP_COUNTED,
        next_step="Make `warmup` calls first, outside the loop that takes times.",
    )


def _counts(evidence: LatencyEvidence) -> Finding:
    # Without a warm-up the number of timed calls may still be right; that is judged on its own.
    right = len(evidence.calls) in (evidence.iterations, evidence.iterations + evidence.warmup)
    return expect(
        "num_iterations calls are timed",
        right,
        0.25,
        measured=f"{len(evidence.calls)} calls in all",
        required=f"{evidence.warmup} + {evidence.iterations}",
        misconception=ITERATIONS_IGNORED,
        next_step="Take both numbers from the parameters, `warmup` and `num_iterations`.",
    )


def _unit(evidence: LatencyEvidence, timed: _Timed) -> Finding:
    return expect(
        "times are in milliseconds",
        not timed.in_seconds,
        0.25,
        measured=f"a mean of {evidence.reported['mean_ms']:.3g}",
        required=f"about {timed.times.mean():.3g}",
        misconception=SECONDS,
        next_step="The clock's unit is the second: convert each time.",
    )


def _centre(timed: _Timed) -> Finding:
    mean, median, std = timed.times.mean(), float(np.median(timed.times)), timed.times.std()
    said, longest = timed.reported, timed.longest
    mean_holds = _between(said["mean_ms"], mean, longest.mean())
    median_holds = _between(said["median_ms"], median, float(np.median(longest)))
    # Two lists of times differ in their standard deviation by no more than by this.
    slack = float(np.sqrt(np.mean((longest - timed.times) ** 2)))
    mixed = (_near(said["median_ms"], mean) and not median_holds) or (
        _near(said["mean_ms"], median) and not mean_holds
    )
    made = sum(not call.given_input for call in timed.calls)
    # Drawing an input may take just as long as the mean lies above the median, but lifts both.
    lifted = not mean_holds and bool(said["mean_ms"] > mean)
    slower = made > 1 and bool(said["median_ms"] > median) and (lifted or not mixed)
    cause = MEAN_FOR_MEDIAN if mixed else None
    return expect(
        "mean, median and standard deviation",
        mean_holds
        and median_holds
        and _between(said["std_ms"], max(std - slack, 0.0), std + slack),
        0.25,
        measured=", ".join(f"{said[key]:.3g}" for key in STATISTICS[:3]) + " ms",
        required=f"about {mean:.3g}, {median:.3g}, {std:.3g} ms",
        misconception=INPUT_TIMED if slower else cause,
        next_step=f"Pass `input_data` itself: {made} calls got something else."
        if slower
        else "Collect one time per call, and compute each figure from all of them.",
    )


def _tail(timed: _Timed) -> Finding:
    times = timed.times
    ordered, longest = np.sort(times), np.sort(timed.longest)
    said = {95: timed.reported["p95_ms"], 99: timed.reported["p99_ms"]}
    wrong = [p for p in said if not _is_percentile(said[p], ordered, longest, p)]
    return expect(
        "p95 and p99",
        not wrong,
        0.5,
        measured=f"{said[95]:.3g} and {said[99]:.3g} ms",
        required=f"about {percentile(ordered, 95):.3g} and {percentile(ordered, 99):.3g} ms",
        misconception=_tail_mistake(timed, wrong) if wrong else None,
        next_step="Sort the times, or let NumPy do it; then 95 % of them lie at or below p95.",
    )


def _is_percentile(reported: float, ordered: np.ndarray, longest: np.ndarray, percent: int) -> bool:
    """Accept every usual definition: trtexec's, and the values on both sides in NumPy's."""
    low = float(np.percentile(ordered, percent, method="lower"))
    high = float(np.percentile(longest, percent, method="higher"))
    return _between(reported, min(low, percentile(ordered, percent)), high)


def _tail_mistake(timed: _Timed, wrong: Sequence[int]) -> str | None:
    """Name the mistake behind wrong percentiles: the one that explains all of them best, if any.

    What every call spends outside the model, such as the way to its device and back, lifts all
    figures alike, so that it is taken off first.
    """
    times, said = timed.times, timed.reported
    lift = max(said["median_ms"] - float(np.median(times)), 0.0)

    def apart(percent: int, values: Sequence[float]) -> float:
        reported = said["p95_ms"] if percent == 95 else said["p99_ms"]
        return min(abs(reported - lift - value) for value in values)

    def beside(percent: int) -> list[float]:
        at = percent * len(times) // 100
        return [float(times[index]) for index in (at - 1, min(at, len(times) - 1))]

    unsorted = max(apart(percent, beside(percent)) for percent in wrong)
    fraction = max(
        apart(percent, [float(np.percentile(times, percent / 100))]) for percent in wrong
    )
    if min(unsorted, fraction) > TOLERANCE_MS:
        return None
    return UNSORTED if unsorted < fraction else FRACTION


@check("5.2")
def throughput(evidence: ThroughputEvidence) -> list[Finding]:
    """Judge a throughput benchmark by what it reported of a model that is known."""
    return [_rates(evidence.runs), _durations(evidence.runs), _batches(evidence.runs)]


def _true_rates(run: ThroughputRun) -> tuple[float, float]:
    """Return the least and the most images per second that were done: with gaps, and without."""
    images = run.calls * (run.images_per_call or run.batch_size)
    return images / max(run.span_s, 1e-9), images / max(run.busy_s, 1e-9)


def _rate_holds(run: ThroughputRun) -> bool:
    if run.reported is None or not run.calls:
        return False
    low, high = _true_rates(run)
    within = (1 - RATE_TOLERANCE) * low <= run.reported <= (1 + RATE_TOLERANCE) * high
    return within and not _makes_inputs(run) and not run.unfinished


def _makes_inputs(run: ThroughputRun) -> bool:
    return run.inputs > run.calls / 2 > 1 and run.busy_s < 0.7 * run.span_s


def _rates(runs: Sequence[ThroughputRun]) -> Finding:
    run = next((run for run in runs if not _rate_holds(run)), runs[-1])
    low, high = _true_rates(run)
    reported = run.reported or 0.0
    calls = run.calls / max(run.span_s, 1e-9)
    cause, next_step = None, "Divide the images done by the seconds that passed until they were."
    if run.unfinished:
        cause = QUEUED_COUNTED
        next_step = "Call `synchronize()` before the clock is read."
    elif _makes_inputs(run):
        cause = INPUT_TIMED
        next_step = "Make the input once, before the clock starts."
    elif run.batch_size > 1 and abs(reported - calls) <= RATE_TOLERANCE * calls:
        cause = CALLS_COUNTED
        next_step = "Each call handles `batch_size` images."
    measured = "no number" if run.reported is None else f"{reported:,.0f} images/s"
    if run.unfinished:
        measured += f", with {run.unfinished} of {run.calls} calls still in the queue"
    if _makes_inputs(run):
        measured += f", with the model idle {100 * (1 - run.busy_s / run.span_s):.0f} % of the time"
    return expect(
        "images per second, of finished work",
        _rate_holds(run),
        0.4,
        measured=f"{measured} at batch {run.batch_size}",
        required=f"about {high if _makes_inputs(run) else low:,.0f} images/s",
        misconception=cause,
        next_step=next_step,
    )


def _ends_in_time(run: ThroughputRun) -> bool:
    longest = LONGEST * run.duration_s + GRACE_S
    return not run.stopped and SHORTEST * run.duration_s <= run.elapsed_s <= longest


def _durations(runs: Sequence[ThroughputRun]) -> Finding:
    run = next((run for run in runs if not _ends_in_time(run)), runs[-1])
    return expect(
        "it runs for the duration asked for",
        _ends_in_time(run),
        0.3,
        measured=f"stopped from outside after {run.elapsed_s:.2f} s"
        if run.stopped
        else f"{run.elapsed_s:.2f} s",
        required=f"{run.duration_s:g} s, and what is queued by then",
        misconception=PAST_DURATION,
        next_step="Compare the seconds since the start with `duration_sec` after every call.",
    )


def _batches(runs: Sequence[ThroughputRun]) -> Finding:
    run = next((run for run in runs if run.images_per_call != run.batch_size), runs[-1])
    return expect(
        "the input has the batch size asked for",
        run.images_per_call == run.batch_size,
        0.3,
        measured=f"{run.images_per_call or 'no'} images a call",
        required=f"{run.batch_size} images a call",
        misconception=BATCH_IGNORED,
        next_step="Make a float32 array of shape (batch_size, 3, 224, 224).",
    )
