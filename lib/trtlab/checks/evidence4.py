"""Evidence for lab 4: what the inference class answered, and what it asked of TensorRT and CUDA."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trtlab.checks.evidence import Evidence

Answer = Literal["same", "raised", "different"]
"""To the same values in another dtype or memory layout: the same logits, an exception, others."""

Refusal = Literal["raised", "returned", ""]
"""What `infer` did when TensorRT answered False to an enqueue; "" if it asked for none."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CopyFacts(_Facts):
    """One copy between host and device; `stream` is None for one that does not return before."""

    function: str  # "memcpy_htod_async"
    dtype: str
    pinned: bool
    stream: int | None


class SeenCall(_Facts):
    """What was seen of one call of `infer` in the process that made it.

    Attributes:
        error: "ValueError: ..." where it raised, or where the object could not be made; else "".
        kind: the type of what it returned: "float32 array", "list", "nothing".
        shape: of what it returned.
        waited: whether it waited for all the work it had queued before it returned.
        shape_set: whether the context was ever told the input's shape.
        rows_run: batch of each accepted enqueue.
        rows_allocated: how many rows of the input the largest device allocation holds.
        streams: handles of the streams of its enqueues; 0 and 1 are the default stream.
        allocations: function -> how often it was called in this call.
        copies_in, copies_out: the copies it made.
    """

    error: str = ""
    kind: str = "nothing"
    shape: tuple[int, ...] = ()
    waited: bool = True
    shape_set: bool = True
    rows_run: tuple[int, ...] = ()
    rows_allocated: int | None = None
    streams: tuple[int, ...] = ()
    allocations: dict[str, int] = Field(default_factory=dict)
    copies_in: tuple[CopyFacts, ...] = ()
    copies_out: tuple[CopyFacts, ...] = ()


class Call(SeenCall):
    """The same, with what it returned compared with what it should have.

    Attributes:
        batch: of the images given.
        expected_shape: of the logits it should return.
        finite: whether every value is finite.
        difference: largest difference from the expected logits, relative to the largest of them;
            None if dtype or shape are wrong or a value is not finite.
    """

    batch: int
    expected_shape: tuple[int, ...] = ()
    finite: bool = False
    difference: float | None = None


class RunningEvidence(Evidence):
    """Task 4.1.

    Attributes:
        course: on the course's engine, one after the other; only one if the first raised.
        other: on an engine with other names, image size and classes.
        overwritten: whether a second call changed the first one's result; None if there are no two
            arrays to compare.
        returned_buffer: whether a result lies in pinned memory of the class's own.
        input_changed: whether `infer` changed the array it was given; None if it did not run.
        layouts: "float64", "Fortran order", ... -> what came of such an input; empty if there are
            no results to compare with.
        refused_enqueue: see Refusal.
    """

    course: tuple[Call, ...] = ()
    other: Call | None = None
    overwritten: bool | None = None
    returned_buffer: bool = False
    input_changed: bool | None = None
    layouts: dict[str, Answer] = Field(default_factory=dict)
    refused_enqueue: Refusal = ""


class Outside(_Facts):
    """A batch outside the profile, and what `infer` did: "" for returned, else the error."""

    batch: int
    profile: tuple[int, int]  # smallest, largest
    error: str


class BatchesEvidence(Evidence):
    """Task 4.2.

    Attributes:
        calls: of one object, one after the other, at changing batches.
        outside: batches that the engine does not take.
    """

    calls: tuple[Call, ...] = ()
    outside: tuple[Outside, ...] = ()


class Closing(BaseModel):
    """What became of an object's memory.

    Attributes:
        taken_bytes: device memory that an object took.
        kept_bytes: what was still taken after close(), while the object was referenced.
        alive: TensorRT objects that still existed then.
        second_close: "LogicError: ..." where closing again raised, else "".
        with_error: where `with` raised of its own accord, else "".
        with_gives_object: whether `with ... as model` gives the object.
        with_kept_bytes: what was still taken after a `with` block.
        with_kept_after_error: likewise where the block raised.
        with_passes_errors_on: whether an exception in the block came out of it.
    """

    taken_bytes: int = Field(default=0, ge=0)
    kept_bytes: int = Field(default=0, ge=0)
    alive: tuple[str, ...] = ()
    second_close: str = ""
    with_error: str = ""
    with_gives_object: bool = False
    with_kept_bytes: int = Field(default=0, ge=0)
    with_kept_after_error: int = Field(default=0, ge=0)
    with_passes_errors_on: bool = False


class CleanupEvidence(Evidence, Closing):
    """Task 4.3; the attempt is to make an object and close it."""
