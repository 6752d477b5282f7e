"""Evidence for lab 4 from the notebook: drives the student's TensorRTInference under a watch."""

import gc
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.backend import cuda
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence4 import (
    Answer,
    BatchesEvidence,
    Call,
    CleanupEvidence,
    CopyFacts,
    Outside,
    RunningEvidence,
)
from trtlab.infer import TensorRTInference
from trtlab.lab.session import Names, attempt, collector, missing
from trtlab.lab.subjects import Case, Subject, course_subject, other_subject
from trtlab.lab.watching import Step, Watch, discard, watch

NAME = "TensorRTInference"
BATCHES = (1, 5, 32, 2)
"""Up and down again: a class that keeps the last shape, or the first, shows."""

Make = Callable[[], Any]


@collector("4.1")
def collect_running(names: Names) -> RunningEvidence:
    """Run single calls on the course's engine and on another."""
    student = _students_class(names)
    if student is None:
        return RunningEvidence(attempt=missing(NAME))
    return probe_running(student, course_subject([8, 3]), other_subject([4]))


@collector("4.2")
def collect_batches(names: Names) -> BatchesEvidence:
    """Run changing batches, and some that the engines do not take."""
    student = _students_class(names)
    if student is None:
        return BatchesEvidence(attempt=missing(NAME))
    return probe_batches(student, course_subject(BATCHES), other_subject([4]))


@collector("4.3")
def collect_cleanup(names: Names) -> CleanupEvidence:
    """Close, close again, and use `with`."""
    student = _students_class(names)
    if student is None:
        return CleanupEvidence(attempt=missing(NAME))
    return probe_cleanup(student, course_subject([1]))


def _students_class(names: Names) -> type | None:
    """Return the class that the notebook defines; the library's own is not it."""
    found = names.get(NAME)
    own = inspect.isclass(found) and not issubclass(found, TensorRTInference)
    return found if own else None


def probe_running(student: type, course: Subject, other: Subject) -> RunningEvidence:
    """Return the evidence for task 4.1 on a class.

    Args:
        student: the class.
        course: with two cases.
        other: with one case.
    """
    with _open(student, course) as (ran, model, seen):
        if ran.stage != "done":
            return RunningEvidence(attempt=ran)
        one, two = course.cases
        first, result = _call(model, one, seen)
        if first.error.startswith("NotImplementedError"):
            return RunningEvidence(attempt=Attempt(stage="not started", what=f"{NAME}.infer"))
        given = two.images.copy()
        came = False
        kept = np.array(result, copy=True)
        if not first.error:
            again, _ = attempt("infer", partial(model.infer, given))
            came = again.stage == "done"
        evidence = RunningEvidence(
            attempt=ran,
            first=first,
            overwritten=not _same(result, kept) if came else None,
            returned_buffer=seen.is_pinned(result),
            input_changed=not np.array_equal(given, two.images) if came else None,
            layouts=_layouts(model, two.images) if came else {},
            refused_enqueue=_refused_enqueue(model, two.images, seen) if came else "",
        )
    with _open(student, other) as (ran, model, seen):
        if ran.stage == "done":
            evidence.other, _ = _call(model, other.cases[0], seen)
        else:
            error = f"{ran.error} when it was made"
            evidence.other = Call(batch=len(other.cases[0].images), error=error)
    return evidence


def probe_batches(student: type, course: Subject, other: Subject) -> BatchesEvidence:
    """Return the evidence for task 4.2 on a class.

    Args:
        student: the class.
        course: its cases are run in turn.
        other: its first case is run before batches that it does not take.
    """
    with _open(student, course) as (ran, model, seen):
        if ran.stage != "done":
            return BatchesEvidence(attempt=ran)
        calls = tuple(_call(model, case, seen)[0] for case in course.cases)
        if all(call.error.startswith("NotImplementedError") for call in calls):
            return BatchesEvidence(attempt=Attempt(stage="not started", what=f"{NAME}.infer"))
        outside = [_outside(model, course, course.largest + 1)]
    with _open(student, other) as (made, model, _):
        if made.stage == "done":  # else task 4.1 has said so
            attempt("infer", partial(model.infer, other.cases[0].images))
            outside.append(_outside(model, other, other.smallest - 1))
    return BatchesEvidence(attempt=ran, calls=calls, outside=tuple(outside))


def probe_cleanup(student: type, subject: Subject) -> CleanupEvidence:
    """Return the evidence for task 4.3 on a class; `subject` has one case."""
    images = subject.cases[0].images

    def use() -> Any:
        model = student(str(subject.engine))
        with suppress(Exception):  # what infer does wrong is said elsewhere
            model.infer(images)
        return model

    with _quiet():
        gc.collect()  # what earlier cells left must not be freed between two readings
        # The first use of a GPU loads kernels and makes pools that stay: it would look like a leak.
        discard(attempt(NAME, use)[1])
        evidence = _closing(use)
        if evidence.attempt.stage == "done":
            _with_blocks(student, subject, evidence)
    return evidence


def _closing(use: Make) -> CleanupEvidence:
    before = _free_bytes()
    with watch() as seen:
        ran, model = attempt(NAME, use)
        if ran.stage != "done":
            return CleanupEvidence(attempt=ran)
        taken = before - _free_bytes()
        ran, _ = attempt(f"{NAME}.close", lambda: model.close())
        evidence = CleanupEvidence(
            attempt=ran, taken_bytes=max(taken, 0), kept_bytes=max(before - _free_bytes(), 0)
        )
        if ran.stage == "done":
            evidence.alive = seen.alive()
            evidence.second_close = attempt("close", model.close)[0].error
        discard(model)
    return evidence


def _with_blocks(student: type, subject: Subject, evidence: CleanupEvidence) -> None:
    """Fill in what `with` does, in a block that ends and in one that raises."""
    inside: list[Any] = []  # keeps the object, so that only __exit__ can have freed anything

    def block(interrupt: bool) -> None:
        with student(str(subject.engine)) as model:
            inside.append(model)
            if interrupt:
                raise _InterruptionError

    before = _free_bytes()
    ran, _ = attempt("with", partial(block, False))
    evidence.with_error = ran.error or ("NotImplementedError" if ran.stage != "done" else "")
    evidence.with_gives_object = bool(inside) and isinstance(inside[0], student)
    evidence.with_kept_bytes = max(before - _free_bytes(), 0)
    discard(*inside)
    inside.clear()
    if evidence.with_error:
        return
    before = _free_bytes()
    ran, _ = attempt("with", partial(block, True))
    evidence.with_passes_errors_on = ran.error.startswith(_InterruptionError.__name__)
    evidence.with_kept_after_error = max(before - _free_bytes(), 0)
    discard(*inside)


class _InterruptionError(Exception):
    """What a block raises to see whether `with` closes all the same."""


# One call


def _call(model: Any, case: Case, seen: Watch) -> tuple[Call, Any]:
    """Call `infer` on a case; return the facts, and what it returned."""
    begin = len(seen.steps)
    seen.unfinished = False
    ran, result = attempt("infer", partial(model.infer, case.images.copy()))
    steps = seen.steps[begin:]
    error = ran.error or ("NotImplementedError" if ran.stage != "done" else "")
    facts = {} if error else _result_facts(result, case)
    largest = seen.largest_allocation
    call = Call(
        batch=len(case.images),
        error=error,
        expected_shape=case.expected.shape,
        waited=not seen.unfinished,
        shape_set=any(step.kind == "set shape" for step in seen.steps),
        rows_run=tuple(step.rows for step in steps if step.kind == "enqueue" and step.accepted),
        rows_allocated=None if largest is None else largest // case.images[0].nbytes,
        streams=tuple(step.stream or 0 for step in steps if step.kind == "enqueue"),
        allocations=dict(Counter(step.call for step in steps if step.kind == "allocate")),
        copies_in=_copies(steps, "copy in"),
        copies_out=_copies(steps, "copy out"),
        **facts,
    )
    return call, result


def _result_facts(result: Any, case: Case) -> dict[str, Any]:
    """Return kind, shape, finite and difference of what `infer` returned."""
    if not isinstance(result, np.ndarray):
        kind = "nothing" if result is None else f"a {type(result).__name__}"
        return {"kind": kind}
    facts = {"kind": f"{result.dtype} array", "shape": result.shape}
    if result.dtype.kind != "f" or result.shape != case.expected.shape:
        return facts
    finite = bool(np.isfinite(result).all())
    error = np.abs(result.astype(np.float64) - case.expected).max() / np.abs(case.expected).max()
    return {**facts, "finite": finite, "difference": float(error) if finite else None}


def _copies(steps: list[Step], kind: str) -> tuple[CopyFacts, ...]:
    return tuple(
        CopyFacts(function=step.call, dtype=step.dtype, pinned=step.pinned, stream=step.stream)
        for step in steps
        if step.kind == kind
    )


def _layouts(model: Any, images: NDArray[np.float32]) -> dict[str, Answer]:
    """Return what `infer` makes of the same values in other arrays."""
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))  # (N, H, W, C)
    variants = {
        "float64": images.astype(np.float64),
        "Fortran order": np.asfortranarray(images),
        "transposed view": channels_last.transpose(0, 3, 1, 2),  # (N, C, H, W) again
    }
    plain = np.array(model.infer(images.copy()), copy=True)
    answers: dict[str, Answer] = {}
    for what, variant in variants.items():
        ran, result = attempt("infer", partial(model.infer, variant))
        if ran.stage != "done":
            answers[what] = "raised"
        else:
            answers[what] = "same" if _same(result, plain) else "different"
    return answers


def _same(result: Any, other: NDArray[Any]) -> bool:
    """Say whether two results agree but for rounding; NaN agrees with NaN."""
    if other.dtype.kind != "f":
        return result is None and other[()] is None
    return np.shape(result) == other.shape and np.allclose(
        result, other, rtol=1e-3, atol=1e-6, equal_nan=True
    )


def _refused_enqueue(model: Any, images: NDArray[np.float32], seen: Watch) -> str:
    begin = len(seen.steps)
    seen.refuse_enqueues = True
    ran, _ = attempt("infer", partial(model.infer, images.copy()))
    seen.refuse_enqueues = False
    if not any(step.kind == "enqueue" for step in seen.steps[begin:]):
        return ""
    return "returned" if ran.stage == "done" else "raised"


def _outside(model: Any, subject: Subject, batch: int) -> Outside:
    ran, _ = attempt("infer", partial(model.infer, subject.images(batch, seed=batch)))
    error = "" if ran.stage == "done" else ran.error or "NotImplementedError"
    return Outside(batch=batch, profile=(subject.smallest, subject.largest), error=error)


# Objects and memory


@contextmanager
def _open(student: type, subject: Subject) -> Iterator[tuple[Attempt, Any, Watch]]:
    """Make an object under a watch, and do away with it in the end, whatever it can do."""
    with _quiet(), watch() as seen:
        ran, model = attempt(NAME, partial(student, str(subject.engine)))
        try:
            yield ran, model, seen
        finally:
            discard(model)


def _free_bytes() -> int:
    cuda.Context.synchronize()
    return int(cuda.mem_get_info()[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what TensorRT's logger prints: the probes provoke errors on purpose."""
    with redirect_stdout(StringIO()):
        yield
