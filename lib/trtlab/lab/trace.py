"""Where the time of one call of `infer` goes: on the host by its clock, on the device by events."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.backend import cuda
from trtlab.lab.watching import Kind, Step, discard, watch

WARMUP = 3
OWN_CODE = "Python and NumPy"
_HOST_NAMES: dict[Kind, str] = {
    "allocate": "allocating",
    "set shape": "TensorRT and CUDA calls",
    "copy in": "TensorRT and CUDA calls",
    "copy out": "TensorRT and CUDA calls",
    "enqueue": "TensorRT and CUDA calls",
    "wait": "waiting",
}


@dataclass(frozen=True)
class Span:
    """Something that took time, in milliseconds since the call began."""

    what: str
    start: float
    end: float


@dataclass(frozen=True)
class CallTrace:
    """One call: what the host did, and what the device did. Copies that wait show on the host."""

    batch: int
    host: tuple[Span, ...]
    device: tuple[Span, ...]

    @property
    def total_ms(self) -> float:
        """Milliseconds from the call to its return."""
        return self.host[-1].end

    def time_in(self, what: str) -> float:
        """Return the milliseconds spent on something, on host and device together."""
        return sum(
            span.end - span.start for span in (*self.host, *self.device) if span.what == what
        )

    @property
    def copy_percent(self) -> float:
        """The copies' share of the device's time, in percent."""
        whole = sum(span.end - span.start for span in self.device)
        copies = self.time_in("copy in") + self.time_in("copy out")
        return 100 * copies / whole if whole else 0.0


def trace_call(
    student: type, engine_path: str | Path, images: NDArray[np.float32], calls: int = 20
) -> CallTrace:
    """Return the trace of the call that took the median time.

    Args:
        student: the class; an object is made for this and discarded.
        engine_path: of the engine.
        images: one batch, (N, C, H, W).
        calls: how many are traced, after a warm-up.
    """
    with watch() as seen:
        model = student(str(engine_path))
        try:
            for _ in range(WARMUP):
                model.infer(images)
            traces = []
            for _ in range(calls):
                begin = len(seen.steps)
                start = time.perf_counter()
                model.infer(images)
                end = time.perf_counter()
                traces.append(_trace(len(images), seen.steps[begin:], start, end))
        finally:
            discard(model)
    return sorted(traces, key=lambda trace: trace.total_ms)[len(traces) // 2]


def _trace(batch: int, steps: list[Step], start: float, end: float) -> CallTrace:
    host, at = [], start
    for step in steps:
        host += [Span(OWN_CODE, at, step.start), Span(_on_host(step), step.start, step.end)]
        at = step.end
    host.append(Span(OWN_CODE, at, end))
    device = _device_spans(steps)
    return CallTrace(batch, _since(start, host), _since(start, device))


def _on_host(step: Step) -> str:
    waits = step.kind in ("copy in", "copy out") and step.stream is None
    return step.kind if waits else _HOST_NAMES[step.kind]


def _device_spans(steps: list[Step]) -> list[Span]:
    """Return the copies by their events, and what lies between them, in seconds of the host."""
    # Both clocks meet here: the device is idle, so that the host sees this event when it happens.
    anchor = cuda.Event().record()
    anchor.synchronize()
    now = time.perf_counter()

    def when(event: Any) -> float:
        return now - float(anchor.time_since(event)) / 1e3

    spans = [
        Span(step.kind, when(step.events[0]), when(step.events[1]))
        for step in steps
        if step.events is not None
    ]
    ins = [span.end for span in spans if span.what == "copy in"]
    outs = [span.start for span in spans if span.what == "copy out"]
    if ins and outs:
        spans.append(Span("compute", max(ins), min(outs)))
    return sorted(spans, key=lambda span: span.start)


def _since(start: float, spans: list[Span]) -> tuple[Span, ...]:
    return tuple(Span(s.what, (s.start - start) * 1e3, (s.end - start) * 1e3) for s in spans)
