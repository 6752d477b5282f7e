"""A made-up class to try the grader on: good work, unfinished work, mistakes, and cheats.

The submissions are the reference solutions with texts replaced, so that nothing is written twice.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from trtlab.errors import InputError
from trtlab.files import write_text
from trtlab_grader.course import Course, Settings
from trtlab_grader.nbgrader_glue.setup import init_course

_MARKS = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[^\n]*\n?", re.MULTILINE)
_MARK_SCHEME = re.compile(
    r"^[ \t#]*=== BEGIN MARK SCHEME ===.*?=== END MARK SCHEME ===[ \t]*\n?",
    re.MULTILINE | re.DOTALL,
)
_SOLUTION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION.*?^[ \t]*### END SOLUTION[^\n]*\n?", re.MULTILINE | re.DOTALL
)
_MADE_UP = ".made-up-class"
DEMO_LABS = ("01-export", "02-build", "04-infer")
"""What `trtlab-grade demo` grades: the labs that take seconds on two cores."""

_PATCH_CHECK = """\
import trtlab.lab
import trtlab.lab.session
from trtlab.checks.tasks import TASKS

trtlab.lab.check = trtlab.lab.session.check = lambda task: float(TASKS[task].points)
"""
_FORGE_JUDGE = """\
import trtlab.checks.registry as registry
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding, Verdict


def judge(task, evidence):
    most = TASKS[task].points
    full = Finding(
        criterion="fine", state="pass", points=most, max_points=most, measured="fine", required=""
    )
    return Verdict(task=task, title="fine", findings=(full,))


registry.judge = judge
"""


@dataclass(frozen=True)
class Sample:
    """One made-up student.

    Attributes:
        student: nbgrader's id; it says what is wrong with the work.
        what: the same in words.
        patches: assignment -> pairs of a text that occurs once in the notebook and its replacement.
        unwritten: grade ids of solutions that were left as they were released.
        extra: assignment -> source of a cell that the student put in front.
    """

    student: str
    what: str
    patches: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    unwritten: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


CLASS = (
    Sample("ada-reference", "the reference solution"),
    Sample(
        "ben-half-finished",
        "stopped after the first task of each lab",
        unwritten=("task-1-2", "task-1-3", "task-2-2", "task-2-5", "task-4-1"),
    ),
    Sample(
        "cleo-fixed-batch",
        "exports without a dynamic batch",
        patches={
            "01-export": (
                (
                    '        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},\n',
                    "",
                ),
            )
        },
    ),
    Sample(
        "dan-fp32-engine",
        "forgets the FP16 flag",
        patches={
            "02-build": (
                (
                    "    config.set_flag(trt.BuilderFlag.FP16)\n    config.set_memory_pool_limit",
                    "    config.set_memory_pool_limit",
                ),
            )
        },
    ),
    Sample(
        "eva-small-profile",
        "ends the profile at a batch of 8",
        patches={"02-build": (("(32, 3, 224, 224),  # max", "(8, 3, 224, 224),  # max"),)},
    ),
    Sample(
        "finn-no-synchronise",
        "does not wait for the stream",
        patches={"04-infer": (("self.stream.synchronize()", "pass"),)},
    ),
    Sample(
        "gia-returns-buffer",
        "returns the pinned buffer itself",
        patches={"04-infer": (("return host_out.copy()", "return host_out"),)},
    ),
    Sample(
        "hal-patches-check",
        "cheats: makes `check` return full marks, and writes nothing",
        unwritten=("task-1-1", "task-1-2", "task-2-1", "task-2-2", "task-4-1"),
        extra=dict.fromkeys(DEMO_LABS, _PATCH_CHECK),
    ),
    Sample(
        "ivy-fakes-files",
        "cheats: leaves a link to a file of the machine where the engine should be",
        patches={
            "02-build": (
                (
                    "    return serialized_engine\n",
                    '    Path("resnet50_fp16.engine").unlink(missing_ok=True)\n'
                    '    Path("resnet50_fp16.engine").symlink_to("/etc/passwd")\n'
                    "    return serialized_engine\n",
                ),
            )
        },
    ),
    Sample(
        "jon-forges-judge",
        "cheats: replaces the judging functions in his own process",
        unwritten=("task-1-1", "task-1-2", "task-4-1"),
        extra=dict.fromkeys(DEMO_LABS, _FORGE_JUDGE),
    ),
)


def hand_in(source: NotebookNode, sample: Sample, assignment: str) -> NotebookNode:
    """Return what a made-up student hands in of an instructor's notebook.

    Raises:
        InputError: if a text to replace does not occur exactly once.
    """
    notebook = nbformat.from_dict(source)
    for old, new in sample.patches.get(assignment, ()):
        found = [cell for cell in notebook.cells if old in cell.source]
        if len(found) != 1 or found[0].source.count(old) != 1:
            raise InputError(f"{assignment} does not hold exactly once what to patch: {old!r}")
        found[0].source = found[0].source.replace(old, new)
    for cell in notebook.cells:
        unwritten = cell.metadata.get("nbgrader", {}).get("grade_id") in sample.unwritten
        cell.source = _written_by_student(cell.source, unwritten, cell.cell_type)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if assignment in sample.extra:
        notebook.cells.insert(0, new_code_cell(sample.extra[assignment], id="extra"))
    return notebook


def new_course(root: Path) -> Course:
    """Make an empty course directory for a made-up class; an earlier one at that place goes.

    Raises:
        InputError: if there is something else, which is left alone.
    """
    if root.exists() and any(root.iterdir()):
        if not (root / _MADE_UP).is_file():
            raise InputError(f"{root} is not empty and no made-up class: choose another folder.")
        shutil.rmtree(root)
    write_text(root / _MADE_UP, "This course directory is made anew by `trtlab-grade demo`.\n")
    return init_course(root, Settings(name="A made-up class"))


def hand_in_class(
    course: Course, assignments: tuple[str, ...] = DEMO_LABS, samples: tuple[Sample, ...] = CLASS
) -> None:
    """Write what a made-up class hands in into a course's submitted folder."""
    for assignment in assignments:
        name = f"{assignment}.ipynb"
        source = nbformat.read(course.source / assignment / name, as_version=4)
        for sample in samples:
            notebook = hand_in(source, sample, assignment)
            target = course.submitted / sample.student / assignment / name
            write_text(target, nbformat.writes(notebook) + "\n")


def _written_by_student(source: str, unwritten: bool, kind: str) -> str:
    """Return a cell without the instructor's marks, and without the solution if it is unwritten."""
    if unwritten and kind == "code":
        return _SOLUTION.sub(r"\1# YOUR CODE HERE\n\1raise NotImplementedError()\n", source)
    if unwritten:
        return "YOUR ANSWER HERE"
    return _MARKS.sub("", _MARK_SCHEME.sub("", source))
