"""Models whose right figures are known: an asynchronous one to time, and a classifier to score.

They stand in for a GPU's model when a check looks at a student's measuring code, so that the method
can be judged on any machine. They are not a simulation of a GPU and compute nothing.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class StoppedError(RuntimeError):
    """Raised where code goes on calling a fake model far beyond what it was asked for."""


@dataclass
class Call:
    """One call that a device was given; times in seconds of time.perf_counter.

    Attributes:
        token: says which input it got: a number for each object that was passed.
        images: the input's first dimension; 0 where it has no batch of images.
        entered: when the call was made.
        started: when its work began: at once, or after the work before it.
        done: when its work ends.
        waited: whether synchronize() was called before the next call.
        queued: whether other work was still under way when it was made.
    """

    token: int
    images: int
    entered: float
    started: float
    done: float
    waited: bool = False
    queued: bool = False

    @property
    def work_s(self) -> float:
        """Time from the start of the work to its end."""
        return self.done - self.started


class Device(Protocol):
    """What a model works on: in this process (LocalDevice) or beyond a socket (RemoteDevice)."""

    def call(self, token: int = 0, images: int = 0) -> None:
        """Put one call's work into the queue; raises StoppedError where that goes on too long."""

    def synchronize(self) -> None:
        """Return when all work is done."""


class LocalDevice:
    """A queue of work of known duration, and the clock that times it.

    Like a GPU's stream it does one piece of work after the other, and like a launch queue it holds
    only so many: one call more waits until there is room. Time is the machine's own. A sleep that
    the operating system ends late counts as work, so that the recorded times are true.

    Args:
        work_ms: how long each call's work takes; starts again at the end.
        slow_first_ms: how long the first calls' work takes before that, as on a cold GPU.
        depth: how many calls may be under way.
        limit_s: raise StoppedError after this time from the first call.
    """

    def __init__(
        self,
        work_ms: Sequence[float],
        slow_first_ms: Sequence[float] = (),
        depth: int = 1024,
        limit_s: float = math.inf,
    ) -> None:
        self.calls: list[Call] = []
        self.synchronized_at: list[float] = []
        self.stopped = False
        self._work_ms, self._slow_first_ms = list(work_ms), list(slow_first_ms)
        self._depth, self._limit_s = depth, limit_s

    def call(self, token: int = 0, images: int = 0) -> None:
        """See Device."""
        entered = time.perf_counter()
        self._stop_if_late(entered)
        if len(self.calls) >= self._depth:
            _sleep_until(self.calls[-self._depth].done)
            entered = time.perf_counter()
        free = self.calls[-1].done if self.calls else entered
        started = max(entered, free)
        done = started + self._next_s()
        self.calls.append(Call(token, images, entered, started, done, queued=free > entered))

    def synchronize(self) -> None:
        """See Device."""
        if self.calls:
            last = self.calls[-1]
            _sleep_until(last.done)
            if not last.waited:
                last.waited, last.done = True, max(last.done, time.perf_counter())
        self.synchronized_at.append(time.perf_counter())

    def _next_s(self) -> float:
        index = len(self.calls)
        cold = len(self._slow_first_ms)
        work = self._work_ms
        ms = self._slow_first_ms[index] if index < cold else work[(index - cold) % len(work)]
        return ms / 1e3

    def _stop_if_late(self, now: float) -> None:
        if self.calls and now - self.calls[0].entered > self._limit_s:
            self.stopped = True
            raise StoppedError(
                f"the model was still being called after {self._limit_s:g} s, so it was stopped"
            )


def _sleep_until(moment: float) -> None:
    remaining = moment - time.perf_counter()
    if remaining > 0:
        time.sleep(remaining)


class DeviceModel:
    """A callable that returns at once; its work takes time on a device.

    Args:
        device: that does the work.
        inputs: objects that have the first tokens, from 0.
    """

    def __init__(self, device: Device, inputs: Sequence[Any] = ()) -> None:
        self.device = device
        # They are kept, so that no later object can have the identity of one.
        self._inputs = {id(known): (token, known) for token, known in enumerate(inputs)}

    def __call__(self, inputs: Any = None) -> None:
        """Put one call's work into the device's queue."""
        token, _ = self._inputs.setdefault(id(inputs), (len(self._inputs), inputs))
        shape = tuple(getattr(inputs, "shape", ()))
        self.device.call(token, int(shape[0]) if len(shape) == 4 else 0)

    def synchronize(self) -> None:
        """Return when all work is done."""
        self.device.synchronize()


class AsynchronousModel(DeviceModel):
    """A DeviceModel whose device is in this process.

        model = AsynchronousModel([2.0])
        model(images)        # returns after microseconds
        model.synchronize()  # returns 2 ms after the call

    Args:
        work_ms: as of LocalDevice.
    """

    device: LocalDevice

    def __init__(self, work_ms: Sequence[float]) -> None:
        super().__init__(LocalDevice(work_ms))


class LookupClassifier(nn.Module):
    """A classifier that looks each image's logits up: an image holds its own number.

    In train mode it answers wrongly, as a network with dropout and batch norm may. NumPy in, NumPy
    out; tensors in, tensors out.

    Args:
        logits: (images, classes) float32, by image number.
    """

    def __init__(self, logits: NDArray[np.float32]) -> None:
        super().__init__()
        self.logits = logits
        self.calls_in_train_mode = 0

    def forward(self, images: Any) -> Any:
        """Return the logits (N, classes) of images (N, 3, H, W)."""
        numbers = np.asarray(images)[:, 0, 0, 0].astype(int)
        found = self.logits[numbers]
        if self.training:
            self.calls_in_train_mode += 1
            found = np.roll(found, 1, axis=1)
        return torch.from_numpy(found) if isinstance(images, torch.Tensor) else found


def numbered_loader(
    labels: Sequence[int], batch_sizes: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of images that hold their numbers, (N, 3, 8, 8), and their labels (N,)."""
    numbers = torch.arange(len(labels)).float().view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    sizes = list(batch_sizes)
    return list(
        zip(numbers.contiguous().split(sizes), torch.tensor(labels).split(sizes), strict=True)
    )
