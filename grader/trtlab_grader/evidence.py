"""From a probe that has run to a verdict, whatever hostile code has left behind.

This is the side that decides. What goes wrong here because of a student's files costs that task;
what goes wrong because of the grader is raised, so that nobody is graded on it.
"""

from collections.abc import Callable
from pathlib import Path

from trtlab.checks.registry import judge
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding, Verdict
from trtlab.errors import TrtLabError
from trtlab.lab.bench import Bench
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.probe import Scene, evidence_of
from trtlab_grader.records import Flag, Status, TaskRecord
from trtlab_grader.sandbox import SandboxError
from trtlab_grader.workspace import Workspace


def judge_probe(
    task: str, problem: str, space: Workspace, seed: int, bench: Bench, images: int
) -> tuple[Verdict, list[Flag]]:
    """Judge what a probe has left in a workspace.

    Args:
        task: its number.
        problem: why the probe did not come to its end, "" if it did.
        space: where the files are.
        seed: what the probe's inputs were drawn from.
        bench: opens the student's files.
        images: how many images accuracy is measured on.

    Raises:
        SandboxError: if no bench could be started.
    """
    if problem:
        return unfinished(task, f"Your code could not be tried: {problem}"), []
    made, received = space.take(task)
    flags = [
        Flag(kind="attack", code="linked-answer", task=task, text=f"made/{name} is a link")
        for name in received.links
    ]
    scene = Scene(space.given / task, made, seed, space.lab, bench, images)
    try:
        return _shown(judge(task, evidence_of(task, scene)), space), flags
    except SandboxError:
        raise
    except ExchangeError as error:
        code = "unusable-answer"
        text = f"What the student's process answered could not be used: {error}"
    except TrtLabError as error:
        code = "unmeasurable"
        text = f"It could not be measured: {space.without_folders(str(error))}"
    flags.append(Flag(kind="human", code=code, task=task, text=text))
    return unfinished(task, text), flags


def _shown(verdict: Verdict, space: Workspace) -> Verdict:
    """Return a verdict in which no file has the name of a folder that is gone by then."""
    findings = tuple(
        finding.model_copy(update={"measured": space.without_folders(finding.measured)})
        for finding in verdict.findings
    )
    return verdict.model_copy(update={"findings": findings})


def unfinished(task: str, why: str) -> Verdict:
    """Return the verdict on a task of which there is no evidence; `why` is a sentence."""
    about = TASKS[task]
    finding = Finding(
        criterion="the code runs to its end",
        state="fail",
        points=0,
        max_points=about.points,
        measured=why,
        required="the notebook and this task's code end by themselves",
        next_step="Restart the kernel and run all cells: each has to end, and check has to answer.",
    )
    return Verdict(task=task, title=about.title, findings=(finding,))


def task_record(task: str, verdict: Verdict | None, seconds: float) -> TaskRecord:
    """Return the record of a task: who or what it still waits for."""
    status: Status = "graded"
    if TASKS[task].category == "documentation":
        status = "needs a person"
    elif verdict and any(finding.state == "needs a GPU" for finding in verdict.findings):
        status = "needs a GPU"
    return TaskRecord(task=task, status=status, verdict=verdict, seconds=round(seconds, 2))


def prepared(give: Callable[[Path, int], None], folder: Path, seed: int) -> None:
    """Let a probe give, and make what it gave readable for the kernel's user."""
    give(folder, seed)
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
