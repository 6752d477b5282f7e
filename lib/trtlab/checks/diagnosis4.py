"""The misconceptions of lab 4, and which of them explains a wrong call or copy."""

from trtlab.checks.evidence4 import Call, CopyFacts
from trtlab.checks.misconceptions import misconception

DEFAULT_STREAMS = (0, 1)
"""Handles of the default stream: 0, and cudaStreamLegacy. Source: CUDA Driver API, CU_STREAM_*."""

NOT_WAITED = misconception(
    "missing-synchronise",
    "The result was read before it was there",
    "The asynchronous calls only queue work: they return in microseconds, and the copy to the host "
    "happens later. What you read from the buffer before waiting is what happened to be in it: the "
    "last call's logits on a GPU, NaN on the emulation.",
)
DEFAULT_STREAM = misconception(
    "default-stream",
    "The work was queued on the default stream",
    "Stream 0 waits for the work of every other stream, and they wait for it. One model on it "
    "brings everything else on that GPU into line, and TensorRT itself adds synchronisation there.",
)
RETURNED_BUFFER = misconception(
    "returned-buffer",
    "The caller was given the buffer itself",
    "The array you return is a view of the pinned buffer that the next call writes into. Whoever "
    "keeps two results finds the second one twice.",
)
ALLOCATED_PER_CALL = misconception(
    "allocation-per-call",
    "Memory was allocated in every call",
    "Allocating device or pinned memory costs from tens of microseconds to milliseconds and may "
    "wait for the whole GPU. An inference at batch 1 takes a few hundred microseconds.",
)
SHAPE_NOT_SET = misconception(
    "shape-not-set",
    "The context was never told the input's shape",
    "The engine's input is (-1, ...): each call has to say what -1 is this time. Until then "
    "TensorRT refuses to run, which it says by returning False.",
)
PADDED = misconception(
    "padded-to-maximum",
    "The engine ran at another batch than was given",
    "The shape that the context holds decides how many images are computed, not how many you "
    "copied. At the profile's maximum, a single image costs as much as all of them.",
)
IGNORED_REFUSAL = misconception(
    "ignored-refusal",
    "TensorRT said False, and nobody looked",
    "TensorRT does not raise. A refused shape or a refused enqueue leaves the buffers as they "
    "were, so that your method returns the logits of earlier images, at an impossible speed.",
)
WRONG_DTYPE = misconception(
    "wrong-dtype",
    "Bytes of another dtype were copied",
    "A copy moves bytes and converts nothing. NumPy's default is float64, with 8 bytes a value; "
    "the engine reads 4 at a time, and takes each half of a number for a number.",
)
MEMORY_ORDER = misconception(
    "memory-order",
    "Values were copied in the order they lie in memory",
    "A transposed or Fortran-ordered array has the right shape and its values in another order in "
    "memory. The engine reads rows of C order: (N, C, H, W), width fastest.",
)
BUFFERS_TOO_SMALL = misconception(
    "buffers-too-small",
    "The buffers are too small for the largest batch",
    "A profile has three shapes: min, opt and max. Everything up to max may be asked of the "
    "engine; on a GPU, writing past a smaller buffer may damage other data without any error.",
)
HARD_CODED = misconception(
    "hard-coded-engine",
    "Names or sizes of one engine are written into the class",
    "Your class works on the course's engine and fails on one with other tensor names, image "
    "sizes and classes. An engine tells all of that itself.",
)
PAGEABLE = misconception(
    "pageable-copies",
    "The copies are from or to ordinary memory",
    "The operating system may move ordinary (pageable) memory at any time, so CUDA copies it to a "
    "pinned buffer of its own first, and a copy you called asynchronous waits for that.",
)
SYNCHRONOUS = misconception(
    "synchronous-copies",
    "The copies make the host wait",
    "A copy without `_async` returns when it is done and runs on the default stream: the host "
    "stands still three times in a call, where once would do.",
)
NEVER_FREED = misconception(
    "never-freed",
    "The GPU's memory was kept after close()",
    "Whatever still references an allocation, a context or an engine keeps it on the GPU. A server "
    "that loads a second model next to a closed one then runs out of memory.",
)
FREED_TWICE = misconception(
    "freed-twice",
    "The same memory was freed twice",
    "An object is often closed more than once: by hand, by `with`, and by Python when it is "
    "collected. The second time there is nothing left to free, and CUDA says so with an error.",
)
SWALLOWED = misconception(
    "swallowed-exception",
    "`with` hid the exception raised in its block",
    "What `__exit__` returns decides the fate of an exception in the block: a true value makes it "
    "vanish, and the program goes on as if nothing had happened.",
)


def cause_of(call: Call) -> str | None:
    """Return the misconception that explains a wrong call best; None if none is evident."""
    copied = {copy.dtype for copy in (*call.copies_in, *call.copies_out)} - {""}
    if call.rows_allocated is not None and call.rows_allocated < call.batch:
        return BUFFERS_TOO_SMALL
    if not call.shape_set:
        return SHAPE_NOT_SET
    if any(rows != call.batch for rows in call.rows_run):
        return PADDED
    if copied - {"float32"}:
        return WRONG_DTYPE
    if not call.waited:
        return NOT_WAITED
    return None


def problem_of(copy: CopyFacts) -> tuple[str, str] | None:
    """Return what is wrong with a copy and its misconception; None if it is as it should be."""
    if copy.stream is None:
        return f"{copy.function} waits for the copy", SYNCHRONOUS
    if copy.stream in DEFAULT_STREAMS:
        return f"{copy.function} without a stream", DEFAULT_STREAM
    if not copy.pinned:
        return f"{copy.function} with pageable memory", PAGEABLE
    return None
