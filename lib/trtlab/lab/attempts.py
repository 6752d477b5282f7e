"""Calling a student's code: how far it got, whatever it raises."""

import math
from collections.abc import Callable
from typing import Any

from trtlab.checks.evidence import Attempt

LONGEST_ERROR = 2000
"""Characters of an error that are kept: enough to read, whatever the exception carries."""


def attempt(what: str, run: Callable[[], Any]) -> tuple[Attempt, Any]:
    """Run a piece of the student's code; return how far it got, and its result or None."""
    try:
        return Attempt(stage="done", what=what), run()
    except NotImplementedError:
        return Attempt(stage="not started", what=what), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: the cell goes on to its points
        return Attempt(stage="raised", what=what, error=described(error)), None


def described(error: BaseException) -> str:
    """Return "ValueError: the first line of its message", bounded, and as text that JSON can hold.

    The class may be the student's own, and its `__str__` may do anything.
    """
    try:
        first_line = str(error).strip().split("\n")[0]
        text = f"{type(error).__name__}: {first_line}"
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "An exception whose message cannot be read"
    # A file cannot hold half of a surrogate pair.
    return text[:LONGEST_ERROR].encode(errors="replace").decode()


def missing(what: str) -> Attempt:
    """Return the attempt for a name that the notebook has not defined."""
    return Attempt(stage="missing", what=what)


def number_in(value: Any) -> float | None:
    """Return a finite number that a student's code made as a float; None for everything else."""
    if isinstance(value, (bool, str)):
        return None
    # NumPy's numbers and PyTorch's tensors of one value too
    _, number = attempt("float", lambda: float(value))
    return number if number is not None and math.isfinite(number) else None
