"""Measuring: latency, throughput, paired speed-ups, and a whole benchmark run.

The stopwatch runs from a NumPy array on the host to a NumPy array on the host, for PyTorch and
TensorRT alike. Results are typed records; tables and figures are made from them elsewhere.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trtlab.accuracy import Predict, accuracy_change, accuracy_stats, count_hits
from trtlab.errors import InferenceError, InputError
from trtlab.machine import machine_facts
from trtlab.memory import MIB, gpu_memory_mib
from trtlab.progress import track
from trtlab.results import (
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
from trtlab.stats import bootstrap_median, percentile
from trtlab.targets import judge

MIN_CALLS = 10
"""Calls that a time limit never cuts. Source: trtexec's default of --iterations."""


def measure_latency(
    fn: Callable[[], object], iterations: int, warmup: int, max_seconds: float | None = None
) -> LatencyStats:
    """Time `fn`, which must return only when its result is on the host.

    Args:
        fn: The call to time.
        iterations: Timed calls.
        warmup: Untimed calls before them: the first ones allocate, load kernels, raise the clocks.
        max_seconds: Stop early after this time, though not before 10 timed calls.
    """
    for _ in range(warmup):
        fn()
    rounds = _rounds(iterations, max_seconds)
    milliseconds = np.sort([_seconds(fn) * 1e3 for _ in rounds])  # (iterations,) ascending
    return LatencyStats(
        mean_ms=float(milliseconds.mean()),
        median_ms=float(np.median(milliseconds)),
        p95_ms=percentile(milliseconds, 95),
        p99_ms=percentile(milliseconds, 99),
        std_ms=float(milliseconds.std()),
        iterations=len(milliseconds),
        warmup=warmup,
    )


def measure_throughput(
    fn: Callable[[], object], batch_size: int, duration_s: float
) -> ThroughputStats:
    """Call `fn`, which handles `batch_size` images, back to back for `duration_s` seconds.

    One call at a time: work in flight on two streams would be faster, and a different figure.
    """
    start = time.perf_counter()
    calls, elapsed = 0, 0.0
    while elapsed < duration_s:
        fn()
        calls += 1
        elapsed = time.perf_counter() - start
    return ThroughputStats(
        images_per_s=calls * batch_size / elapsed,
        batch_size=batch_size,
        images=calls * batch_size,
        duration_s=elapsed,
    )


def compare_paired(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    pairs: int,
    warmup: int,
    seed: int = 0,
    max_seconds: float | None = None,
) -> PairedComparison:
    """Return how many times faster `candidate` is than `baseline`.

    The two are called in turn, so that clocks, temperature and neighbours weigh on both alike, in
    random order within each pair, so that neither always runs in the other's wake. The figure is
    the median of the pairs' time ratios, with its bootstrap interval.
    """
    for _ in range(warmup):
        baseline()
        candidate()
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in _rounds(pairs, max_seconds):
        if rng.random() < 0.5:
            before, after = _seconds(baseline), _seconds(candidate)
        else:
            after, before = _seconds(candidate), _seconds(baseline)
        ratios.append(before / after)
    speedup, low, high = bootstrap_median(np.array(ratios), seed)
    return PairedComparison(speedup=speedup, low=low, high=high, pairs=len(ratios))


def event_median_ms(fn: Callable[[], object], calls: int) -> float:
    """Time `fn` by CUDA events on the default stream; return the median in milliseconds.

    The second event waits for the work of every blocking stream. Where `fn` returns before its
    result is there, this figure is larger than the wall clock's.
    """
    from trtlab.backend import cuda

    times = []
    for _ in range(calls):
        start, end = cuda.Event(), cuda.Event()
        start.record()
        fn()
        end.record()
        end.synchronize()
        times.append(end.time_since(start))
    return float(np.median(times))


def _seconds(fn: Callable[[], object]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def _rounds(count: int, max_seconds: float | None) -> Iterator[int]:
    """Count to `count`, or less when the time is up, though to 10 in any case."""
    start = time.perf_counter()
    for done in range(count):
        late = max_seconds is not None and time.perf_counter() - start > max_seconds
        if late and done >= MIN_CALLS:
            return
        yield done


# A whole run


@dataclass(frozen=True)
class Runner:
    """One way to run the model.

    `open` makes it ready, e.g. `lambda: TensorRTInference(path)` or
    `lambda: torch_predictor(model, "cuda")`; what it returns is a context manager around a Predict.
    The benchmark opens runners one by one, to see how much GPU memory each adds.
    """

    kind: Literal["pytorch", "tensorrt"]
    precision: str
    open: Callable[[], AbstractContextManager[Predict]]
    max_batch: int | None = None
    sizes: Sizes = field(default_factory=Sizes)
    build_seconds: float | None = None


def benchmark_runners(
    runners: Mapping[str, Runner],
    loader: Iterable[tuple[Any, Any]] | None,
    workload: WorkloadFacts,
    settings: BenchmarkSettings | None = None,
    on_progress: Callable[[Results], object] | None = None,
) -> Results:
    """Measure every runner, compare TensorRT with PyTorch, and judge the course's targets.

    Args:
        runners: Name to runner, in the order of the tables.
        loader: The validation batches for accuracy, (images, labels); None to leave it out.
        workload: What is run; `input_shape` gives the shape of the random inputs that are timed.
        settings: How to measure.
        on_progress: Called after every step with the results so far, to save them.

    Raises:
        InputError: if there is nothing to measure, no baseline, or a batch size suits no runner.
        InferenceError: if memory runs out; and, as DataError, from `accuracy.count_hits`.
    """
    settings = settings or BenchmarkSettings()
    _check(runners, settings)
    machine = machine_facts()
    results = Results(
        emulated=machine.emulated,
        machine=machine,
        workload=workload,
        settings=settings,
        runners=[
            RunnerResult(
                name=name,
                kind=runner.kind,
                precision=runner.precision,
                sizes=runner.sizes,
                max_batch=runner.max_batch,
                build_seconds=runner.build_seconds,
            )
            for name, runner in runners.items()
        ],
    )
    save = on_progress or (lambda partial: None)
    with _memory_running_out(settings), ExitStack() as stack:
        opened = {}
        for entry in results.runners:
            opened[entry.name] = _open(runners[entry.name], entry, results, stack)
        _time_each(results, opened, save)
        # Read again now: idle clocks and temperature say little about a measurement.
        results.machine = machine_facts()
        if not results.emulated:
            _compare(results, opened, save)
        if loader is not None:
            _evaluate(results, opened, loader)
    results.targets = judge(results)
    results.complete = True
    save(results)
    return results


def _check(runners: Mapping[str, Runner], settings: BenchmarkSettings) -> None:
    smallest = min(settings.batch_sizes)
    for name, runner in runners.items():
        if runner.max_batch is not None and runner.max_batch < smallest:
            raise InputError(
                f"{name} takes batches of at most {runner.max_batch}, and the smallest batch to "
                f"measure is {smallest}. Choose smaller batch sizes, or build a larger profile."
            )
    if any(r.kind == "pytorch" for r in runners.values()) and settings.baseline not in runners:
        raise InputError(
            f"The baseline {settings.baseline!r} is not among the runners: {', '.join(runners)}."
        )
    if not runners:
        raise InputError("There is nothing to benchmark: no runners were given.")


@contextmanager
def _memory_running_out(settings: BenchmarkSettings) -> Iterator[None]:
    """Raise an InferenceError where the block runs out of memory, the GPU's or the host's."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not known and "DefaultCPUAllocator" not in str(error):  # on the CPU no type of its own
            raise
        raise InferenceError(
            f"Memory ran out while measuring batches of up to {max(settings.batch_sizes)}. Choose "
            f"smaller batch sizes, or close what else takes memory. {error}"
        ) from error


@dataclass(frozen=True)
class _Opened:
    """A runner made ready: the smallest batch that it takes, and the batches to time it at."""

    predict: Predict
    min_batch: int
    batch_sizes: list[int]


def _open(runner: Runner, entry: RunnerResult, results: Results, stack: ExitStack) -> _Opened:
    """Make a runner ready and note the GPU memory that it and its largest batch took."""
    torch.cuda.empty_cache()  # else this runner would fill memory counted to the one before it
    before = gpu_memory_mib()
    predict = stack.enter_context(runner.open())
    wanted, smallest = results.settings.batch_sizes, _min_batch(predict)
    sizes = [size for size in wanted if smallest <= size <= (runner.max_batch or size)]
    if not sizes:
        raise InputError(
            f"{entry.name} takes batches of {smallest} to {runner.max_batch}, and those to measure "
            f"are {', '.join(map(str, wanted))}. Choose a batch size that it takes, or build "
            "another profile."
        )
    shape, seed = results.workload.input_shape, results.settings.seed
    predict(random_inputs(shape, max(sizes), seed, count=1)[0])
    after = gpu_memory_mib()
    if before is not None and after is not None and not results.emulated:
        entry.gpu_memory_mib = max(after - before, 0.0)
    return _Opened(predict, smallest, sizes)


def _min_batch(predict: Predict) -> int:
    """Return the smallest batch that an opened runner takes: an engine may ask for several."""
    from trtlab.infer import TensorRTInference  # imports TensorRT, which makes a CUDA context
    from trtlab.tensors import smallest_batch

    if not isinstance(predict, TensorRTInference):
        return 1
    return smallest_batch(predict.inputs, predict.profile)


def _time_each(
    results: Results, opened: Mapping[str, _Opened], save: Callable[[Results], object]
) -> None:
    settings = results.settings
    steps = [(e, size) for e in results.runners for size in opened[e.name].batch_sizes]
    for entry, batch_size in track(steps, "Latency and throughput"):
        inputs = random_inputs(results.workload.input_shape, batch_size, settings.seed)
        fn = rotating(opened[entry.name].predict, inputs)
        latency = measure_latency(fn, settings.iterations, settings.warmup, settings.max_seconds)
        if not results.emulated:
            latency.events_median_ms = event_median_ms(fn, min(settings.iterations, 50))
        throughput = measure_throughput(fn, batch_size, settings.throughput_s)
        entry.batches.append(
            BatchResult(batch_size=batch_size, latency=latency, throughput=throughput)
        )
        save(results)


def _compare(
    results: Results, opened: Mapping[str, _Opened], save: Callable[[Results], object]
) -> None:
    settings = results.settings
    steps = [
        (candidate.name, baseline.name, size)
        for candidate in results.runners
        if candidate.kind == "tensorrt"
        for baseline in results.runners
        if baseline.kind == "pytorch"
        for size in opened[candidate.name].batch_sizes
    ]
    for candidate_name, baseline_name, batch_size in track(steps, "Paired speed-ups"):
        inputs = random_inputs(results.workload.input_shape, batch_size, settings.seed)
        speedup = compare_paired(
            rotating(opened[baseline_name].predict, inputs),
            rotating(opened[candidate_name].predict, inputs),
            settings.pairs,
            settings.warmup,
            settings.seed,
            settings.max_seconds,
        )
        results.comparisons.append(
            Comparison(
                runner=candidate_name,
                baseline=baseline_name,
                batch_size=batch_size,
                speedup=speedup,
            )
        )
        save(results)


def _evaluate(
    results: Results, opened: Mapping[str, _Opened], loader: Iterable[tuple[Any, Any]]
) -> None:
    from trtlab.tensors import in_chunks

    chunked = {
        e.name: in_chunks(opened[e.name].predict, opened[e.name].min_batch, e.max_batch)
        for e in results.runners
    }
    total = len(loader) if isinstance(loader, Sized) else None
    hits = count_hits(chunked, track(loader, "Accuracy", total))
    baseline = hits.get(results.settings.baseline)
    for entry in results.runners:
        entry.accuracy = accuracy_stats(hits[entry.name])
        if baseline is not None and entry.name != results.settings.baseline:
            entry.accuracy_change = accuracy_change(baseline, hits[entry.name])


def random_inputs(
    shape: tuple[int, ...], batch_size: int, seed: int, count: int = 8
) -> list[NDArray[np.float32]]:
    """Return `count` different (batch_size, *shape) float32 arrays, or 256 MiB and at least two.

    Timed calls rotate through them, so that no cache in the runner can answer for the model.

    Raises:
        InputError: if the machine has too little memory for them.
    """
    one = batch_size * int(np.prod(shape)) * 4
    rng = np.random.default_rng(seed)
    try:
        return [
            rng.standard_normal((batch_size, *shape), dtype=np.float32)
            for _ in range(min(count, max(2, 256 * MIB // one)))
        ]
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        raise InputError(
            f"The random inputs of a batch of {batch_size} take {one // MIB} MiB each, for which "
            "there is too little memory. Choose smaller batch sizes."
        ) from error


def rotating(predict: Predict, inputs: list[NDArray[np.float32]]) -> Callable[[], object]:
    """Return a function that runs `predict` on the next of `inputs` at every call."""
    rotation = itertools.cycle(inputs)
    return lambda: predict(next(rotation))
