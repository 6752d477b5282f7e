"""What the probes of lab 4 share: calls of a student's TensorRTInference, seen and then judged.

`call` makes one under a watch, in the student's process: it notes what the class asked of TensorRT
and CUDA, and writes what it returned to a file. `judged` is for whoever judges: it compares these
files with the logits that should be in them.
"""

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence4 import Call, CopyFacts, SeenCall
from trtlab.infer import TensorRTInference
from trtlab.lab.attempts import attempt
from trtlab.lab.exchange import read_array, write_array
from trtlab.lab.probe import Names, Scene
from trtlab.lab.quiet import quiet
from trtlab.lab.subjects import Logits, Subject
from trtlab.lab.watching import Step, Watch, discard, watch

NAME = "TensorRTInference"
MAX_RESULT_BYTES = 1 << 20
"""Of the array that a call returns: 32 images' logits of a thousand classes fill an eighth."""

_HEADER_BYTES = 4096  # more than that of any .npy file written here


class MadeCall(SeenCall):
    """A call whose result, if it is an array that can be compared, was saved to a file."""

    saved: bool = False


def result_file(made: Path, name: str, index: int) -> Path:
    """Return where the result of the call of that index is saved."""
    return made / f"{name}-{index}.npy"


def students_class(names: Names) -> type | None:
    """Return the class that the notebook defines; the library's own is not it."""
    found = names.get(NAME)
    own = inspect.isclass(found) and not issubclass(found, TensorRTInference)
    return found if own else None


# In the student's process


@contextmanager
def opened(student: type, engine: Path) -> Iterator[tuple[Attempt, Any, Watch]]:
    """Make an object under a watch, and do away with it in the end, whatever it can do."""
    with quiet(), watch() as seen:
        ran, model = attempt(NAME, partial(student, str(engine)))
        try:
            yield ran, model, seen
        finally:
            discard(model)


def call(model: Any, images: NDArray[Any], seen: Watch, result_to: Path) -> tuple[MadeCall, Any]:
    """Call `infer` on images; save what it returned, and return it with what was seen."""
    begin = len(seen.steps)
    seen.unfinished = False
    ran, result = attempt("infer", lambda: model.infer(images))
    steps = seen.steps[begin:]
    enqueues = [step for step in steps if step.kind == "enqueue"]
    largest = seen.largest_allocation
    made = MadeCall(
        error=error_of(ran),
        kind=_kind(result),
        shape=result.shape if isinstance(result, np.ndarray) else (),
        saved=_save(result, result_to),
        waited=not seen.unfinished,
        shape_set=any(step.kind == "set shape" for step in seen.steps),
        rows_run=tuple(step.rows for step in enqueues if step.accepted),
        rows_allocated=None if largest is None else largest // images[:1].nbytes,
        streams=tuple(step.stream or 0 for step in enqueues),
        allocations=dict(Counter(step.call for step in steps if step.kind == "allocate")),
        copies_in=_copies(steps, "copy in"),
        copies_out=_copies(steps, "copy out"),
    )
    return made, result


def error_of(ran: Attempt) -> str:
    """Return "ValueError: ..." for an attempt that did not come to its end, else ""."""
    return "" if ran.stage == "done" else ran.error or "NotImplementedError"


def _kind(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"{result.dtype} array"
    return "nothing" if result is None else f"a {type(result).__name__}"


def _save(result: Any, path: Path) -> bool:
    """Write an array of numbers, if it is one and not too large."""
    numbers = isinstance(result, np.ndarray) and result.dtype.kind in "biuf"
    if not numbers or result.nbytes > MAX_RESULT_BYTES:
        return False
    write_array(path, result)
    return True


def _copies(steps: list[Step], kind: str) -> tuple[CopyFacts, ...]:
    return tuple(
        CopyFacts(function=step.call, dtype=step.dtype, pinned=step.pinned, stream=step.stream)
        for step in steps
        if step.kind == kind
    )


# Where it is judged


def judged(
    calls: Sequence[MadeCall], subject: Subject, batches: Sequence[int], scene: Scene
) -> tuple[Call, ...]:
    """Compare what calls on the first of `batches` returned with what they should have.

    Raises:
        ExchangeError: if a result was saved, and its file is no array.
    """
    given = subject.images(scene.seed, batches)[: len(calls)]
    return tuple(
        _judged(
            made,
            result_of(made, result_file(scene.made, subject.name, index)),
            subject.logits(scene.seed, images, scene.bench),
        )
        for index, (made, images) in enumerate(zip(calls, given, strict=True))
    )


def result_of(made: MadeCall, path: Path) -> NDArray[Any] | None:
    """Return what a call returned; None if that is no array of numbers, or too large.

    Raises:
        ExchangeError: if it was saved, and the file is no array.
    """
    return read_array(path, MAX_RESULT_BYTES + _HEADER_BYTES) if made.saved else None


def _judged(made: MadeCall, result: NDArray[Any] | None, expected: Logits) -> Call:
    facts = made.model_dump(exclude={"saved"})
    finite, difference = False, None
    if result is not None:
        facts |= {"kind": _kind(result), "shape": result.shape}
        if result.dtype == np.float32 and result.shape == expected.shape:
            finite = bool(np.isfinite(result).all())
        if finite:
            error = np.abs(result.astype(np.float64) - expected).max()
            difference = float(error / np.abs(expected).max())
    return Call(
        batch=len(expected),
        expected_shape=expected.shape,
        finite=finite,
        difference=difference,
        **facts,
    )
