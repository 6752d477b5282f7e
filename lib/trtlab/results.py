"""results.json: the one typed, versioned schema for what a benchmark measured, and how.

Everything that is drawn or tabulated later comes from this file. Measuring is in
`trtlab.benchmark`, judging in `trtlab.targets`, tables in `trtlab.report`, figures in
`trtlab.plots`.
"""

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from trtlab.errors import ResultsError
from trtlab.files import write_text
from trtlab.machine import MachineFacts

SCHEMA_VERSION: Final = 1

Verdict = Literal["pass", "fail", "inconclusive", "not applicable"]


class _Record(BaseModel):
    # NaN is not JSON, and a misspelt field must not vanish silently.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LatencyStats(_Record):
    """Time of one call in milliseconds, host to host, over `iterations` calls after `warmup`.

    `events_median_ms` is the median by CUDA events of further calls, measured as a cross-check of
    the wall clock; None without a GPU.
    """

    mean_ms: PositiveFloat
    median_ms: PositiveFloat
    p95_ms: PositiveFloat
    p99_ms: PositiveFloat
    std_ms: NonNegativeFloat
    iterations: PositiveInt
    warmup: NonNegativeInt
    events_median_ms: PositiveFloat | None = None


class ThroughputStats(_Record):
    """Images per second of back-to-back calls, one at a time, over `duration_s` seconds."""

    images_per_s: PositiveFloat
    batch_size: PositiveInt
    images: PositiveInt
    duration_s: PositiveFloat


class AccuracyStats(_Record):
    """Top-1 and top-5 in percent over `images`, with the 95 % Wilson interval of top-1."""

    top1: float = Field(ge=0, le=100)
    top5: float = Field(ge=0, le=100)
    top1_low: float = Field(ge=0, le=100)
    top1_high: float = Field(ge=0, le=100)
    images: PositiveInt


class AccuracyChange(_Record):
    """Top-1 of a runner minus the baseline's on the same images, in percentage points.

    `low` and `high` are Tango's 95 % interval for paired proportions; `gained` images are right
    with this runner only, `lost` with the baseline only; `p_value` is McNemar's exact test.
    """

    points: float
    low: float
    high: float
    gained: NonNegativeInt
    lost: NonNegativeInt
    p_value: float = Field(ge=0, le=1)
    images: PositiveInt


class PairedComparison(_Record):
    """Speed-up: the median of `pairs` paired time ratios with its 95 % bootstrap interval."""

    speedup: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat
    pairs: PositiveInt


class Sizes(_Record):
    """Bytes of the model in each form; None where a form does not apply.

    `weights` are the parameters and buffers as PyTorch holds them, `onnx` and `engine` are files.
    """

    weights: PositiveInt | None = None
    onnx: PositiveInt | None = None
    engine: PositiveInt | None = None


class BatchResult(_Record):
    """What was timed at one batch size."""

    batch_size: PositiveInt
    latency: LatencyStats
    throughput: ThroughputStats


class RunnerResult(_Record):
    """One way to run the model, e.g. "pytorch-fp32" or "tensorrt-int8", and what it measured.

    `gpu_memory_mib` is what opening the runner and running its largest batch added on the GPU.
    """

    name: str = Field(min_length=1)
    kind: Literal["pytorch", "tensorrt"]
    precision: str
    sizes: Sizes = Sizes()
    max_batch: PositiveInt | None = None
    build_seconds: NonNegativeFloat | None = None
    gpu_memory_mib: NonNegativeFloat | None = None
    batches: list[BatchResult] = []
    accuracy: AccuracyStats | None = None
    accuracy_change: AccuracyChange | None = None

    def at(self, batch_size: int) -> BatchResult | None:
        """Return what was timed at `batch_size`, or None if it was not."""
        return next((b for b in self.batches if b.batch_size == batch_size), None)


class Comparison(_Record):
    """A runner timed against a PyTorch baseline, call by call in turn, at one batch size."""

    runner: str
    baseline: str
    batch_size: PositiveInt
    speedup: PairedComparison


class TargetVerdict(_Record):
    """One target of the course and whether it is met; `low` and `high` bound `measured`.

    `reason` says why a verdict is neither pass nor fail.
    """

    runner: str
    quantity: Literal["speed-up", "accuracy loss", "size reduction"]
    against: str
    batch_size: PositiveInt | None = None
    required: float
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict
    reason: str = ""


class WorkloadFacts(_Record):
    """Which model ran on which images.

    `input_shape` is one image's, e.g. (3, 224, 224); `images` is 0 where accuracy was left out.
    """

    name: str
    model: str
    classes: PositiveInt
    input_shape: tuple[PositiveInt, ...] = (3, 224, 224)
    split: str
    seed: int
    images: NonNegativeInt


class BenchmarkSettings(_Record):
    """How to measure, and afterwards the record of how it was measured.

    Attributes:
        batch_sizes: Batch sizes to time; one above a runner's maximum is left out for that runner.
        iterations: Timed calls per latency figure.
        warmup: Untimed calls before each figure.
        pairs: Interleaved pairs per speed-up.
        throughput_s: Seconds of back-to-back calls per throughput figure.
        max_seconds: End a latency or speed-up figure early after this time, though never before
            10 calls; for slow CPUs. None for no limit.
        baseline: The runner that accuracy is compared with, and the charts' speed-up.
        seed: Of the random inputs, the order within pairs and the bootstrap.
        stopwatch: What is inside the stopwatch.
    """

    batch_sizes: tuple[PositiveInt, ...] = Field(default=(1, 8, 32), min_length=1)
    iterations: PositiveInt = 200
    warmup: NonNegativeInt = 20
    pairs: PositiveInt = 100
    throughput_s: PositiveFloat = 3.0
    max_seconds: PositiveFloat | None = None
    baseline: str = "pytorch-fp32"
    seed: int = 0
    stopwatch: Literal["host to host"] = "host to host"


class Results(_Record):
    """Everything that one benchmark run measured. `complete` is False while it is running."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))
    complete: bool = False
    emulated: bool
    machine: MachineFacts
    workload: WorkloadFacts
    settings: BenchmarkSettings
    runners: list[RunnerResult] = []
    comparisons: list[Comparison] = []
    targets: list[TargetVerdict] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Results":
        if self.emulated and self.comparisons:
            raise ValueError("emulated results hold speed-ups, but emulated time is not GPU time")
        names = [runner.name for runner in self.runners]
        if len(set(names)) < len(names):
            raise ValueError(f"two runners have the same name: {names}")
        mentioned = {c.runner for c in self.comparisons} | {t.runner for t in self.targets}
        if unknown := sorted(mentioned - set(names)):
            raise ValueError(f"{unknown} are compared, but the runners are {names}")
        return self

    @property
    def badge(self) -> str | None:
        """What every table and figure of these results must carry; None for real TensorRT."""
        if not self.emulated:
            return None
        from trtlab.backend import BADGE

        return BADGE

    def runner(self, name: str) -> RunnerResult | None:
        """Return the runner of this name, or None."""
        return next((runner for runner in self.runners if runner.name == name), None)

    def speedup(self, runner: str, baseline: str, batch_size: int) -> PairedComparison | None:
        """Return the measured speed-up of `runner` over `baseline`, or None."""
        for entry in self.comparisons:
            if (entry.runner, entry.baseline, entry.batch_size) == (runner, baseline, batch_size):
                return entry.speedup
        return None


def write_results(path: str | os.PathLike[str], results: Results) -> Path:
    """Write `results` as JSON in one step. Raises: OutputError."""
    return write_text(path, results.model_dump_json(indent=2) + "\n")


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read a results file.

    Raises:
        ResultsError: if it is missing, not JSON, of another schema version, or does not validate.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(
            f"There is no results file {path}. Make one with: trtlab benchmark --output {path}"
        ) from error
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}.") from error
    # A UnicodeDecodeError is a ValueError too, and so is a JSONDecodeError.
    except ValueError as error:
        raise ResultsError(
            f"{path} is not JSON ({error}). Give the file that trtlab benchmark wrote."
        ) from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version is None:
        raise ResultsError(
            f"{path} is JSON, but not a results file: it has no schema_version. "
            "Give the file that trtlab benchmark wrote."
        )
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"{path} has results schema version {version}; this trtlab reads version "
            f"{SCHEMA_VERSION}. Run the benchmark again, or use the trtlab that wrote the file."
        )
    try:
        return Results.model_validate(data)
    except ValidationError as error:
        raise ResultsError(f"{path} is not a valid results file: {_problems(error)}.") from error


def _problems(error: ValidationError, shown: int = 3) -> str:
    """Name the first problems, e.g. "runners.0.kind: Field required"."""
    problems = [
        f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg']}"
        for p in error.errors(include_url=False)
    ]
    rest = len(problems) - shown
    return "; ".join(problems[:shown]) + (f"; and {rest} more" if rest > 0 else "")
