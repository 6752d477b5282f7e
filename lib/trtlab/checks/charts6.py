"""What the four charts of lab 6 must show, and what is wrong with one that does not.

A chart is judged by what can be read off the figure; whether it is clear is for people to say.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isclose

from trtlab.checks.evidence6 import ChartFacts, ReportCase
from trtlab.checks.misconceptions import misconception
from trtlab.checks.report6 import EMULATED_SPEEDUP, TYPED_IN
from trtlab.results import BatchResult, Results, RunnerResult

AXIS_WITHOUT_UNIT = misconception(
    "axis-without-unit",
    "An axis without a unit",
    "A reader who sees 5 on an axis cannot tell milliseconds from seconds, nor percent from "
    "points. You know it today; in a month you will not.",
)
MEAN_FOR_MEDIAN = misconception(
    "mean-drawn",
    "The mean stands for the typical call",
    "A few slow calls pull the mean up, and nobody experiences it: half of the calls are faster "
    "than the median, one in a hundred is slower than the p99. Show these two.",
)
BADGE_DROPPED = misconception(
    "badge-dropped",
    "The chart does not say that its times are emulated",
    "Figures travel without the text around them. On a slide, yours would pass for a measurement "
    "of a GPU.",
)
NAMELESS = misconception(
    "nameless-series",
    "The reader cannot tell which engine is which",
    "Colours alone name nothing. A legend does, and so do labels at the bars or lines.",
)


@dataclass(frozen=True)
class Chart:
    """One of the charts.

    Attributes:
        function: the name of the student's function.
        shows: in words, for the card.
        drawn: returns the numbers that must be found in the figure.
        labels: returns regular expressions, each of which some axis label must match, and what
            they stand for.
    """

    function: str
    shows: str
    drawn: Callable[[Results], list[float]]
    labels: Callable[[Results], dict[str, str]]


def smallest_batch(results: Results) -> int:
    """Return the batch size at which runners are compared: the smallest that was timed."""
    return min(results.settings.batch_sizes)


def _timed(results: Results) -> list[tuple[RunnerResult, BatchResult]]:
    size = smallest_batch(results)
    found = [(runner, runner.at(size)) for runner in results.runners]
    return [(runner, entry) for runner, entry in found if entry is not None]


def _latencies(results: Results) -> list[float]:
    return [
        value
        for _, entry in _timed(results)
        for value in (entry.latency.median_ms, entry.latency.p99_ms)
    ]


def _throughputs(results: Results) -> list[float]:
    return [e.throughput.images_per_s for r in results.runners for e in r.batches]


def _speedups(results: Results) -> list[float]:
    baseline = results.settings.baseline
    return [entry.speedup.speedup for entry in results.comparisons if entry.baseline == baseline]


def _tradeoff(results: Results) -> list[float]:
    return [value for _, *point in _points(results) for value in point]


def _points(results: Results) -> list[tuple[RunnerResult, float, float]]:
    """Return the points of the tradeoff: runner, speed-up (or latency) and top-1."""
    baseline, batch, points = results.settings.baseline, smallest_batch(results), []
    for runner, entry in _timed(results):
        speedup = results.speedup(runner.name, baseline, batch)
        if runner.accuracy is None:
            continue
        if results.emulated:
            points.append((runner, entry.latency.median_ms, runner.accuracy.top1))
        elif runner.name == baseline:
            points.append((runner, 1.0, runner.accuracy.top1))
        elif speedup is not None:  # another PyTorch baseline has none
            points.append((runner, speedup.speedup, runner.accuracy.top1))
    return points


_MS = {r"\bms\b|milliseconds": "ms"}
_TIMES = {r"×|\b(x|times|factor|ratio)\b": "times, or x"}
_PERCENT = {r"%|percent|points": "%"}

CHARTS = (
    Chart(
        "latency_chart", "median and p99 of every runner at the smallest batch", _latencies,
        lambda results: _MS,
    ),
    Chart(
        "throughput_chart", "images per second of every runner against the batch size",
        _throughputs,
        lambda results: {r"im(age|g)s?\s*(/|per)\s*s": "images/s", "batch": "batch size"},
    ),
    Chart(
        "speedup_chart", "the paired speed-ups; nothing where the time is emulated", _speedups,
        lambda results: {} if results.emulated else _TIMES,
    ),
    Chart(
        "tradeoff_chart", "top-1 against speed-up; against latency where the time is emulated",
        _tradeoff,
        lambda results: _PERCENT | (_MS if results.emulated else _TIMES),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What is wrong with a chart, what to do, and the misconception behind it if recognised."""

    what: str
    next_step: str
    misconception: str | None = None


def problem_of(chart: Chart, case: ReportCase, facts: ChartFacts) -> Problem | None:
    """Return the first thing that is wrong with a chart of `case`, or None."""
    if facts.attempt.stage == "raised":
        return Problem(
            f"it raised {facts.attempt.error} on {case.name}",
            "Call it in a cell of its own on `results` to see the whole traceback.",
        )
    if facts.returned != "Figure":
        return Problem(
            f"it returned a {facts.returned}",
            "Return the figure: `figure, axes = plt.subplots()` ... `return figure`.",
        )
    return _wrong_data(chart, case, facts) or _wrong_labels(chart, case, facts)


def _wrong_data(chart: Chart, case: ReportCase, facts: ChartFacts) -> Problem | None:
    if chart.function == "speedup_chart" and case.results.emulated:
        if not facts.values:
            return None
        return Problem(
            f"bars of {', '.join(f'{v:.3g}' for v in facts.values[:3])} on {case.name}, "
            "which hold no speed-up",
            "Where `results.emulated`, write that nothing was measured, in place of bars.",
            EMULATED_SPEEDUP,
        )
    missing = [v for v in chart.drawn(case.results) if not _among(v, facts.values)]
    if not missing:
        return None
    means = chart.function == "latency_chart" and _means_drawn(case, facts)
    return Problem(
        f"{len(missing)} of {len(chart.drawn(case.results))} figures are not drawn on {case.name}, "
        f"the first of them {missing[0]:.4g}",
        "Draw what the results hold, for every runner.",
        MEAN_FOR_MEDIAN if means else None,
    )


def _wrong_labels(chart: Chart, case: ReportCase, facts: ChartFacts) -> Problem | None:
    labels = " | ".join(facts.labels).lower()
    for pattern, unit in chart.labels(case.results).items():
        if not re.search(pattern, labels):
            return Problem(
                f"no axis label says {unit}; they are {', '.join(facts.labels) or 'all empty'}",
                "Give each axis what it shows and its unit: `axes.set_xlabel('latency (ms)')`.",
                AXIS_WITHOUT_UNIT,
            )
    shown = " ".join(facts.texts + facts.labels)
    nameless = [runner for runner in _named(chart, case.results) if runner not in shown]
    if nameless:
        return Problem(
            f"{', '.join(nameless)} not named on {case.name}",
            "Add a legend, or labels at the bars or lines.",
            NAMELESS,
        )
    return None


def _named(chart: Chart, results: Results) -> list[str]:
    if chart.function == "speedup_chart":
        return list(dict.fromkeys(entry.runner for entry in results.comparisons))
    if chart.function == "tradeoff_chart":
        return [runner.name for runner, *_ in _points(results)]
    return [runner.name for runner, _ in _timed(results)]


def has_badge(case: ReportCase, facts: ChartFacts) -> bool:
    """Return whether a chart says all that its results' badge says."""
    badge = case.results.badge
    return badge is None or badge in " ".join(" ".join(facts.texts).split())


def typed_in(cases: Iterable[ReportCase], function: str) -> str | None:
    """Return the misconception of a chart that shows the same on different results."""
    values = [case.charts[function].values for case in cases]
    same = len(values) > 1 and values[0] and all(value == values[0] for value in values)
    return TYPED_IN if same else None


def _means_drawn(case: ReportCase, facts: ChartFacts) -> bool:
    return all(_among(entry.latency.mean_ms, facts.values) for _, entry in _timed(case.results))


def _among(value: float, values: Iterable[float]) -> bool:
    return any(isclose(value, other, rel_tol=5e-4, abs_tol=0.0051) for other in values)
