"""Streams and events of the emulated device: work is queued, and runs when something synchronises.

A GPU may run queued work at once or late; running it as late as allowed is what makes a missing
synchronisation visible. Streams are in order each, and independent of each other but for:

- events: `stream.wait_for_event(event)`;
- the legacy default stream (handle 0): its work waits for all earlier work of the blocking streams,
  and they wait for it. `Stream(1)` is non-blocking: it takes no part in this.

Source: CUDA Driver API, "Stream synchronization behavior".
Not for callers outside this folder: they use `cuda`.
"""

import itertools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from trtlab.backend.emulated.memory import (
    AddressError,
    Bytes,
    LaunchError,
    LogicError,
    RuntimeError,
)

LOCK = threading.RLock()
"""Guards all state of the emulated device; held while its work runs, as there is one device."""

NON_BLOCKING = 1
DISABLE_TIMING = 2

_MAX_PENDING = 64
# A full queue makes the caller wait on a GPU too. Here it also bounds the memory that copies from
# pageable arrays hold.


class Work:
    """One queued operation.

    `done` is set when it begins, for nobody can look while it runs; `finished` is the time in
    seconds at its end, None if it failed or was dropped.
    """

    def __init__(
        self, queue: "_Queue", run: Callable[[], None], after: "list[Work]", reads: Bytes | None
    ) -> None:
        self.queue = queue
        self.run = run
        self.after = after
        self.reads = reads
        self.done = False
        self.finished: float | None = None


class _Queue:
    """The pending work of one stream; it outlives its Stream object until the work is done."""

    def __init__(self, blocking: bool) -> None:
        self.blocking = blocking
        self.pending: deque[Work] = deque()


_DEFAULT = _Queue(blocking=True)
_queues: dict[int, _Queue] = {0: _DEFAULT}
_orphans: list[_Queue] = []
_handles = itertools.count(0x5500_0000_0100, 0x100)
_running = False


def _all_queues() -> list[_Queue]:
    return [*_queues.values(), *_orphans]


def enqueue(
    handle: int,
    run: Callable[[], None],
    *,
    after: Iterable[Work] = (),
    reads: Bytes | None = None,
    call: str = "launch",
) -> Work:
    """Queue `run` on the stream with that handle.

    `after` is work of other streams to wait for, `reads` the host memory that `run` will read.

    Raises:
        LogicError: if there is no such stream.
    """
    with LOCK:
        queue = _queues.get(handle)
        if queue is None:
            raise LogicError(
                f"{call} failed: invalid resource handle - no stream has the handle {handle:#x}. "
                "Keep the Stream object referenced for as long as its handle is used."
            )
        waits = list(after)
        if queue is _DEFAULT:
            others = [other for other in _all_queues() if other.blocking and other is not queue]
            waits += [other.pending[-1] for other in others if other.pending]
        elif queue.blocking and _DEFAULT.pending:
            waits.append(_DEFAULT.pending[-1])
        work = Work(queue, run, waits, reads)
        queue.pending.append(work)
        if len(queue.pending) > _MAX_PENDING:
            finish(queue.pending[0], call)
        return work


def finish(work: Work, call: str) -> None:
    """Run what is pending up to and including `work`; `call` names the CUDA call in errors.

    Raises:
        LogicError: if the work touched memory that it must not.
        LaunchError: if it failed otherwise.
    """
    with LOCK:
        while not work.done:
            head = work.queue.pending[0]
            for earlier in head.after:
                finish(earlier, call)
            work.queue.pending.popleft()
            _run(head, call)


def _run(work: Work, call: str) -> None:
    global _running
    work.done, work.after = True, []
    _running = True
    try:
        work.run()
        work.finished = time.perf_counter()
    except Exception as error:
        dropped = len(work.queue.pending)
        for later in work.queue.pending:
            later.done, later.after = True, []
        work.queue.pending.clear()
        fate = f"{error} ({dropped} later operations of its stream were dropped)"
        if isinstance(error, AddressError):
            raise LogicError(
                f"{call} failed: an illegal memory access was encountered - {fate}"
            ) from error
        raise LaunchError(f"{call} failed: unspecified launch failure - {fate}") from error
    finally:
        _running = False


def synchronize_device(call: str) -> None:
    """Run all pending work of all streams."""
    with LOCK:
        for queue in _all_queues():
            _drain(queue, call)
            if queue in _orphans:
                _orphans.remove(queue)


def synchronize_blocking(call: str) -> None:
    """Run all pending work that the legacy default stream waits for, its own included."""
    with LOCK:
        for queue in _all_queues():
            if queue.blocking:
                _drain(queue, call)


def _drain(queue: _Queue, call: str) -> None:
    if queue.pending:
        finish(queue.pending[-1], call)


def finish_readers(host: Bytes, call: str) -> None:
    """Run the pending work that has yet to read the host memory `host`."""
    with LOCK:
        for queue in _all_queues():
            for work in list(queue.pending):
                if work.reads is not None and np.may_share_memory(work.reads, host):
                    finish(work, call)


def is_idle() -> bool:
    """Say whether no work is pending or running."""
    return not _running and not any(queue.pending for queue in _all_queues())


def _destroy(handle: int) -> None:
    """Forget a stream's handle; what is pending on it will still run, as in CUDA."""
    queue = _queues.pop(handle)
    if queue.pending:
        _orphans.append(queue)


class Stream:
    """A queue of device work. `flags` 0 is a blocking stream, 1 a non-blocking one."""

    def __init__(self, flags: int = 0) -> None:
        self.handle = next(_handles)
        """The integer that TensorRT takes; valid while this object is referenced."""
        with LOCK:
            self._queue = _queues[self.handle] = _Queue(blocking=not flags & NON_BLOCKING)
        weakref.finalize(self, _destroy, self.handle).atexit = False

    def synchronize(self) -> None:
        """Wait until all work of this stream is done."""
        with LOCK:
            _drain(self._queue, "cuStreamSynchronize")

    def is_done(self) -> bool:
        """Say whether all work is done. A False runs it, so that polling ends, as on a GPU."""
        with LOCK:
            done = not self._queue.pending
            _drain(self._queue, "cuStreamQuery")
            return done

    def wait_for_event(self, event: "Event") -> None:
        """Let later work of this stream wait for the latest record of `event`."""
        with LOCK:
            after = [event._work] if event._work is not None else []
            enqueue(self.handle, lambda: None, after=after, call="cuStreamWaitEvent")


class Event:
    """A point in a stream that can be waited for and whose time is taken."""

    def __init__(self, flags: int = 0) -> None:
        self._timed = not flags & DISABLE_TIMING
        self._work: Work | None = None

    def record(self, stream: Stream | None = None) -> "Event":
        """Record this event after the work that `stream` (None: the default stream) has now."""
        with LOCK:
            handle = 0 if stream is None else stream.handle
            self._work = enqueue(handle, lambda: None, call="cuEventRecord")
        return self

    def synchronize(self) -> "Event":
        """Wait until the work before the latest record is done."""
        with LOCK:
            if self._work is not None:
                finish(self._work, "cuEventSynchronize")
        return self

    def query(self) -> bool:
        """Say whether that work is done. A False runs it, so that polling ends, as on a GPU."""
        with LOCK:
            done = self._work is None or self._work.done
            if self._work is not None:
                finish(self._work, "cuEventQuery")
            return done

    def time_since(self, start: "Event") -> float:
        """Return the milliseconds of wall clock from `start` to this event.

        Raises:
            LogicError: if one was not recorded, or made without timing.
            RuntimeError: if one has not happened yet.
        """
        with LOCK:
            seconds = []
            for event in (self, start):
                if event._work is None or not event._timed:
                    raise LogicError(
                        "cuEventElapsedTime failed: invalid resource handle - "
                        "record both events, made with timing, before asking for the time."
                    )
                if event._work.finished is None:
                    raise RuntimeError(
                        "cuEventElapsedTime failed: device not ready - "
                        "synchronize the later event before asking for the time."
                    )
                seconds.append(event._work.finished)
            return (seconds[0] - seconds[1]) * 1e3

    def time_till(self, end: "Event") -> float:
        """Return the milliseconds from this event to `end`; see time_since."""
        return end.time_since(self)
