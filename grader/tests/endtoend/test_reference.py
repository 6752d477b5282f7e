"""The reference solution through the whole grader, on whatever backend is here."""

import pytest

from classroom import codes, grade, points, solved, submit
from trtlab.checks.tasks import tasks_of
from trtlab_grader.course import Course


@pytest.mark.usefixtures("needs_sandbox")
@pytest.mark.parametrize("assignment", ["01-export", "04-infer"])
def test_it_gets_all_points_that_a_machine_can_give(classroom: Course, assignment: str) -> None:
    submit(classroom, "ada", assignment, solved(classroom, assignment))
    record = grade(classroom, "ada", assignment)
    judged = [task for task in tasks_of(record.lab) if task.category == "correctness"]
    assert {t.number: points(record)[t.number] for t in judged} == {
        t.number: t.points for t in judged
    }
    assert record.isolation == "bubblewrap"
    assert not record.cell_errors
    assert not codes(record, "attack") | codes(record, "human")
