"""Closes objects of a student's class, once, twice and by `with`, and reads the device's memory.

Nothing of this can be seen from outside the process that does it.
"""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trtlab.backend import cuda
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence4 import Closing
from trtlab.lab.attempts import attempt
from trtlab.lab.probe import Observed
from trtlab.lab.probes.lab4_calls import NAME, error_of
from trtlab.lab.quiet import quiet
from trtlab.lab.subjects import Images
from trtlab.lab.watching import discard, watch


class ClosingObserved(Observed, Closing):
    """Task 4.3: what the process itself can tell."""


def observe_closing(student: type, engine: Path, images: Images) -> ClosingObserved:
    """Make objects of the class, run each on `images`, and close them."""

    def use() -> Any:
        model = student(str(engine))
        attempt("infer", lambda: model.infer(images))  # what it does wrong is said elsewhere
        return model

    with quiet():
        gc.collect()  # what earlier cells left must not be freed between two readings
        # The first use of a GPU loads kernels and makes pools that stay: it would look like a leak.
        discard(attempt(NAME, use)[1])
        observed = _closed(use)
        if observed.attempt.stage == "done":
            _use_with(student, engine, observed)
    return observed


def _closed(use: Callable[[], Any]) -> ClosingObserved:
    before = _free_bytes()
    with watch() as seen:
        ran, model = attempt(NAME, use)
        if ran.stage != "done":
            return ClosingObserved(attempt=ran)
        taken = before - _free_bytes()
        ran, _ = attempt(f"{NAME}.close", lambda: model.close())
        observed = ClosingObserved(
            attempt=ran, taken_bytes=max(taken, 0), kept_bytes=_missing_since(before)
        )
        if ran.stage == "done":
            observed.alive = seen.alive()
            observed.second_close = error_of(attempt("close", lambda: model.close())[0])
        discard(model)
    return observed


def _use_with(student: type, engine: Path, observed: ClosingObserved) -> None:
    """Fill in what `with` does, in a block that ends and in one that raises."""
    inside: list[Any] = []  # keeps the object, so that only __exit__ can have freed anything

    def block(interrupt: bool) -> None:
        with student(str(engine)) as model:
            inside.append(model)
            if interrupt:
                raise _InterruptionError

    def run_block(interrupt: bool) -> tuple[Attempt, int]:
        """Return how the block ended, and the bytes still taken then."""
        before = _free_bytes()
        ran, _ = attempt("with", partial(block, interrupt))
        kept = _missing_since(before)
        observed.with_gives_object = bool(inside) and isinstance(inside[0], student)
        discard(*inside)
        inside.clear()
        return ran, kept

    ran, observed.with_kept_bytes = run_block(False)
    observed.with_error = error_of(ran)
    if not observed.with_error:
        ran, observed.with_kept_after_error = run_block(True)
        observed.with_passes_errors_on = ran.error.startswith(_InterruptionError.__name__)


class _InterruptionError(Exception):
    """What a block raises to see whether `with` closes all the same."""


def _missing_since(free_before: int) -> int:
    return max(free_before - _free_bytes(), 0)


def _free_bytes() -> int:
    cuda.Context.synchronize()
    return int(cuda.mem_get_info()[0])
