"""The project's targets for speed, what was measured, and whether they are met, as a table.

A target is met if the whole interval meets it, missed if none of it does, else open. Intervals are
95 % ones but for two: a ratio of two throughputs has the bounds of the one over those of the other,
which is wider, and a rebuild has the range of its few builds.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from speed.figures_calls import BASELINES, PLACES, SPEEDUP_TARGETS
from speed.figures_engines import MLPERF, PEAK_ASKED
from speed.records import Record
from trtlab.report import Table, markdown_table

NOT_MEASURED = "not measured"
VARIANTS = {
    "fp16-compiled": "torch.compile FP16",
    "fp16-eager": "PyTorch FP16 channels-last",
}
Data = Mapping[str, Any]
"""A section's data, or {} where there is none."""


class Finding(NamedTuple):
    """A measured value and its bounds; `label` says which of several it is."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Target:
    """What is asked for, and what was found; no findings: not measured."""

    what: str
    required: float
    findings: Sequence[Finding]
    unit: str = "x"
    form: str = ".2f"
    at_most: bool = False
    note: str = ""
    missing: Sequence[str] = ()  # labels of what should have been found as well

    def row(self) -> tuple[str, str, str, str]:
        """Return the cells: target, required, measured, met or not."""
        required = f"{'at most' if self.at_most else 'at least'} {self._number(self.required)}"
        required += self.unit
        if not self.findings:
            return self.what, required, NOT_MEASURED, NOT_MEASURED
        measured = "; ".join(self._written(finding) for finding in self.findings)
        return self.what, required, f"{measured}{self.note}", self._verdict()

    def _written(self, finding: Finding) -> str:
        text = f"{finding.label}: " if finding.label else ""
        text += f"{self._number(finding.value)}{self.unit}"
        if finding.low < finding.high:
            text += f" [{self._number(finding.low)}, {self._number(finding.high)}]"
        return text

    def _number(self, value: float) -> str:
        return format(value, self.form)

    def _verdict(self) -> str:
        by_verdict: dict[str, list[str]] = defaultdict(list)
        for finding in self.findings:
            by_verdict[self._judge(finding)].append(finding.label)
        if self.missing:
            by_verdict[NOT_MEASURED].extend(self.missing)
        if len(by_verdict) == 1:
            return next(iter(by_verdict))
        return "; ".join(f"{word}: {', '.join(labels)}" for word, labels in by_verdict.items())

    def _judge(self, finding: Finding) -> str:
        worst, best = finding.low, finding.high
        if self.at_most:
            worst, best = -finding.high, -finding.low
        required = -self.required if self.at_most else self.required
        return "met" if worst >= required else "missed" if best < required else "open"


def targets_markdown(records: Mapping[str, Record]) -> str:
    """Return the table of all targets in Markdown."""
    data: defaultdict[str, Data] = defaultdict(dict)
    data.update({section: record.data for section, record in records.items()})
    places = {f"{r.gpu}, TensorRT {r.tensorrt}, commit {r.commit[:9]}" for r in records.values()}
    caption = "; ".join(sorted(places)) or NOT_MEASURED
    if any(record.trial for record in records.values()):
        caption += ". TRIAL OF THE SCRIPTS: no figure here means anything."
    table = Table(
        title="Targets",
        columns=("Target", "Required", "Measured [95 % interval]", "Met"),
        rows=tuple(target.row() for target in _targets(data)),
        left=4,
        caption=caption,
    )
    return markdown_table(table)


def _targets(data: Mapping[str, Data]) -> Iterator[Target]:
    yield from _latency(data["latency"])
    yield from _streaming(data["streaming"])
    yield from _int8_peak(data["int8_peak"])
    yield from _speedup(data["speedup"])
    yield from _compiled(data["compiled"])
    yield from _accuracy(data["accuracy"])
    yield from _sizes(data["sizes"])
    yield from _rebuild(data["rebuild"])
    yield _first_build(data["first_build"])
    overhead = data["overhead"].get("overhead_us")
    found = [Finding("", overhead["median"], overhead["low"], overhead["high"])] if overhead else []
    what = "Python in one call of FastInference beyond driver and copies, batch 1"
    yield Target(what, 30, found, " µs", ".1f", at_most=True)


def _latency(data: Data) -> Iterator[Target]:
    ratios = [row for row in data.get("ratios", []) if row["precision"] == "fp16"]

    def ratio(baseline: str, runner: str, batch: int) -> list[Finding]:
        key = (baseline, runner, batch)
        return [
            Finding("", row["speedup"], row["low"], row["high"])
            for row in ratios
            if (row["baseline"], row["runner"], row["batch"]) == key
        ]

    over = "One call, FP16, batch {}, FastInference over Polygraphy's TrtRunner"
    for batch, required in ((1, 2.2), (8, 1.5), (32, 1.7)):
        yield Target(over.format(batch), required, ratio("polygraphy", "fast", batch))
    what = "One call, FP16, batch 1: its time over the floor's, graph and copies alone"
    yield Target(what, 1.15, ratio("fast", "floor", 1), at_most=True)
    tails = {
        row["runner"]: row["p99_over_median"]
        for row in data.get("rows", [])
        if (row["precision"], row["batch"]) == ("fp16", 1)
    }
    found = [Finding("", tails["fast"], tails["fast"], tails["fast"])] if "fast" in tails else []
    note = f" (Polygraphy {tails['polygraphy']:.2f})" if "polygraphy" in tails else ""
    what = "p99 over median, FP16, batch 1"
    yield Target(what, 1.10, found, "", at_most=True, note=note)


def _streaming(data: Data) -> Iterator[Target]:
    rows = [r for r in data.get("rows", []) if (r["precision"], r["batch"]) == ("fp16", 32)]

    def best(name: str) -> list[dict[str, Any]]:
        """Return the fastest row of a runner, whatever its slots."""
        # The engine alone is measured twice: the harder of the two counts.
        found = [row for row in rows if row["runner"].removesuffix(", again") == name]
        return [max(found, key=lambda row: row["images_per_s"])] if found else []

    ways = (*best("stream"), *best("stream, slots filled in place"))
    for baseline, name, required, unit in (
        ("engine alone", "share of the engine alone on the GPU", 0.95, ""),
        ("polygraphy", "over TrtRunner in a loop", 2.0, "x"),
    ):
        findings = [_over(way, against) for against in best(baseline) for way in ways]
        yield Target(f"Streaming, FP16, batch 32, host to host, {name}", required, findings, unit)


def _over(way: Mapping[str, Any], against: Mapping[str, Any]) -> Finding:
    return Finding(
        f"{way['runner']}, {way['slots']} slots",
        way["images_per_s"] / against["images_per_s"],
        way["low"] / against["high"],
        way["high"] / against["low"],
    )


def _int8_peak(data: Data) -> Iterator[Target]:
    findings = [
        Finding(
            f"{found['input']}, batch {found['batch']}, contexts {found['contexts']}",
            found["images_per_s"],
            found["low"],
            found["high"],
        )
        for found in data.get("configurations", [])[:1]  # the best first
    ]
    note = "".join(f" ({found.value / MLPERF:.0%} of MLPerf v4.1)" for found in findings)
    yield Target("INT8 engine alone, images/s", PEAK_ASKED, findings, "", ",.0f", note=note)


def _speedup(data: Data) -> Iterator[Target]:
    for precision, required in SPEEDUP_TARGETS.items():
        for place, (where, runner) in PLACES.items():
            for baseline, name in BASELINES.items():
                found = {
                    row["batch"]: (row["speedup"], row["low"], row["high"])
                    for row in data.get(place, {}).get("speedup", [])
                    if (row["runner"], row["baseline"]) == (f"{runner}-{precision}", baseline)
                }
                what = f"{precision.upper()} {where}, over PyTorch eager in {name}"
                yield _at_batches(what, required, found, (1, 8, 32, 128))


def _compiled(data: Data) -> Iterator[Target]:
    for variant, name in VARIANTS.items():
        for place, (where, _) in PLACES.items():
            found = {
                row["batch"]: (row["ratio"], row["low"], row["high"])
                for row in data.get("speedup", [])
                if (row["variant"], row["where"]) == (variant, place)
            }
            yield _at_batches(f"FP16 {where}, over {name}", 1.0, found, (1, 32))


def _at_batches(
    what: str,
    required: float,
    found: Mapping[int, tuple[float, float, float]],
    batches: Sequence[int],
) -> Target:
    """Return a target that is to be met at each of `batches`; `found` gives value, low, high."""
    return Target(
        what,
        required,
        [Finding(f"batch {batch}", *found[batch]) for batch in batches if batch in found],
        missing=[f"batch {batch}" for batch in batches if batch not in found],
    )


def _accuracy(data: Data) -> Iterator[Target]:
    for precision, required in (("fp16", 0.1), ("int8", 0.5)):
        change = data.get("change", {}).get(f"tensorrt-{precision}")
        what = f"{precision.upper()}: top-1 lost against PyTorch FP32, points"
        if change is None:
            yield Target(what, required, [], "", at_most=True)
            continue
        # Subtracted from zero: unary minus would make a negative zero.
        lost = [0.0 - change[bound] for bound in ("points", "high", "low")]
        note = f" ({change['images']:,} images)"
        yield Target(what, required, [Finding("", *lost)], "", at_most=True, note=note)


def _sizes(data: Data) -> Iterator[Target]:
    smaller = data.get("times_smaller_than_fp32_engine", {})
    for precision, required in (("fp16", 1.9), ("int8", 3.6)):
        found = [Finding("", *3 * [smaller[precision]])] if precision in smaller else []
        yield Target(f"{precision.upper()} engine file, smaller than FP32's", required, found)


def _rebuild(data: Data) -> Iterator[Target]:
    for precision, required in (("fp16", 3.5), ("int8", 7.0)):
        findings = []
        if precision in data:
            cold, warm = data[precision]["cold_seconds"], data[precision]["warm_seconds"]
            findings = [Finding("", cold / median(warm), cold / max(warm), cold / min(warm))]
        what = f"{precision.upper()}: rebuild with its timing cache, faster than without"
        yield Target(what, required, findings)


def _first_build(data: Data) -> Target:
    """Return a row beyond the targets: what a user sees of both caches."""
    findings = []
    if data:
        first, again = data["first_seconds"], data["rebuild_seconds"]
        findings = [Finding("", first / median(again), first / max(again), first / min(again))]
    what = "Beyond the targets: INT8 rebuild with both its caches, faster than the first build"
    return Target(what, 7.0, findings)
