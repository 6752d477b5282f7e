"""Results of no machine, with invented figures, to try a student's report functions on.

On the emulation the student's own results hold no speed-ups; these do. Every figure differs from
every other by more than rounding, so that a mix-up of two shows. They are never shown as
measurements.
"""

from random import Random

from trtlab.machine import GpuFacts, MachineFacts
from trtlab.results import (
    AccuracyChange,
    AccuracyStats,
    BatchResult,
    BenchmarkSettings,
    Comparison,
    LatencyStats,
    PairedComparison,
    Results,
    RunnerResult,
    Sizes,
    ThroughputStats,
    WorkloadFacts,
)

BATCHES = (1, 4, 16)
IMAGES = 2000
# precision -> about how many times faster than the baseline, and how many times smaller
_GPU = {"fp32": (3.0, 1.05), "fp16": (4.6, 2.0), "int8": (5.7, 3.7)}
_EMULATED = {"fp16": (1.1, 2.0), "int8": (0.6, 3.7)}


def made_up_results(seed: int, *, emulated: bool) -> Results:
    """Return complete results with figures drawn at random; the same seed gives the same.

    Args:
        seed: of the figures.
        emulated: whether they pass for emulated ones: no speed-ups, no GPU memory, the badge.
    """
    rng = Random(seed)
    engines = _EMULATED if emulated else _GPU
    baselines = ("fp32",) if emulated else ("fp32", "tf32")
    start = rng.uniform(20, 40) if emulated else rng.uniform(2, 4)
    runners = [_torch(rng, precision, start, emulated) for precision in baselines]
    runners += [
        _engine(rng, precision, start / faster, smaller, emulated)
        for precision, (faster, smaller) in engines.items()
    ]
    return Results(
        complete=True,
        emulated=emulated,
        machine=_machine(emulated),
        workload=WorkloadFacts(
            name="made up",
            model="resnet50",
            classes=10,
            split="validation",
            seed=seed,
            images=IMAGES,
        ),
        settings=BenchmarkSettings(batch_sizes=BATCHES),
        runners=runners,
        comparisons=[] if emulated else _comparisons(rng, runners),
    )


def _torch(rng: Random, precision: str, median_ms: float, emulated: bool) -> RunnerResult:
    return RunnerResult(
        name=f"pytorch-{precision}",
        kind="pytorch",
        precision=precision,
        sizes=Sizes(weights=rng.randrange(90_000_000, 110_000_000)),
        gpu_memory_mib=None if emulated else rng.uniform(500, 700),
        batches=[_batch(rng, size, median_ms) for size in BATCHES],
        accuracy=_accuracy(rng, 91.0),
        accuracy_change=None if precision == "fp32" else _change(rng, -0.2),
    )


def _engine(
    rng: Random, precision: str, median_ms: float, smaller: float, emulated: bool
) -> RunnerResult:
    return RunnerResult(
        name=f"tensorrt-{precision}",
        kind="tensorrt",
        precision=precision,
        sizes=Sizes(engine=int(rng.uniform(95e6, 105e6) / smaller)),
        max_batch=32,
        build_seconds=rng.uniform(20, 120),
        gpu_memory_mib=None if emulated else rng.uniform(100, 300),
        batches=[_batch(rng, size, median_ms) for size in BATCHES],
        accuracy=_accuracy(rng, 90.0),
        accuracy_change=_change(rng, -0.9),
    )


def _batch(rng: Random, size: int, one_ms: float) -> BatchResult:
    median = one_ms * size**0.7 * rng.uniform(0.97, 1.03)
    return BatchResult(
        batch_size=size,
        latency=LatencyStats(
            median_ms=median,
            mean_ms=median * rng.uniform(1.08, 1.15),
            p95_ms=median * rng.uniform(1.25, 1.35),
            p99_ms=median * rng.uniform(1.5, 1.7),
            std_ms=median * rng.uniform(0.15, 0.2),
            iterations=200,
            warmup=20,
        ),
        throughput=ThroughputStats(
            images_per_s=1000 * size / median * rng.uniform(0.85, 0.93),
            batch_size=size,
            images=1000 * size,
            duration_s=3.0,
        ),
    )


def _accuracy(rng: Random, about: float) -> AccuracyStats:
    top1 = about + rng.uniform(-0.4, 0.4)
    return AccuracyStats(
        top1=top1,
        top5=top1 + rng.uniform(5, 6),
        top1_low=top1 - 1.3,
        top1_high=top1 + 1.2,
        images=IMAGES,
    )


def _change(rng: Random, about: float) -> AccuracyChange:
    points = about + rng.uniform(-0.05, 0.05)
    return AccuracyChange(
        points=points, low=points - 0.5, high=points + 0.5, gained=8, lost=26, p_value=0.003,
        images=IMAGES,
    )  # fmt: skip


def _comparisons(rng: Random, runners: list[RunnerResult]) -> list[Comparison]:
    """Return paired speed-ups that differ from the ratios of the runners' medians."""
    comparisons = []
    for runner in (r for r in runners if r.kind == "tensorrt"):
        for baseline in (r for r in runners if r.kind == "pytorch"):
            for ours, theirs in zip(runner.batches, baseline.batches, strict=True):
                ratio = theirs.latency.median_ms / ours.latency.median_ms * rng.uniform(1.06, 1.12)
                comparisons.append(
                    Comparison(
                        runner=runner.name,
                        baseline=baseline.name,
                        batch_size=ours.batch_size,
                        speedup=PairedComparison(
                            speedup=ratio, low=ratio * 0.96, high=ratio * 1.04, pairs=100
                        ),
                    )
                )
    return comparisons


def _machine(emulated: bool) -> MachineFacts:
    return MachineFacts(
        gpu=None if emulated else GpuFacts(name="made-up GPU"),
        cpu="made-up CPU",
        cpu_cores=2,
        system="made up",
        backend="emulated" if emulated else "tensorrt",
        emulated=emulated,
        tf32_convolutions=False,
        tf32_matmuls=False,
        versions={"tensorrt": "made up"},
    )
