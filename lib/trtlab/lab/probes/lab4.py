"""The probes of lab 4: a student's TensorRTInference on engines and images from a secret seed.

The class is run in its own process, on the provided dynamic FP16 engine of the course and on a
small one made for this (subjects.py). Each call has images of its own; what it returned is compared
where the expected logits are known. How it asked for them, its memory and its clean-up can only be
seen where it runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.build import ShapeProfile
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence4 import (
    Answer,
    BatchesEvidence,
    CleanupEvidence,
    Outside,
    Refusal,
    RunningEvidence,
)
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, read_array, write_array
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes.lab4_calls import (
    NAME,
    MadeCall,
    call,
    error_of,
    judged,
    opened,
    result_file,
    result_of,
    students_class,
)
from trtlab.lab.probes.lab4_closing import ClosingObserved, observe_closing
from trtlab.lab.subjects import COURSE, OTHER, Images
from trtlab.lab.watching import Watch

_LAYOUTS: dict[str, Callable[[Images], NDArray[np.floating]]] = {
    "float64": lambda images: images.astype(np.float64),
    "Fortran order": np.asfortranarray,
    "transposed view": lambda images: np.ascontiguousarray(  # (N, H, W, C), seen as (N, C, H, W)
        images.transpose(0, 2, 3, 1)
    ).transpose(0, 3, 1, 2),
}
"""The same values in other arrays."""

RUNNING_BATCHES = (8, 3, 3, 3)
"""The second is smaller than the first. The layouts are those of all but the last, so that a call
which fails in silence, and leaves the last logits, does not look like a conversion."""

CHANGING_BATCHES = (1, 5, 32, 2)
"""Up and down again: a class that keeps the last shape, or the first, shows."""

OTHER_BATCHES = (4,)

_LAYOUT = "layout"
_AGAIN, _INPUT_AFTER = "course-0-again.npy", "course-1-input.npy"


def _not_written(calls: tuple[MadeCall, ...]) -> Attempt | None:
    """Return the attempt where `infer` is still to be written, else None."""
    if all(made.error.startswith("NotImplementedError") for made in calls):
        return Attempt(stage="not started", what=f"{NAME}.infer")
    return None


def _require_count(calls: tuple[MadeCall, ...], count: int) -> None:
    if len(calls) != count:
        raise ExchangeError(f"There are {len(calls)} calls where {count} were to be made.")


# Task 4.1


class RunningObserved(Observed):
    """Task 4.1: the calls, in the order of the batches; only one if the first raised."""

    course: tuple[MadeCall, ...] = ()
    layouts: tuple[MadeCall, ...] = ()
    other: MadeCall | None = None
    returned_buffer: bool = False
    refused_enqueue: Refusal = ""


@probe("4.1")
class Running(Probe[RunningObserved]):
    """Single calls on the course's engine and on another."""

    observed = RunningObserved

    def give(self, given: Path, seed: int) -> None:
        """See Probe."""
        COURSE.give(given, seed, RUNNING_BATCHES)
        OTHER.give(given, seed, OTHER_BATCHES)

    def run(self, names: Names, given: Path, made: Path) -> RunningObserved:
        """See Probe."""
        student = students_class(names)
        if student is None:
            return RunningObserved(attempt=missing(NAME))
        with opened(student, COURSE.engine(given)) as (ran, model, seen):
            observed = RunningObserved(attempt=ran)
            if ran.stage == "done":
                batches = COURSE.given_images(given, len(RUNNING_BATCHES))
                _run_course(model, batches, seen, made, observed)
        if observed.attempt.stage != "done":
            return observed
        (images,) = OTHER.given_images(given, len(OTHER_BATCHES))
        with opened(student, OTHER.engine(given)) as (ran, model, seen):
            if ran.stage == "done":
                observed.other, _ = call(model, images, seen, result_file(made, OTHER.name, 0))
            else:
                observed.other = MadeCall(error=f"{error_of(ran)} when it was made")
        return observed

    def evidence(self, observed: RunningObserved, scene: Scene) -> RunningEvidence:
        """See Probe."""
        calls, layouts, other = observed.course, observed.layouts, observed.other
        if observed.attempt.stage != "done":
            return RunningEvidence(attempt=observed.attempt)
        if not calls or other is None:
            raise ExchangeError("There are no calls of both engines.")
        came = not calls[0].error
        _require_count(calls, len(RUNNING_BATCHES) if came else 1)
        _require_count(layouts, len(_LAYOUTS) if came else 0)
        again = came and not calls[1].error
        return RunningEvidence(
            attempt=observed.attempt,
            course=judged(calls, COURSE, RUNNING_BATCHES, scene),
            other=judged([other], OTHER, OTHER_BATCHES, scene)[0],
            overwritten=_overwritten(calls[0], scene.made) if again else None,
            returned_buffer=observed.returned_buffer,
            input_changed=_input_changed(scene) if again else None,
            layouts=_answers(calls, layouts, scene.made),
            refused_enqueue=observed.refused_enqueue,
        )


def _run_course(
    model: Any, batches: list[Images], seen: Watch, made: Path, observed: RunningObserved
) -> None:
    """Run the calls on the course's engine, and fill in what was seen of them."""
    first, result = call(model, batches[0], seen, result_file(made, COURSE.name, 0))
    observed.course = (first,)
    observed.attempt = _not_written(observed.course) or observed.attempt
    if first.error:
        return
    observed.returned_buffer = seen.is_pinned(result)
    for index, images in enumerate(batches[1:], 1):
        given = images.copy()
        one, _ = call(model, given, seen, result_file(made, COURSE.name, index))
        observed.course += (one,)
        if index == 1:
            write_array(made / _INPUT_AFTER, given)
            if first.saved:
                write_array(made / _AGAIN, result)
    for index, (lay_out, images) in enumerate(zip(_LAYOUTS.values(), batches[:-1], strict=True)):
        one, _ = call(model, lay_out(images), seen, result_file(made, _LAYOUT, index))
        observed.layouts += (one,)
    observed.refused_enqueue = _refused_enqueue(model, batches[1], seen)


def _refused_enqueue(model: Any, images: Images, seen: Watch) -> Refusal:
    begin = len(seen.steps)
    seen.refuse_enqueues = True
    ran, _ = attempt("infer", lambda: model.infer(images.copy()))
    seen.refuse_enqueues = False
    if not any(step.kind == "enqueue" for step in seen.steps[begin:]):
        return ""
    return "returned" if ran.stage == "done" else "raised"


def _overwritten(first: MadeCall, made: Path) -> bool | None:
    """Say whether the first call's result was another one after the second."""
    result = result_of(first, result_file(made, COURSE.name, 0))
    return None if result is None else not _same(result, result_of(first, made / _AGAIN))


def _input_changed(scene: Scene) -> bool:
    images = COURSE.images(scene.seed, RUNNING_BATCHES)[1]
    return not np.array_equal(read_array(scene.made / _INPUT_AFTER, 2 * images.nbytes), images)


def _answers(
    plain: tuple[MadeCall, ...], layouts: tuple[MadeCall, ...], made: Path
) -> dict[str, Answer]:
    """Compare calls on other layouts with those on plain arrays of the same values."""
    answers: dict[str, Answer] = {}
    # There are none where the first call raised.
    for index, (what, one, other) in enumerate(zip(_LAYOUTS, plain, layouts, strict=False)):
        result = result_of(one, result_file(made, COURSE.name, index))
        if result is not None:
            same = _same(result, result_of(other, result_file(made, _LAYOUT, index)))
            answers[what] = "raised" if other.error else "same" if same else "different"
    return answers


def _same(one: NDArray[Any], other: NDArray[Any] | None) -> bool:
    """Say whether two results agree but for rounding; NaN agrees with NaN."""
    if other is None or one.shape != other.shape:
        return False
    values = one.astype(np.float64), other.astype(np.float64)
    return np.allclose(*values, rtol=1e-3, atol=1e-6, equal_nan=True)


# Task 4.2


class BatchesObserved(Observed):
    """Task 4.2.

    Attributes:
        calls: in the order of the batches.
        too_large: what a batch above the profile raised; "" for nothing.
        too_small: likewise below the other engine's; None if no object could be made of that.
    """

    calls: tuple[MadeCall, ...] = ()
    too_large: str = ""
    too_small: str | None = None


@probe("4.2")
class Batches(Probe[BatchesObserved]):
    """Changing batches, and some that the engines do not take."""

    observed = BatchesObserved

    def give(self, given: Path, seed: int) -> None:
        """See Probe."""
        COURSE.give(given, seed, CHANGING_BATCHES)
        OTHER.give(given, seed, OTHER_BATCHES)

    def run(self, names: Names, given: Path, made: Path) -> BatchesObserved:
        """See Probe."""
        student = students_class(names)
        if student is None:
            return BatchesObserved(attempt=missing(NAME))
        batches = COURSE.given_images(given, len(CHANGING_BATCHES))
        with opened(student, COURSE.engine(given)) as (ran, model, seen):
            if ran.stage != "done":
                return BatchesObserved(attempt=ran)
            calls = tuple(
                call(model, images, seen, result_file(made, COURSE.name, index))[0]
                for index, images in enumerate(batches)
            )
            if unwritten := _not_written(calls):
                return BatchesObserved(attempt=unwritten)
            too_many = np.concatenate(batches)[: COURSE.profile.max + 1]
            observed = BatchesObserved(
                attempt=ran, calls=calls, too_large=_error_of_call(model, too_many)
            )
        (images,) = OTHER.given_images(given, len(OTHER_BATCHES))
        with opened(student, OTHER.engine(given)) as (ran, model, _):
            if ran.stage == "done":  # else task 4.1 has said so
                _error_of_call(model, images)
                too_few = images[: OTHER.profile.min - 1]
                observed.too_small = _error_of_call(model, too_few)
        return observed

    def evidence(self, observed: BatchesObserved, scene: Scene) -> BatchesEvidence:
        """See Probe."""
        if observed.attempt.stage != "done":
            return BatchesEvidence(attempt=observed.attempt)
        _require_count(observed.calls, len(CHANGING_BATCHES))
        outside = [_outside(COURSE.profile, COURSE.profile.max + 1, observed.too_large)]
        if observed.too_small is not None:
            outside.append(_outside(OTHER.profile, OTHER.profile.min - 1, observed.too_small))
        return BatchesEvidence(
            attempt=observed.attempt,
            calls=judged(observed.calls, COURSE, CHANGING_BATCHES, scene),
            outside=tuple(outside),
        )


def _error_of_call(model: Any, images: Images) -> str:
    return error_of(attempt("infer", lambda: model.infer(images.copy()))[0])


def _outside(profile: ShapeProfile, batch: int, error: str) -> Outside:
    return Outside(batch=batch, profile=(profile.min, profile.max), error=error)


# Task 4.3


@probe("4.3")
class Cleanup(Probe[ClosingObserved]):
    """Closing, closing again, and `with`."""

    observed = ClosingObserved

    def give(self, given: Path, seed: int) -> None:
        """See Probe."""
        COURSE.give(given, seed, (1,))

    def run(self, names: Names, given: Path, made: Path) -> ClosingObserved:
        """See Probe."""
        student = students_class(names)
        if student is None:
            return ClosingObserved(attempt=missing(NAME))
        (images,) = COURSE.given_images(given, 1)
        return observe_closing(student, COURSE.engine(given), images)

    def evidence(self, observed: ClosingObserved, scene: Scene) -> CleanupEvidence:
        """See Probe."""
        return CleanupEvidence(**observed.model_dump())
