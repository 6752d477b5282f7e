"""What an attack on a grade is, and what must come of it: see `Attack` and `perform`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom import codes, grade, points, solved, submit
from trtlab.checks.tasks import TASKS
from trtlab.files import sha256
from trtlab.lab.artifacts import provided_folder
from trtlab_grader.course import SECRET_FILE, SETTINGS_FILE, Course, open_course
from trtlab_grader.records import LabRecord
from trtlab_grader.store import Store

ROWS = {
    "timers": "patch timers, Event.elapsed_time, statistics",
    "answers": "write fake results to the grader's files",
    "expected": "find expected values in memory or on disk",
    "nan": "NaN answers",
    "cached": "cached output by id, pointer or content",
    "two-faced": "behave well in the check and cheat in the timed phase",
    "lazy": "leave work on a side stream, return a lazy object",
    "inputs": "mutate the inputs; leave outputs unwritten",
    "seed": "regenerate the answer from a known seed",
    "precision": "lower the precision silently, or label FP32 as FP16 or INT8",
    "impossible": "impossible score",
    "kernel": "patch the notebook kernel: AST transformers, formatters, display hooks",
    "limits": "fork bombs, disk, endless loops, os._exit, huge outputs",
    "neighbours": "another submission, the gradebook, the secret seed, the course directory",
    "network": "network",
    "links": "escape through symlinks, hard links, zip-slip names",
    "caches": "poison the timing cache or the provided cache",
    "pages": "HTML and script injection into pages",
    "external": "an ONNX file with external data outside its folder",
    "pickle": "pickle in artifacts",
    "copied": "replaced deliverables",
    "machinery": "patch probes, checks, session, exchange, builtins",
    "marks": "edit, delete or double cells and their metadata",
}
"""The cheat table of the course's anchors, and what its issue adds: key -> in words."""

CANARY = "canary-of-a-neighbour-7f3a"
"""Stands in another student's submission; nobody else's record may hold it."""

FULL: Mapping[str, Mapping[str, float]] = {
    "01-export": {"1.1": 4, "1.2": 3},
    "02-build": {"2.1": 5, "2.2": 5, "2.3": 0, "2.4": 0},
    "03-calibrate": {"3.1": 3, "3.2": 5, "3.3": 4, "3.4": 2, "3.5": 1},
    "04-infer": {"4.1": 4, "4.2": 2, "4.3": 1},
    "05-benchmark": {"5.1": 2, "5.2": 1, "5.3": 1, "5.4": 6, "5.5": 9},
}
"""Points of the reference solution on the emulation, where times and sizes are not judged."""

UNWRITTEN: Mapping[str, tuple[str, ...]] = {
    "01-export": ("task-1-1", "task-1-2"),
    "02-build": ("task-2-1", "task-2-2"),
    "03-calibrate": ("task-3-1-images", "task-3-1", "task-3-2", "task-3-3"),
    "04-infer": ("task-4-1",),
    "05-benchmark": ("task-5-1", "task-5-2", "task-5-3"),
}
"""The grade ids of a lab's solutions."""

_UNNEEDED = {
    "01-export": "environment verify facts folding as-written predict simplification prediction "
    "simplified-facts",
    "02-build": "steps picture-2-1 layers picture-2-2-build picture-2-2 measure-2-3 roofline sizes",
    "03-calibrate": "cache clip-view clip-slider study measure-3-4 sizes",
    "04-infer": "predict-buffer answers buffers buffer-size batches predict-copies call pinned "
    "with memory",
    "05-benchmark": "asynchrony-demo asynchrony-picture call-5-1 picture-5-1 inside call-5-2 "
    "picture-5-2 call-5-3 picture-5-3 call-5-4 measure-5-4 picture-5-4 results predictions "
    "challenge-run",
}
"""Cells that no task needs."""
_SHORTER: Mapping[str, tuple[tuple[str, str], ...]] = {
    "01-export": (('simplify_model("as_written.onnx", "as_written_simplified.onnx")\n', ""),),
}


@dataclass(frozen=True)
class Attack:
    """A submission that tries something, and what must come of it.

    Attributes:
        name: what it tries.
        row: a key of ROWS.
        lab: the assignment.
        points: task -> points, of the tasks that do not get FULL ones.
        attack, human: the codes of the flags of these kinds; there must be no others.
        patches: texts replaced in the reference solution.
        unwritten: nothing is written, so that there are no points to have.
        before, after: source of a cell put in front, or at the end.
        tamper: what else is done to the notebook.
        settings: of the course.
        quick: whether it is tried with every run of the tests.
    """

    name: str
    row: str
    lab: str
    points: Mapping[str, float] = field(default_factory=dict)
    attack: frozenset[str] = frozenset()
    human: frozenset[str] = frozenset()
    patches: tuple[tuple[str, str], ...] = ()
    unwritten: bool = False
    before: str = ""
    after: str = ""
    tamper: Callable[[NotebookNode], object] | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    quick: bool = False

    @property
    def deserved(self) -> dict[str, float]:
        """Points of every task that a machine judges."""
        full = dict.fromkeys(FULL[self.lab], 0) if self.unwritten else FULL[self.lab]
        return {**full, **self.points}


REACHES = frozenset({"reaches-for-machinery"})
ATTACKS_CHECKS = frozenset({"attacks-the-checks"})


def perform(course: Course, attack: Attack) -> LabRecord:
    """Hand an attack in beside a neighbour's work, grade it, and require what must come of it."""
    course = _with_settings(course, attack.settings)
    victim = new_notebook(cells=[new_markdown_cell(CANARY)])
    submit(course, "victim", attack.lab, victim)
    submit(course, "mallory", attack.lab, _notebook(course, attack))
    before = outside(course)
    record = grade(course, "mallory", attack.lab)
    assert judged(record) == attack.deserved
    assert (codes(record, "attack"), codes(record, "human")) == (attack.attack, attack.human)
    assert outside(course) == before, "something outside was changed"
    assert leaked(course, record) == []
    return record


def judged(record: LabRecord) -> dict[str, float]:
    """Return the points of the tasks that a machine judges."""
    by_hand = {number for number, task in TASKS.items() if task.category == "documentation"}
    return {task: value for task, value in points(record).items() if task not in by_hand}


def outside(course: Course) -> dict[str, str]:
    """Return the hashes of all that grading must leave alone: the course, what is provided."""
    files = [
        path
        for root in (course.root, provided_folder())
        for path in root.rglob("*")
        if path.is_file() and course.records not in path.parents
    ]
    return {str(path): sha256(path) for path in files}


def leaked(course: Course, record: LabRecord) -> list[str]:
    """Return the files of a record that hold the course's secret, a seed or a neighbour's work."""
    seeds = [str(course.seed(record.student, task)) for task in record.tasks]
    secret = (course.root / SECRET_FILE).read_text().strip()
    needles = [text.encode() for text in (secret, CANARY, *seeds)]
    folder = Store(course.records).folder(record.key)
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


def printed(course: Course, record: LabRecord) -> str:
    """Return the executed notebook of a record as text."""
    folder = Store(course.records).folder(record.key)
    return "".join(path.read_text() for path in sorted(folder.rglob("*.ipynb")))


def _notebook(course: Course, attack: Attack) -> NotebookNode:
    notebook = solved(
        course,
        attack.lab,
        patches=(*_SHORTER.get(attack.lab, ()), *attack.patches),
        unwritten=UNWRITTEN[attack.lab] if attack.unwritten else (),
        extra=attack.before,
        without=_UNNEEDED[attack.lab].split(),
    )
    if attack.after:
        notebook.cells.append(new_code_cell(attack.after, id="after"))
    if attack.tamper is not None:
        attack.tamper(notebook)
    return notebook


def _with_settings(course: Course, settings: Mapping[str, float]) -> Course:
    path: Path = course.root / SETTINGS_FILE
    text = path.read_text()
    for name, value in settings.items():
        text, changed = re.subn(rf"^{name} = .*$", f"{name} = {value:g}", text, flags=re.MULTILINE)
        assert changed == 1, f"there is no setting {name}"
    path.write_text(text)
    return open_course(course.root)
