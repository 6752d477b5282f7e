"""The ungraded practice task of 00-start: one function, and a card that judges it.

It has the form of the real ones, so that a student has met a card before it counts.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod

from IPython.display import display

from trtlab.checks.evidence import Attempt
from trtlab.checks.findings import expect
from trtlab.checks.verdict import Finding, Verdict
from trtlab.feedback import Card
from trtlab.lab.attempts import attempt

IMAGE_SHAPE = (3, 224, 224)
BATCHES = (1, 8, 32)


def practice(input_bytes: Callable[[int], int]) -> None:
    """Show the card of the practice task.

    Args:
        input_bytes: returns the size in bytes of a batch of float32 images (N, 3, 224, 224).
    """
    sizes: dict[int, object] = {}
    for batch in BATCHES:
        ran, sizes[batch] = attempt("input_bytes", partial(input_bytes, batch))
        if ran.stage != "done":
            display(_card([_unfinished(ran)]))
            return
    display(_card(judge_sizes(sizes)))


def judge_sizes(sizes: Mapping[int, object]) -> list[Finding]:
    """Return what to say of the sizes that a student computed, by batch."""
    one, largest = BATCHES[0], BATCHES[-1]
    values = prod(IMAGE_SHAPE)  # of one image
    size = sizes[one]
    forgot_width = size == values
    grows = isinstance(size, int) and size > 0 and sizes[largest] == largest * size
    return [
        expect(
            "one image",
            size == 4 * values,
            0,
            measured=f"{size} bytes",
            required=f"{4 * values} bytes",
            next_step="That is the number of values; each takes four bytes in float32."
            if forgot_width
            else "Multiply channels, height and width, and the bytes of one float32.",
        ),
        expect(
            "the size grows with the batch",
            grows,
            0,
            measured=f"{sizes[largest]} bytes for {largest} images",
            required=f"{largest} times one image",
            next_step="Use the parameter `batch`.",
        ),
    ]


def _unfinished(ran: Attempt) -> Finding:
    started = ran.stage == "raised"
    return Finding(
        criterion="the code runs to its end",
        state="fail" if started else "not started",
        points=0,
        max_points=0,
        measured=ran.error or "`input_bytes` still raises NotImplementedError",
        required="no exception",
        next_step="Read the message: it names what was wrong."
        if started
        else "Replace the line `raise NotImplementedError()` and run the cell again.",
    )


def _card(findings: Sequence[Finding]) -> Card:
    title = "Practice: the size of a batch"
    return Card(Verdict(task="0.1", title=title, findings=tuple(findings)))
