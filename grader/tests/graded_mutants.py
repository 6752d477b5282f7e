"""Grades the labs' mutants, the plausible wrong solutions of lib/tests/mutants, as the grader does.

What a notebook only shows is left out of it: no check looks at that, and a hundred are graded.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

import mutants
from classroom import codes, grade, solved, submit
from mutants import Mutant
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab_grader.course import LABS, Course, open_course
from trtlab_grader.records import LabRecord

_REFERENCE = "reference"
_SHOWN = {
    1: ("environment", "verify", "facts", "folding", "simplification", "simplified-facts"),
    2: (
        "steps",
        "picture-2-1",
        "layers",
        "picture-2-2-build",
        "picture-2-2",
        "measure-2-3",
        "roofline",
        "sizes",
    ),
    3: ("cache",),
    4: ("answers",),
    5: ("picture-5-1", "picture-5-2", "picture-5-3", "call-5-4"),
    6: ("pareto", "predictions", "roofline", "speed-table", "html"),
}
"""Lab -> ids of cells that show something, besides those that mutants.unchecked_of names."""
_MUTANTS_MODULES = """\
import sys
import types

bad_engines = types.ModuleType("mutants.bad_engines")
sys.modules["mutants"] = types.ModuleType("mutants")
sys.modules["mutants.bad_engines"] = bad_engines
exec({source!r}, vars(bad_engines))
"""
"""A cell that brings what mutants of lab 5 import, which is not on a kernel's path."""


def name_of(mutant: Mutant) -> str:
    """Return a mutant's id: for pytest's -k, and as a student's name."""
    words = "".join(c if c.isalnum() else " " for c in f"{mutant.task} {mutant.name}").split()
    return "-".join(words)


@dataclass(frozen=True)
class Gradings:
    """Grades references and mutants in one course directory.

    Attributes:
        course: of this process.
        shared: a folder of this test run; the record of each lab's reference is kept there.
    """

    course: Course
    shared: Path

    def reference(self, lab: int) -> LabRecord:
        """Return the record of a lab's reference solution; it is graded once in a test run."""
        file = self.shared / f"graded-reference-{lab}.json"
        with FileLock(file.with_suffix(".lock")):
            if not file.is_file():
                record = self._graded(lab, _REFERENCE, [])
                assert not record.cell_errors, "the reference's own cells raise"
                assert not _fallen_short(record), _fallen_short(record)
                file.write_text(record.model_dump_json(round_trip=True), encoding="utf-8")
        return LabRecord.model_validate_json(file.read_bytes())

    def mutant(self, mutant: Mutant) -> LabRecord:
        """Return the record of a mutant."""
        return self._graded(
            TASKS[mutant.task].lab, name_of(mutant), [(mutant.old, mutant.new)], mutant.new
        )

    def _graded(
        self, lab: int, student: str, patches: list[tuple[str, str]], written: str = ""
    ) -> LabRecord:
        assignment = LABS[lab - 1]
        extra = ""
        if "mutants.bad_engines" in written:
            source = Path(mutants.__file__).with_name("bad_engines.py").read_text(encoding="utf-8")
            extra = _MUTANTS_MODULES.format(source=source)
        notebook = solved(
            self.course,
            assignment,
            [*patches, *mutants.shrink_of(lab).items()],
            extra=extra,
            without=[*mutants.unchecked_of(lab), *_SHOWN[lab]],
        )
        submit(self.course, student, assignment, notebook)
        return grade(self.course, student, assignment)


def gradings_in(template: Path, folder: Path, shared: Path) -> Gradings:
    """Return Gradings in a copy of a course directory."""
    shutil.copytree(template, folder / "course")
    return Gradings(open_course(folder / "course"), shared)


def assert_it_loses_what_its_table_says(
    mutant: Mutant, before: LabRecord, after: LabRecord
) -> None:
    """Compare a mutant's record with the reference's, as lib/tests/labs/test_mutants.py does."""
    was, now = _verdicts(before), _verdicts(after)
    assert now.keys() == was.keys()
    lost = {task: round(was[task].points - now[task].points, 2) for task in was}
    lost = {task: points for task, points in lost.items() if points}
    assert lost.keys() == mutant.lost.keys(), f"lost {lost}; {_told(now)}"
    fixed = {task: points for task, points in mutant.lost.items() if points is not None}
    assert {task: lost[task] for task in fixed} == pytest.approx(fixed), _told(now)
    if mutant.misconception is not None:
        named = [key for task in mutant.lost for key in now[task].misconceptions]
        assert mutant.misconception in named, _told(now)
    assert not codes(after, "attack"), "an honest mistake was taken for an attack"


def _fallen_short(record: LabRecord) -> str:
    """Return what the cards of a reference say where it lost points that need no GPU or person."""
    return _told(
        {
            number: verdict.model_copy(
                update={"findings": [f for f in verdict.findings if f.state != "needs a GPU"]}
            )
            for number, verdict in _verdicts(record).items()
            if record.tasks[number].status != "needs a person"
        }
    )


def _verdicts(record: LabRecord) -> dict[str, Verdict]:
    return {number: task.verdict for number, task in record.tasks.items() if task.verdict}


def _told(verdicts: Mapping[str, Verdict]) -> str:
    """Return what cards say where points are lost, for a test that fails."""
    return "\n".join(
        f"{task} {finding.criterion}: {finding.state} {finding.points:g}/{finding.max_points:g}, "
        f"{finding.measured} ({finding.misconception})"
        for task, verdict in verdicts.items()
        for finding in verdict.findings
        if finding.points < finding.max_points
    )
