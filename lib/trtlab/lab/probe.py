"""A probe: how the evidence of one task is collected, in three steps that may run in three places.

    give      whoever judges writes fresh inputs, drawn from a seed
    run       the student's kernel calls the student's code on them, and writes what came of it
    evidence  whoever judges reads that as data, and compares it with what only they know

In a notebook, `check` does all three in one process (session.py). In the grader, `run` alone is in
the sandbox with the student's code; seed, expected values, stopwatch and thresholds never are.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.tasks import TASKS
from trtlab.errors import InputError
from trtlab.lab.bench import Bench
from trtlab.lab.exchange import read_model, write_model
from trtlab.thresholds import THRESHOLDS

Names = Mapping[str, Any]
OBSERVED = "observed.json"


class Observed(BaseModel):
    """What `run` saw: how far the student's code got, and plain facts. Arrays are files beside it.

    Whatever stands here was written in the student's own process. A probe's `evidence` takes from
    it what cannot be known otherwise, and measures the rest.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    attempt: Attempt


@dataclass(frozen=True)
class Scene:
    """What `evidence` may look at.

    Attributes:
        given: the folder that `give` filled.
        made: the folder that `run` filled; its files may be hostile, see exchange.py.
        seed: what `give` drew from, and what further secret inputs may be drawn from.
        folder: the lab's folder, with the deliverables and the notebook; other labs are beside it.
        bench: loads and runs ONNX files and engines.
        images: how many images accuracy is measured on.
    """

    given: Path
    made: Path
    seed: int
    folder: Path
    bench: Bench
    images: int = THRESHOLDS.evaluation_images


O = TypeVar("O", bound=Observed)  # noqa: E741


class Probe(ABC, Generic[O]):
    """How the evidence of one task is collected; register it with `@probe("2.2")`."""

    observed: type[O]
    """The type of what `run` returns, to read it back."""

    def give(self, given: Path, seed: int) -> None:
        """Write the inputs into the empty folder `given`: arrays and JSON, from the seed alone."""

    def attend(self, given: Path, seed: int) -> AbstractContextManager[None]:
        """Return what whoever judges holds open while `run` is under way in the student's kernel.

        For a stopwatch that must not be in the student's process. What it notes is in `given` once
        it is left.
        """
        return nullcontext()

    @abstractmethod
    def run(self, names: Names, given: Path, made: Path) -> O:
        """Call the student's code; write arrays and other files into the empty folder `made`.

        Args:
            names: what the notebook has defined.
        """

    @abstractmethod
    def evidence(self, observed: O, scene: Scene) -> Evidence:
        """Turn what was observed, and what can be measured from outside, into evidence.

        Raises:
            ExchangeError: if a file in `scene.made` is not what `run` writes.
        """


_PROBES: dict[str, Probe[Any]] = {}


def probe(task: str) -> Any:
    """Register a Probe class for a task."""

    def register(kind: type[Probe[Any]]) -> type[Probe[Any]]:
        _PROBES[TASKS[task].number] = kind()
        return kind

    return register


def probe_of(task: str) -> Probe[Any]:
    """Return the probe of a task.

    Raises:
        InputError: if there is no such task, or nothing of it can be checked by machine.
    """
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}; the tasks are {', '.join(TASKS)}.")
    # Each lab's probes register themselves when they are imported.
    importlib.import_module(f"trtlab.lab.probes.lab{TASKS[task].lab}")
    importlib.import_module("trtlab.lab.probes.texts")  # of several labs
    if task not in _PROBES:
        raise InputError(f"Nothing of task {task} can be checked by machine.")
    return _PROBES[task]


def run_probe(task: str, names: Names, given: Path, made: Path) -> None:
    """Run a probe in this process: the step that calls the student's code. `made` is made."""
    made.mkdir(exist_ok=True)
    write_model(made / OBSERVED, probe_of(task).run(names, given, made))


def evidence_of(task: str, scene: Scene) -> Evidence:
    """Read what a probe has observed and return the evidence.

    Raises:
        ExchangeError: if the kernel left no usable answer.
    """
    found = probe_of(task)
    return found.evidence(read_model(scene.made / OBSERVED, found.observed), scene)
