"""Probes 5.3 to 5.5: the student's accuracy function, and the engines on fresh images.

The engines never meet the student's code: whoever judges runs them on a bench, on images that were
drawn for this, and keeps the labels.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt

from trtlab.checks.accuracy5 import measures, tells_mistakes_apart
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence5 import AccuracyLossEvidence, ScoredRun, ScoreEvidence
from trtlab.errors import TrtLabError, of_the_course
from trtlab.lab.artifacts import find_artifact
from trtlab.lab.attempts import attempt, missing, number_in
from trtlab.lab.evaluation import compare_with_pytorch
from trtlab.lab.exchange import ExchangeError, read_model, write_model
from trtlab.lab.fake_model import LookupClassifier, numbered_loader
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe

CLASSES = 10
SQUARE, UNEVEN = "square.json", "uneven.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Reply(_Record):
    """What `evaluate_accuracy` returned: two finite numbers, or the type of something else."""

    attempt: Attempt
    reported: tuple[float, float] | None = None
    returned: str = ""


class ScoreObserved(Observed):
    """Calls of `evaluate_accuracy`: on a callable with two loaders, then on a module."""

    square: Reply | None = None
    uneven: Reply | None = None
    calls_in_train_mode: NonNegativeInt = 0
    module_error: str = ""


def known_answers(seed: int) -> dict[str, ScoredRun]:
    """Return two tasks for `evaluate_accuracy`, drawn so that each known mistake shows in them.

    By file name: SQUARE has as many images in every batch as there are classes; UNEVEN has batches
    of different sizes, of which the fourth counts only in part.
    """
    rng = np.random.default_rng(seed)
    while True:
        square = _drawn([CLASSES, CLASSES], 2 * CLASSES, rng)
        sizes = rng.permutation([CLASSES - 1, CLASSES, CLASSES + 1]).tolist()
        sizes[2:2] = [int(rng.integers(3, 6))]
        sizes.append(int(rng.integers(6, 10)))
        uneven = _drawn(sizes, sum(sizes[:3]) + int(rng.integers(4, 7)), rng)
        if tells_mistakes_apart(square, uneven):
            return {SQUARE: square, UNEVEN: uneven}


def _drawn(batch_sizes: list[int], num_samples: int, rng: np.random.Generator) -> ScoredRun:
    """Draw logits and labels: good ones, but all wrong in the third batch, so that batches
    differ.
    """
    labels = rng.integers(0, CLASSES, sum(batch_sizes))
    logits = rng.standard_normal((len(labels), CLASSES)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 2.5
    third = np.arange(sum(batch_sizes[:2]), sum(batch_sizes[:3]))
    logits[third, labels[third]] = -5.0
    return ScoredRun(
        logits=logits.tolist(),
        labels=labels.tolist(),
        batch_sizes=batch_sizes,
        num_samples=num_samples,
    )


@probe("5.3")
class ScoreProbe(Probe[ScoreObserved]):
    """Let `evaluate_accuracy` score a classifier whose answers are known."""

    observed = ScoreObserved

    def give(self, given: Path, seed: int) -> None:
        """Write the classifier's answers and the labels, which the task is about."""
        for name, run in known_answers(seed).items():
            write_model(given / name, run)

    def run(self, names: Names, given: Path, made: Path) -> ScoreObserved:
        """Call the function three times."""
        if "evaluate_accuracy" not in names:
            return ScoreObserved(attempt=missing("evaluate_accuracy"))
        function = names["evaluate_accuracy"]
        task = read_model(given / SQUARE, ScoredRun)
        square = _score(function, task)
        if square.attempt.stage != "done":
            return ScoreObserved(attempt=square.attempt)
        module = LookupClassifier(_logits(task)).train()
        loader = numbered_loader(task.labels, task.batch_sizes)
        on_module, _ = attempt(
            "evaluate_accuracy", lambda: function(module, loader, task.num_samples)
        )
        return ScoreObserved(
            attempt=square.attempt,
            square=square,
            uneven=_score(function, read_model(given / UNEVEN, ScoredRun)),
            calls_in_train_mode=module.calls_in_train_mode,
            module_error=on_module.error,
        )

    def evidence(self, observed: ScoreObserved, scene: Scene) -> ScoreEvidence:
        """Set what was reported beside the answers, drawn again."""
        if observed.attempt.stage != "done":
            return ScoreEvidence(attempt=observed.attempt)
        if observed.square is None or observed.uneven is None:
            raise ExchangeError("the kernel left out the square or the uneven run")
        answers = known_answers(scene.seed)
        return ScoreEvidence(
            attempt=observed.attempt,
            square=_reported(answers[SQUARE], observed.square),
            uneven=_reported(answers[UNEVEN], observed.uneven),
            calls_in_train_mode=observed.calls_in_train_mode,
            module_problem=observed.module_error,
        )


def _logits(task: ScoredRun) -> NDArray[np.float32]:
    return np.array(task.logits, np.float32)


def _score(function: Callable[..., Any], task: ScoredRun) -> Reply:
    classifier = LookupClassifier(_logits(task)).eval()
    loader = numbered_loader(task.labels, task.batch_sizes)
    # A bound method is a plain callable, as an engine is, and no module with a train mode.
    ran, result = attempt(
        "evaluate_accuracy", lambda: function(classifier.forward, loader, task.num_samples)
    )
    numbers = [number_in(v) for v in result] if isinstance(result, (tuple, list)) else []
    if len(numbers) == 2 and None not in numbers:
        return Reply(attempt=ran, reported=(numbers[0], numbers[1]))  # type: ignore[arg-type]
    return Reply(attempt=ran, returned=type(result).__name__)


def _reported(task: ScoredRun, reply: Reply) -> ScoredRun:
    if reply.attempt.stage != "done":
        return task.model_copy(update={"problem": f"it raised {reply.attempt.error}"})
    if reply.reported is None:
        problem = f"it returned {reply.returned}, and not two numbers"
        return task.model_copy(update={"problem": problem})
    return task.model_copy(update={"reported": reply.reported})


class LossObserved(Observed):
    """What `evaluate_accuracy` says: a task on accuracy counts once it can be measured too."""

    reply: Reply | None = None


_NOT_MEASURED = Attempt(
    stage="raised",
    what="evaluate_accuracy",
    error="nothing, but its top-1 is not that of the model it was given. Finish task 5.3 first",
)


class _LossProbe(Probe[LossObserved]):
    """Measure an engine on fresh images, which its student's kernel never sees."""

    observed = LossObserved
    engine: str

    def give(self, given: Path, seed: int) -> None:
        """Write what the student's own function is tried on."""
        write_model(given / SQUARE, known_answers(seed)[SQUARE])

    def run(self, names: Names, given: Path, made: Path) -> LossObserved:
        """Try the student's own function."""
        if "evaluate_accuracy" not in names:
            return LossObserved(attempt=missing("evaluate_accuracy"))
        reply = _score(names["evaluate_accuracy"], read_model(given / SQUARE, ScoredRun))
        return LossObserved(attempt=reply.attempt, reply=reply)

    def evidence(self, observed: LossObserved, scene: Scene) -> AccuracyLossEvidence:
        """Run the engine and PyTorch on images drawn from the seed."""
        if observed.attempt.stage != "done":
            return AccuracyLossEvidence(attempt=observed.attempt)
        task = known_answers(scene.seed)[SQUARE]
        if observed.reply is None or not measures(_reported(task, observed.reply)):
            return AccuracyLossEvidence(attempt=_NOT_MEASURED)
        path, is_provided = find_artifact(self.engine, scene.folder)
        evidence = AccuracyLossEvidence(attempt=observed.attempt, provided=is_provided)
        whose = of_the_course(f"The provided {self.engine}") if is_provided else nullcontext()
        try:
            with whose:
                found = compare_with_pytorch(path, scene.bench, scene.images, scene.seed)
        except TrtLabError as error:
            return evidence.model_copy(update={"problem": str(error).split("\n")[0]})
        change = found.change
        return evidence.model_copy(
            update={
                "images": change.images,
                "baseline_top1": found.baseline.top1,
                "top1": found.engine.top1,
                "loss": 0.0 - change.points,  # unary minus would make a negative zero
                "loss_low": -change.high,
                "loss_high": -change.low,
                "gained": change.gained,
                "lost": change.lost,
            }
        )


@probe("5.4")
class Fp16LossProbe(_LossProbe):
    """Measure the FP16 engine."""

    engine = "resnet50_dynamic_fp16.engine"


@probe("5.5")
class Int8LossProbe(_LossProbe):
    """Measure the INT8 engine."""

    engine = "resnet50_int8.engine"
