"""Synthetic results for the tests of results, targets, report and plots.

The times are those of ResNet-50 on an H200 in DESIGN's table, rounded; they stand for nothing here.
"""

from datetime import datetime, timezone

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
from trtlab.targets import judge

TIME = datetime(2025, 11, 20, 12, 0, tzinfo=timezone.utc)
BATCHES = (1, 8, 32)
# name: (kind, precision, median ms per batch, lost, gained images, bytes, GPU MiB)
RUNNERS = {
    "pytorch-fp32": ("pytorch", "fp32", (2.61, 3.9, 10.4), None, 102_230_000, 612.0),
    "pytorch-tf32": ("pytorch", "tf32", (2.55, 3.1, 6.2), (1, 0), 102_230_000, 598.0),
    "tensorrt-fp32": ("tensorrt", "fp32", (0.662, 1.52, 4.4), (0, 0), 95_300_000, 271.0),
    "tensorrt-fp16": ("tensorrt", "fp16", (0.503, 0.92, 2.78), (2, 1), 48_500_000, 190.0),
    "tensorrt-int8": ("tensorrt", "int8", (0.42, 0.77, 2.31), (43, 12), 26_100_000, 142.0),
}


def sample_machine(emulated: bool = False) -> MachineFacts:
    gpu = GpuFacts(
        name="NVIDIA H200",
        compute_capability="9.0",
        driver="580.95.05",
        cuda_driver="13.0",
        memory_mib=143_771,
        sm_clock_mhz=1980,
        sm_clock_max_mhz=1980,
        memory_clock_mhz=3201,
        temperature_c=41,
        power_w=312.4,
        power_limit_w=700.0,
    )
    return MachineFacts(
        time=TIME,
        gpu=None if emulated else gpu,
        cpu="Example CPU 9000",
        cpu_cores=2,
        system="Linux x86_64",
        backend="emulated" if emulated else "tensorrt",
        emulated=emulated,
        tf32_convolutions=True,
        tf32_matmuls=False,
        versions={
            "trtlab": "0.1.0",
            "python": "3.11.7",
            "tensorrt": "8.6.0+emulated" if emulated else "8.6.0",
            "torch": "2.11.0",
            "pycuda": None,
        },
    )


def sample_latency(median_ms: float) -> LatencyStats:
    return LatencyStats(
        mean_ms=median_ms * 1.02,
        median_ms=median_ms,
        p95_ms=median_ms * 1.08,
        p99_ms=median_ms * 1.15,
        std_ms=median_ms * 0.03,
        iterations=200,
        warmup=20,
        events_median_ms=median_ms * 1.01,
    )


def sample_speedup(ratio: float) -> PairedComparison:
    return PairedComparison(speedup=ratio, low=ratio * 0.97, high=ratio * 1.03, pairs=100)


def sample_results(emulated: bool = False, images: int = 4000) -> Results:
    """Return the results of a complete run of five runners, or of three on the emulation."""
    runners, comparisons = [], []
    for name, (kind, precision, medians, discordant, size, memory) in RUNNERS.items():
        if emulated and precision == "tf32":
            continue
        slow = 40.0 if emulated else 1.0
        batches = [
            BatchResult(
                batch_size=batch,
                latency=sample_latency(median * slow),
                throughput=ThroughputStats(
                    images_per_s=1000 * batch / (median * slow),
                    batch_size=batch,
                    images=batch * 100,
                    duration_s=3.0,
                ),
            )
            for batch, median in zip(BATCHES, medians, strict=True)
        ]
        change = None
        if discordant is not None:
            lost, gained = discordant
            points = 100 * (gained - lost) / images
            change = AccuracyChange(
                points=points,
                low=points - 0.096,
                high=points + 0.096,
                gained=gained,
                lost=lost,
                p_value=0.5,
                images=images,
            )
        top1 = 97.0 + (change.points if change else 0.0)
        runners.append(
            RunnerResult(
                name=name,
                kind=kind,  # type: ignore[arg-type]
                precision=precision,
                sizes=Sizes(weights=size) if kind == "pytorch" else Sizes(engine=size),
                max_batch=None if kind == "pytorch" else 32,
                build_seconds=None if kind == "pytorch" else 38.0,
                gpu_memory_mib=None if emulated else memory,
                batches=batches,
                accuracy=AccuracyStats(
                    top1=top1,
                    top5=99.8,
                    top1_low=top1 - 0.5,
                    top1_high=top1 + 0.5,
                    images=images,
                ),
                accuracy_change=change,
            )
        )
        for baseline in () if emulated or kind == "pytorch" else ("pytorch-fp32", "pytorch-tf32"):
            for index, batch in enumerate(BATCHES):
                ratio = RUNNERS[baseline][2][index] / medians[index]
                comparisons.append(
                    Comparison(
                        runner=name,
                        baseline=baseline,
                        batch_size=batch,
                        speedup=sample_speedup(ratio),
                    )
                )
    results = Results(
        created=TIME,
        complete=True,
        emulated=emulated,
        machine=sample_machine(emulated),
        workload=WorkloadFacts(
            name="digits",
            model="resnet50",
            classes=10,
            split="validation",
            seed=0,
            images=images,
        ),
        settings=BenchmarkSettings(batch_sizes=BATCHES),
        runners=runners,
        comparisons=comparisons,
    )
    results.targets = judge(results)
    return results
