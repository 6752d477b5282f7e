"""Checks of lab 4: the inference class - its answers, its batches and streams, its clean-up."""

from collections.abc import Iterable

from trtlab.checks.diagnosis4 import (
    ALLOCATED_PER_CALL,
    DEFAULT_STREAM,
    DEFAULT_STREAMS,
    FREED_TWICE,
    HARD_CODED,
    IGNORED_REFUSAL,
    MEMORY_ORDER,
    NEVER_FREED,
    PADDED,
    RETURNED_BUFFER,
    SWALLOWED,
    WRONG_DTYPE,
    cause_of,
    problem_of,
)
from trtlab.checks.evidence4 import (
    BatchesEvidence,
    Call,
    CleanupEvidence,
    RunningEvidence,
)
from trtlab.checks.findings import expect
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.thresholds import THRESHOLDS

_REFUSED = {
    "raised": "an exception",
    "returned": "logits were returned all the same",
    "": "no enqueue came so far",
}


# Task 4.1


@check("4.1")
def running(evidence: RunningEvidence) -> list[Finding]:
    """Judge single calls: right, on any engine, owned, for any array, and refusals noticed."""
    assert evidence.course
    assert evidence.other is not None
    return [
        _agreement("logits of the course's engine", 1.5, evidence.course),
        _agreement(
            "logits of another engine",
            1.0,
            [evidence.other],
            otherwise=HARD_CODED if all(map(_is_right, evidence.course)) else None,
        ),
        _ownership(evidence),
        _inputs(evidence),
        expect(
            "a refused enqueue is noticed",
            evidence.refused_enqueue == "raised",
            0.5,
            measured=_REFUSED[evidence.refused_enqueue],
            required="an exception, when TensorRT answers False",
            next_step="Look at what the enqueue returns, and raise with a message of your own."
            if evidence.refused_enqueue
            else "First let a call run to its end.",
            misconception=IGNORED_REFUSAL if evidence.refused_enqueue == "returned" else None,
        ),
    ]


def _ownership(evidence: RunningEvidence) -> Finding:
    owned = evidence.overwritten is False and not evidence.returned_buffer
    if evidence.overwritten is None:
        measured = "no two results to compare"
    elif evidence.overwritten:
        measured = "the second call changed the first call's result"
    elif evidence.returned_buffer:
        measured = "the result lies in the class's own pinned buffer"
    else:
        measured = "the first result is unchanged after a second call"
    return expect(
        "results are the caller's own",
        owned,
        0.5,
        measured=measured,
        required="an array that later calls do not touch",
        next_step="Return a copy of the part of the buffer that belongs to this call."
        if evidence.overwritten is not None
        else "First let two calls run to their end.",
        misconception=None if evidence.overwritten is None else RETURNED_BUFFER,
    )


def _inputs(evidence: RunningEvidence) -> Finding:
    wrong = [what for what, answer in evidence.layouts.items() if answer == "different"]
    problems = [f"other logits for the same values as {what}" for what in wrong]
    problems += ["the given array was changed"] * bool(evidence.input_changed)
    cause = WRONG_DTYPE if "float64" in wrong else MEMORY_ORDER if wrong else None
    if not all(map(_is_right, evidence.course)):
        cause = None  # what is wrong on plain arrays too has another one
    came = evidence.input_changed is not None and bool(evidence.layouts)
    if not came:
        problems = ["no call came to its end with an array"]
    return expect(
        "inputs: converted or refused, never misread",
        not problems,
        0.5,
        measured="; ".join(problems)
        or ", ".join(f"{what}: {answer}" for what, answer in evidence.layouts.items()),
        required="the same logits or an exception, and the array unchanged",
        next_step="Let NumPy assign the values to your pinned buffer: it converts and reorders."
        if came
        else "First let a call return its logits.",
        misconception=cause,
    )


# Task 4.2


@check("4.2")
def batches(evidence: BatchesEvidence) -> list[Finding]:
    """Judge a sequence of calls: each batch right, at its own size, and nothing allocated."""
    calls = evidence.calls
    sizes = ", ".join(str(call.batch) for call in calls)
    came = bool(calls) and not any(call.error for call in calls)
    padded = [call for call in calls if any(rows != call.batch for rows in call.rows_run)]
    allocations = {name: n for call in calls for name, n in call.allocations.items()}
    streams = sorted({handle for call in calls for handle in call.streams})
    on_default = [handle for handle in streams if handle in DEFAULT_STREAMS]
    return [
        _agreement(f"logits at batches {sizes}, in turn", 0.75, calls),
        expect(
            "each call runs at its own batch",
            came and not padded,
            0.25,
            measured=f"batch {padded[0].batch} ran as a batch of {padded[0].rows_run[0]}"
            if padded
            else _if_came(came, f"batches {sizes} ran as such"),
            required="as many rows computed as given",
            next_step="Set the input's shape to that of this call's array, in every call.",
            misconception=PADDED if padded else None,
        ),
        _outside(evidence),
        expect(
            "nothing is allocated in a call",
            came and not allocations,
            0.25,
            measured="a call used " + ", ".join(f"{name} ({n}x)" for name, n in allocations.items())
            if allocations
            else _if_came(came, "no allocation"),
            required="all memory allocated before the first call",
            next_step="Allocate in allocate_buffers, at the profile's largest shapes, and use a "
            "part of the buffers in each call.",
            misconception=ALLOCATED_PER_CALL if allocations else None,
        ),
        expect(
            "the engine runs on a stream of its own",
            came and not on_default,
            0.25,
            measured="the default stream"
            if on_default
            else _if_came(came, f"stream {', '.join(map(hex, streams))}"),
            required="a stream that you made",
            next_step="Make one cuda.Stream in __init__ and give its handle to the enqueue.",
            misconception=DEFAULT_STREAM if on_default else None,
        ),
        _copies(calls, came),
    ]


def _if_came(came: bool, measured: str) -> str:
    return measured if came else "not every call came to its end"


def _outside(evidence: BatchesEvidence) -> Finding:
    silent = [outside for outside in evidence.outside if not outside.error]
    # A class that raises whatever it is given has not noticed anything.
    able = any(not call.error for call in evidence.calls)
    shown = silent[:1] or evidence.outside
    return expect(
        "a batch outside the profile raises",
        able and not silent,
        0.25,
        measured="; ".join(
            f"batch {one.batch} where {one.profile[0]} to {one.profile[1]} are allowed: "
            + (f"raised {one.error}" if one.error else "logits were returned")
            for one in shown
        ),
        required="an exception that says so",
        next_step="set_input_shape returns False for a shape it cannot take: raise then.",
        misconception=IGNORED_REFUSAL if silent else None,
    )


def _copies(calls: Iterable[Call], came: bool) -> Finding:
    copies = [copy for call in calls for copy in (*call.copies_in, *call.copies_out)]
    problem, cause = next(filter(None, map(problem_of, copies)), ("", None))
    return expect(
        "copies are asynchronous, on that stream, from and to pinned memory",
        came and bool(copies) and not problem,
        0.25,
        measured=problem or _if_came(came, f"{len(copies)} copies, all so"),
        required="memcpy_..._async with a stream, on memory of pagelocked_empty",
        next_step="Copy between the pinned buffers of allocate_buffers and the device, and give "
        "each copy the stream.",
        misconception=cause,
    )


# Task 4.3


@check("4.3")
def cleanup(evidence: CleanupEvidence) -> list[Finding]:
    """Judge closing: memory given back, harmless when repeated, and done by `with`."""
    allowed = THRESHOLDS.leak_share * evidence.taken_bytes
    used = evidence.taken_bytes > 0
    kept = evidence.kept_bytes > allowed
    problems = []
    if evidence.with_error:
        problems.append(f"`with` raised {evidence.with_error}")
    else:
        if not evidence.with_gives_object:
            problems.append("`with ... as model` did not give the object")
        if evidence.with_kept_bytes > allowed:
            problems.append(f"{_mib(evidence.with_kept_bytes)} kept after the block")
        if evidence.with_kept_after_error > allowed:
            problems.append(f"{_mib(evidence.with_kept_after_error)} kept after one that raised")
        if not evidence.with_passes_errors_on:
            problems.append("an exception in the block vanished")
    swallowed = not evidence.with_error and not evidence.with_passes_errors_on
    unclosed = max(evidence.with_kept_bytes, evidence.with_kept_after_error) > allowed
    return [
        expect(
            "close() gives the memory back",
            used and not kept and not evidence.alive,
            0.5,
            measured=f"{_mib(evidence.kept_bytes)} of {_mib(evidence.taken_bytes)} kept"
            + (f", and the {' and '.join(evidence.alive)}" if evidence.alive else "")
            if used
            else "the object took no device memory, so that there is none to give back",
            required="no device memory, no context and no engine left",
            next_step="Free every allocation, and let go of context and engine, the context first."
            if used
            else "First let the object allocate its buffers.",
            misconception=NEVER_FREED if used else None,
        ),
        expect(
            "closing twice is harmless",
            not evidence.second_close,
            0.25,
            measured=f"the second time raised {evidence.second_close}"
            if evidence.second_close
            else "no exception",
            required="no exception",
            next_step="Forget what you have freed, so that a second close() finds nothing to do.",
            misconception=FREED_TWICE,
        ),
        expect(
            "`with` closes, also after an exception",
            not problems,
            0.25,
            measured="; ".join(problems) or "closed, and the exception came out",
            required="the object inside, everything freed after, exceptions passed on",
            next_step="__enter__ returns self; __exit__ closes and returns nothing.",
            misconception=NEVER_FREED if unclosed else SWALLOWED if swallowed else None,
        ),
    ]


# Agreement with the reference


def _agreement(
    criterion: str, points: float, calls: Iterable[Call], otherwise: str | None = None
) -> Finding:
    """Return the finding on calls that must give the reference's logits.

    It tells of the first that does not; `otherwise` is the likely misconception where the call
    itself shows none.
    """
    calls = list(calls)
    tolerance = THRESHOLDS.same_engine_tolerance
    wrong = next((call for call in calls if not _is_right(call)), None)
    worst = max((call.difference or 0 for call in calls), default=0)
    shape = wrong.expected_shape if wrong else calls[-1].expected_shape
    return expect(
        criterion,
        wrong is None,
        points,
        measured=f"largest difference {worst:.1g} of the largest logit"
        if wrong is None
        else _complaint(wrong),
        required=f"float32 {shape}, within {tolerance:g} of the reference"
        if wrong
        else f"within {tolerance:g}",
        next_step=_advice(wrong) if wrong else "",
        misconception=cause_of(wrong) or otherwise if wrong else None,
    )


def _is_right(call: Call) -> bool:
    return (
        not call.error
        and call.kind == "float32 array"
        and call.shape == call.expected_shape
        and call.finite
        and call.difference is not None
        and call.difference <= THRESHOLDS.same_engine_tolerance
    )


def _complaint(call: Call) -> str:
    at = f"batch {call.batch}: "
    if call.error:
        return f"{at}raised {call.error}"
    if call.kind != "float32 array":
        return f"{at}returned {call.kind}"
    if call.shape != call.expected_shape:
        return f"{at}shape {call.shape}"
    if not call.finite:
        return f"{at}NaN or infinite logits"
    return f"{at}off by {call.difference:.2g} of the largest logit"


def _advice(call: Call) -> str:
    if call.error:
        return "Call infer on such a batch in a cell of its own to see the whole traceback."
    if call.kind != "float32 array" or call.shape != call.expected_shape:
        return "Return a float32 array with one row of logits for each image."
    return "Go through the steps of a call: values in, shape, copy in, enqueue, copy out, wait."


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB"
