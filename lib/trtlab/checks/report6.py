"""What the report of lab 6 must say: every figure of a results file, by its place in the report.

Figures are found by path, such as ("latency", "tensorrt-fp16", "8", "median_ms"). Also recognises
from a wrong figure how it came about.
"""

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

from trtlab.checks.evidence6 import ReportCase
from trtlab.checks.misconceptions import misconception
from trtlab.results import BatchResult, Results, RunnerResult

Place = tuple[str, ...]

SECTIONS = ("model_sizes", "latency", "throughput", "accuracy", "speedup", "memory")
LATENCY_KEYS = ("mean_ms", "median_ms", "p95_ms", "p99_ms", "std_ms")
MIB = 2**20

TYPED_IN = misconception(
    "typed-in-figures",
    "The figures do not come from the results",
    "For two different results files your function returned the same report. A report that is "
    "typed in is right once; the next measurement makes it wrong without anyone noticing.",
)
SIZE_UNIT = misconception(
    "size-unit",
    "Bytes, MB and MiB are mixed up",
    "A MiB is 2**20 = 1,048,576 bytes, a MB a million: 4.6 % less. The difference is as large as "
    "effects that people report, so a size needs its unit, and one unit for all.",
)
CALLS_FOR_IMAGES = misconception(
    "report-in-calls",
    "Calls a second are not images a second",
    "One call answers a whole batch. Calls a second fall as the batch grows, while the work done "
    "rises: your figure is the results' divided by the batch size.",
)
PERCENT_FOR_POINTS = misconception(
    "percent-for-points",
    "Percent and percentage points are mixed up",
    "From 94 % to 93 % is a loss of one point, and of 1.06 percent of the correct answers. The "
    "requirement is in points; a relative change passes or fails for another reason.",
)
MISSING_AS_ZERO = misconception(
    "missing-as-zero",
    "What was not measured is reported as zero",
    "None says that nobody measured it; 0 says that it was measured and is nothing. A reader of "
    "your table would conclude that the engine needs no memory.",
)
EMULATED_SPEEDUP = misconception(
    "emulated-speedup",
    "A speed-up was claimed from emulated time",
    "These times are those of ONNX Runtime on a CPU. Dividing two of them gives a number, but it "
    "says nothing about a GPU: the results hold no speed-up, and the report must not invent one.",
)
RATIO_OF_MEDIANS = misconception(
    "ratio-of-medians",
    "The speed-up was computed again from two separate runs",
    "Dividing two medians that were taken minutes apart also divides two clock rates and two "
    "temperatures. The paired comparison ran both in turn and has an interval: use that one.",
)
UPSIDE_DOWN = misconception(
    "speedup-upside-down",
    "The speed-up is upside down",
    "It is the baseline's time over the engine's: above 1 means that the engine is faster. What "
    "you report is the share of the time that is left.",
)


def figures_of(results: Results) -> dict[Place, float | None]:
    """Return every figure that the report must hold; None where nothing was measured."""
    figures: dict[Place, float | None] = {}
    for runner in results.runners:
        figures |= _figures_of_runner(runner)
    for entry in results.comparisons:
        if entry.baseline == results.settings.baseline:
            figures["speedup", entry.runner, str(entry.batch_size)] = entry.speedup.speedup
    return figures


def _figures_of_runner(runner: RunnerResult) -> dict[Place, float | None]:
    name, accuracy, change = runner.name, runner.accuracy, runner.accuracy_change
    size = runner.sizes.engine if runner.kind == "tensorrt" else runner.sizes.weights
    figures: dict[Place, float | None] = {
        ("model_sizes", name): size / MIB if size else None,
        ("memory", name): runner.gpu_memory_mib,
        ("accuracy", name, "top1"): accuracy.top1 if accuracy else None,
        ("accuracy", name, "top5"): accuracy.top5 if accuracy else None,
        ("accuracy", name, "change"): change.points if change else None,
    }
    for entry in runner.batches:
        batch = str(entry.batch_size)
        figures["throughput", name, batch] = entry.throughput.images_per_s
        for key in LATENCY_KEYS:
            figures["latency", name, batch, key] = getattr(entry.latency, key)
    return figures


def found(report: Mapping[str, Any], path: Place) -> object:
    """Return what a report says at `path`; None if it says nothing."""
    value: Any = report
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def same(said: object, measured: float | None) -> bool:
    """Return whether a figure is the measured one, perhaps rounded."""
    if measured is None or not _is_number(said):
        return said is None and measured is None
    assert isinstance(said, int | float)
    return isclose(said, measured, rel_tol=1e-4, abs_tol=0.0051)


def claimed_speedups(case: ReportCase) -> list[Place]:
    """Return where a report gives a speed-up though the results hold none."""
    if case.results.comparisons:
        return []
    section = case.report.get("speedup")
    return [path for path, _ in _numbers(section, ("speedup",))]


def _numbers(value: object, path: Place) -> Iterator[tuple[Place, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, str(key)))
    elif _is_number(value):
        assert isinstance(value, int | float)
        yield path, float(value)


def likely_mistake(case: ReportCase, path: Place, measured: float | None) -> str | None:
    """Return the key of the misconception behind a wrong figure, if it is recognised."""
    said = found(case.report, path)
    if not _is_number(said):
        return None
    assert isinstance(said, int | float)
    if measured is None:
        return MISSING_AS_ZERO if said == 0 else None
    ways = _ways_to_err(case.results, path, measured)
    return next((key for key, value in ways if isclose(said, value, rel_tol=0.005)), None)


def _ways_to_err(results: Results, path: Place, right: float) -> Iterator[tuple[str, float]]:
    """Yield misconceptions with the figure that each would give in place of `right`."""
    section, name = path[0], path[1]
    if section in ("model_sizes", "memory"):
        yield SIZE_UNIT, right * MIB
        yield SIZE_UNIT, right * MIB / 1e6
    elif section == "throughput":
        yield CALLS_FOR_IMAGES, right / int(path[2])
    elif path[-1] == "change":
        baseline = results.runner(results.settings.baseline)
        if baseline and baseline.accuracy:
            yield PERCENT_FOR_POINTS, 100 * right / baseline.accuracy.top1
    elif section == "speedup":
        yield UPSIDE_DOWN, 1 / right
        ours = _timed(results, name, path[2])
        theirs = _timed(results, results.settings.baseline, path[2])
        if ours and theirs:
            yield RATIO_OF_MEDIANS, theirs.latency.median_ms / ours.latency.median_ms
            yield RATIO_OF_MEDIANS, theirs.latency.mean_ms / ours.latency.mean_ms
            yield UPSIDE_DOWN, ours.latency.median_ms / theirs.latency.median_ms


def _timed(results: Results, runner: str, batch: str) -> BatchResult | None:
    entry = results.runner(runner)
    return entry.at(int(batch)) if entry else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
