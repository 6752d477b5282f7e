"""How a batch gets through pinned memory: copied by the GPU, or read where it lies; in what pieces.

A GPU can read and write pinned memory over the bus, which saves the copies to and from its own. An
engine that reads its input more than once then fetches it more than once. Where the GPU copies, it
may begin with the first piece while the processor copies the next; each piece costs something too.

All ways run the same engine and have to give the same answers to the bit. They take turns.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speed.floor import bare_call
from speed.latency import summary
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.timing import call_times_ms
from trtlab.backend import device_context
from trtlab.benchmark import compare_paired, random_inputs, rotating
from trtlab.engines import load_engine
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.slot import PIECE_BYTES, Slot
from trtlab.spec import Precision
from trtlab.tensors import Array, Shape

BATCHES = (1, 8, 32, 128)
ROUNDS = (3, 1)  # at full length, and where only the scripts are tried
CALLS = (300, 5)
PAIRS = (300, 5)
WARMUP = 20
MAX_SECONDS = 0.5


@dataclass(frozen=True)
class Way:
    """How inputs and outputs go; by default as in Slot: copied, in its pieces."""

    name: str
    inputs_in_place: bool = False
    outputs_in_place: bool = False
    piece_bytes: int = PIECE_BYTES


WAYS = (
    Way("copied"),
    Way("pieces of 16 MiB", piece_bytes=16 << 20),
    Way("one piece", piece_bytes=1 << 30),
    Way("outputs in place", outputs_in_place=True),
    Way("both in place", inputs_in_place=True, outputs_in_place=True),
)


class WaySlot(Slot):
    """A slot whose tensors go another way."""

    def __init__(self, engine: Any, way: Way, **options: Any) -> None:
        self._way = way
        self._PIECE_BYTES = way.piece_bytes
        super().__init__(engine, **options)

    def _allocate(self) -> None:
        super()._allocate()
        in_place = list(self.inputs) * self._way.inputs_in_place
        for name in in_place + list(self.outputs) * self._way.outputs_in_place:
            address = self._buffers[name].host.ctypes.data  # the same for processor and GPU
            if not self._context.set_tensor_address(name, address):
                raise ValueError(f"TensorRT does not take pinned memory for {name}")

    def _enqueue(self, shapes: Mapping[str, Shape]) -> None:
        if self._way.inputs_in_place:
            self._execute(shapes)
        else:
            super()._enqueue(shapes)

    def _execute(self, shapes: Mapping[str, Shape]) -> None:
        if not self._way.outputs_in_place:
            super()._execute(shapes)
        elif not self._context.execute_async_v3(self._stream.handle):
            raise ValueError("TensorRT does not run")

    def _send(self, name: str, array: Array) -> None:
        if self._way.inputs_in_place:
            torch.from_numpy(self._call.inputs[name]).copy_(torch.from_numpy(array))
        else:
            super()._send(name, array)


class WayInference(FastInference):
    """FastInference with such slots."""

    def __init__(self, engine: Any, way: Way) -> None:
        self._way = way
        super().__init__(engine)

    def _new_slot(self) -> Slot:
        return WaySlot(self._engine, self._way, profile=self._profile, graphs=self._graphs)


def measure(rig: Rig) -> dict[str, Any]:
    """Return the latency of each way at each batch, of whole calls and of a filled slot's."""
    if rig.emulated:
        return NEEDS_GPU
    engine = load_engine(rig.engine(Precision.FP16, STANDARD))
    rows = []
    for batch in track(rig.count(BATCHES, (1,)), "pinned memory"):
        with ExitStack() as stack:
            runners = {way.name: stack.enter_context(WayInference(engine, way)) for way in WAYS}
            rows += _rows(rig, runners, random_inputs(rig.workload.input_shape, batch, seed=0))
    return {"precision": "fp16", "rows": rows}


def _rows(
    rig: Rig, runners: Mapping[str, FastInference], inputs: list[NDArray[np.float32]]
) -> list[dict[str, Any]]:
    batch = len(inputs[0])
    expected = runners[WAYS[0].name].infer(inputs[1])
    for runner in runners.values():
        for _ in range(2):  # the first call records a graph, the second one launches it
            np.testing.assert_array_equal(runner.infer(inputs[1]), expected)
    times: dict[tuple[str, str], list[float]] = {}

    def time_calls(name: str, what: str, call: Callable[[], object]) -> None:
        found = call_times_ms(call, rig.count(*CALLS), WARMUP, MAX_SECONDS)
        times.setdefault((name, what), []).extend(found)

    with device_context():
        for _ in range(rig.count(*ROUNDS)):
            for name, runner in runners.items():
                time_calls(name, "call", rotating(runner.infer, inputs))
                with runner.slot(batch) as slot:
                    slot.input[...] = inputs[0]
                    time_calls(name, "filled slot", slot.run)
        above = {}
        with runners[WAYS[0].name].slot(batch) as slot, bare_call(slot, batch) as floor:
            for name, runner in runners.items():
                above[name] = compare_paired(
                    rotating(runner.infer, inputs),
                    floor,
                    rig.count(*PAIRS),
                    WARMUP,
                    max_seconds=4 * MAX_SECONDS,
                ).model_dump()
    return [
        {
            "batch": batch,
            "way": name,
            "call": summary(times[name, "call"]),
            "filled slot": summary(times[name, "filled slot"]),
            "over_floor": above[name],
        }
        for name in runners
    ]
