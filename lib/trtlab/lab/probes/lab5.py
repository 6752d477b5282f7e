"""Probes 5.1 and 5.2: the student's measuring functions, on fake devices of secret speed.

The devices are served by whoever judges (device_link.py), so that the clock which the student's
figures are compared with is not in the student's process. Accuracy is lab5_accuracy.py's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.evidence5 import (
    LatencyEvidence,
    Statistic,
    ThroughputEvidence,
    ThroughputRun,
    TimedCall,
)
from trtlab.checks.registry import judge
from trtlab.checks.timing5 import STATISTICS
from trtlab.lab.attempts import attempt, missing, number_in
from trtlab.lab.device_link import DeviceLog, RemoteDevice, read_log, serve_devices
from trtlab.lab.exchange import ExchangeError, read_model, write_model
from trtlab.lab.fake_model import Call, DeviceModel, LocalDevice, StoppedError
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes import lab5_accuracy

__all__ = ["LatencyProbe", "ThroughputProbe", "lab5_accuracy"]

TRIES = 3
"""A machine that is busy for a moment must not cost points: the best try counts."""
QUEUE_DEPTH = 256
LATENCY_LIMIT_S = 20.0
TIMES_TOO_LONG = 6
"""A throughput benchmark is stopped after this many times the duration that it was asked for."""
ASKED = "asked.json"

E = TypeVar("E", bound=Evidence)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _best(task: str, tries: Iterable[E]) -> E:
    """Return the evidence that earns the most, the first of several."""
    return max(tries, key=lambda evidence: judge(task, evidence).points)


class LatencyAsked(_Record):
    """What `benchmark_latency` is called with, beside the model."""

    warmup: int
    iterations: int


class LatencyTry(_Record):
    """One call of `benchmark_latency`.

    Attributes:
        attempt: how far it got.
        returned: the type of what it returned; "" for a mapping, as it should be.
        reported: the finite numbers in it.
    """

    attempt: Attempt
    returned: str
    reported: dict[Statistic, float]


class LatencyObserved(Observed):
    """Calls of `benchmark_latency`, each on the next device."""

    tries: tuple[LatencyTry, ...] = ()


@probe("5.1")
class LatencyProbe(Probe[LatencyObserved]):
    """Let `benchmark_latency` time asynchronous models."""

    observed = LatencyObserved

    def give(self, given: Path, seed: int) -> None:
        """Write how many calls to time."""
        rng = np.random.default_rng(seed)
        warmup, iterations = int(rng.integers(5, 10)), int(rng.integers(101, 121))
        write_model(given / ASKED, LatencyAsked(warmup=warmup, iterations=iterations))

    def attend(self, given: Path, seed: int) -> AbstractContextManager[None]:
        """Serve a device for each try."""
        asked = read_model(given / ASKED, LatencyAsked)
        return serve_devices(given, [latency_device(asked, seed, i) for i in range(TRIES)])

    def run(self, names: Names, given: Path, made: Path) -> LatencyObserved:
        """Call the function on one device after the other."""
        if "benchmark_latency" not in names:
            return LatencyObserved(attempt=missing("benchmark_latency"))
        asked = read_model(given / ASKED, LatencyAsked)
        tries: list[LatencyTry] = []
        while len(tries) < TRIES and all(t.attempt.stage == "done" for t in tries):
            with RemoteDevice(given) as device:
                tries.append(_time(names["benchmark_latency"], device, asked))
        return LatencyObserved(attempt=tries[-1].attempt, tries=tuple(tries))

    def evidence(self, observed: LatencyObserved, scene: Scene) -> LatencyEvidence:
        """Set what was reported beside what the devices saw."""
        if observed.attempt.stage != "done":
            return LatencyEvidence(attempt=observed.attempt)
        asked = read_model(scene.given / ASKED, LatencyAsked)
        pairs = _paired(observed.tries, read_log(scene.given), TRIES)
        return _best("5.1", (_latency_evidence(asked, *pair) for pair in pairs))


def latency_device(asked: LatencyAsked, seed: int, number: int) -> LocalDevice:
    """Return the device of a try."""
    rng = np.random.default_rng([seed, number])
    slow_first = rng.uniform(36.0, 44.0, asked.warmup).tolist()
    return LocalDevice(
        skewed_times(asked.iterations, rng), slow_first, QUEUE_DEPTH, LATENCY_LIMIT_S
    )


def skewed_times(count: int, rng: np.random.Generator) -> list[float]:
    """Return work times in milliseconds with a tail, none of it where the tail would be sorted.

    The last ten are ordinary, so that no percentile can be read off without sorting. The tail has
    levels of equal values, so that of 101 to 120 times all definitions of p95 agree, and all of
    p99, though there is an outlier.
    """
    ordinary = rng.uniform(1.6, 2.4) * rng.uniform(1.0, 1.4, count - 21)
    tail = np.repeat([rng.uniform(5, 8), rng.uniform(11, 20), rng.uniform(28, 50)], [12, 6, 3])
    return [*rng.permutation([*ordinary[10:], *tail]).tolist(), *ordinary[:10].tolist()]


def _time(function: Callable[..., Any], device: RemoteDevice, asked: LatencyAsked) -> LatencyTry:
    images = np.zeros((1, 3, 224, 224), np.float32)
    model = DeviceModel(device, [images])
    ran, result = attempt(
        "benchmark_latency",
        lambda: function(
            model,
            images,
            num_iterations=asked.iterations,
            warmup=asked.warmup,
            synchronize=model.synchronize,
        ),
    )
    _, numbers = attempt("benchmark_latency", lambda: _numbers(result))  # a mapping of its own kind
    returned = "" if isinstance(result, Mapping) else type(result).__name__
    return LatencyTry(attempt=ran, returned=returned, reported=numbers or {})


def _numbers(result: Any) -> dict[Statistic, float]:
    if not isinstance(result, Mapping):
        return {}
    numbers = {key: number_in(result.get(key)) for key in STATISTICS}
    return {key: value for key, value in numbers.items() if value is not None}


def _paired(
    tries: tuple[Any, ...], logs: tuple[DeviceLog, ...], count: int
) -> list[tuple[Any, DeviceLog]]:
    """Return each of `count` tries with what its device saw.

    Raises:
        ExchangeError: if the kernel did not use one device for each try.
    """
    if not len(tries) == len(logs) == count:
        raise ExchangeError(
            f"the kernel reported {len(tries)} tries on {len(logs)} devices, instead of {count}"
        )
    return list(zip(tries, logs, strict=True))


def _latency_evidence(asked: LatencyAsked, reply: LatencyTry, log: DeviceLog) -> LatencyEvidence:
    absent = [key for key in STATISTICS if key not in reply.reported]
    complaint = f"no number under {', '.join(absent)}" if absent else ""
    return LatencyEvidence(
        attempt=reply.attempt,
        warmup=asked.warmup,
        iterations=asked.iterations,
        calls=tuple(
            TimedCall(
                work_ms=1e3 * call.work_s,
                waited=call.waited,
                queued=call.queued,
                given_input=call.token == 0,
                at_most_ms=0.0 if call.queued or call.token else 1e3 * (until - since),
            )
            for call, since, until in _with_silence(log)
        ),
        reported=dict(reply.reported),
        complaint=f"it returned {reply.returned}" if reply.returned else complaint,
    )


def _with_silence(log: DeviceLog) -> Iterator[tuple[Call, float, float]]:
    """Yield each call, when all work before it was done, and when the device was called next.

    A stopwatch ran within that time, however late the machine let the student's process go on.
    """
    if not log.calls:
        return
    since = log.calls[0].entered
    next_calls = [*(call.entered for call in log.calls[1:]), log.ended]
    for call, until in zip(log.calls, next_calls, strict=True):
        yield call, min(since, call.entered), until
        since = call.done


class ThroughputAsked(_Record):
    """What `benchmark_throughput` is called with, beside the model: once for each batch size."""

    batch_sizes: tuple[int, ...]
    duration_s: float


class ThroughputTry(_Record):
    """One call of `benchmark_throughput`: how far it got, and the finite number it returned."""

    attempt: Attempt
    reported: float | None


class ThroughputObserved(Observed):
    """Calls of `benchmark_throughput`, each on the next device: all batch sizes, then again."""

    runs: tuple[ThroughputTry, ...] = ()


@probe("5.2")
class ThroughputProbe(Probe[ThroughputObserved]):
    """Let `benchmark_throughput` time asynchronous models at two batch sizes."""

    observed = ThroughputObserved

    def give(self, given: Path, seed: int) -> None:
        """Write the batch sizes and for how long to run."""
        rng = np.random.default_rng(seed)
        sizes = (int(rng.integers(3, 6)), int(rng.integers(12, 17)))
        asked = ThroughputAsked(batch_sizes=sizes, duration_s=round(rng.uniform(0.25, 0.35), 2))
        write_model(given / ASKED, asked)

    def attend(self, given: Path, seed: int) -> AbstractContextManager[None]:
        """Serve a device for each batch size of each try."""
        asked = read_model(given / ASKED, ThroughputAsked)
        count = TRIES * len(asked.batch_sizes)
        return serve_devices(given, [throughput_device(asked, seed, i) for i in range(count)])

    def run(self, names: Names, given: Path, made: Path) -> ThroughputObserved:
        """Call the function on one device after the other."""
        if "benchmark_throughput" not in names:
            return ThroughputObserved(attempt=missing("benchmark_throughput"))
        asked = read_model(given / ASKED, ThroughputAsked)
        runs: list[ThroughputTry] = []
        for batch_size in TRIES * asked.batch_sizes:
            with RemoteDevice(given) as device:
                runs.append(
                    _run(names["benchmark_throughput"], device, batch_size, asked.duration_s)
                )
            if runs[-1].attempt.stage != "done":
                break
        return ThroughputObserved(attempt=runs[-1].attempt, runs=tuple(runs))

    def evidence(self, observed: ThroughputObserved, scene: Scene) -> ThroughputEvidence:
        """Set what was reported beside what the devices saw."""
        if observed.attempt.stage != "done":
            return ThroughputEvidence(attempt=observed.attempt)
        asked = read_model(scene.given / ASKED, ThroughputAsked)
        sizes = asked.batch_sizes
        pairs = _paired(observed.runs, read_log(scene.given), TRIES * len(sizes))
        runs = [
            throughput_run(sizes[i % len(sizes)], asked.duration_s, reply.reported, log)
            for i, (reply, log) in enumerate(pairs)
        ]
        tries = (runs[i : i + len(sizes)] for i in range(0, len(runs), len(sizes)))
        return _best(
            "5.2",
            (ThroughputEvidence(attempt=observed.attempt, runs=tuple(found)) for found in tries),
        )


def throughput_device(asked: ThroughputAsked, seed: int, number: int) -> LocalDevice:
    """Return the device of a run: the larger batches take longer."""
    larger = number % len(asked.batch_sizes)
    work_ms = np.random.default_rng([seed, number]).uniform(2.0, 3.0) * (1 + 0.5 * larger)
    limit_s = TIMES_TOO_LONG * asked.duration_s
    return LocalDevice([float(work_ms)], depth=QUEUE_DEPTH // 4, limit_s=limit_s)


def _run(
    function: Callable[..., Any], device: RemoteDevice, batch_size: int, duration_s: float
) -> ThroughputTry:
    model = DeviceModel(device)
    stopped = False

    def call() -> Any:
        nonlocal stopped
        try:
            return function(
                model, batch_size, duration_sec=duration_s, synchronize=model.synchronize
            )
        except StoppedError:  # that it had to be is judged by the device's log
            stopped = True
            return None

    ran, result = attempt("benchmark_throughput", call)
    return ThroughputTry(attempt=ran, reported=None if stopped else number_in(result))


def throughput_run(
    batch_size: int, duration_s: float, reported: float | None, log: DeviceLog
) -> ThroughputRun:
    """Return what became of a run, by the device's clock."""
    run = ThroughputRun(
        batch_size=batch_size, duration_s=duration_s, stopped=log.stopped, reported=reported
    )
    calls = log.calls
    if calls:
        run.calls = len(calls)
        run.images_per_call = calls[0].images or None
        run.unfinished = 0 if log.stopped else sum(call.done > log.ended for call in calls)
        run.busy_s = sum(call.work_s for call in calls)
        run.span_s = calls[-1].done - calls[0].entered
        run.elapsed_s = log.ended - calls[0].entered
        run.inputs = len({call.token for call in calls})
    return run
