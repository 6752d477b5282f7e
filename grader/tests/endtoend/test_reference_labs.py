"""The reference solutions of all six labs as one student hands them in, graded by a real run.

Takes minutes: nothing is left out of the notebooks, and each lab goes on from what the ones before
it have left.
"""

import re

import nbformat
import pytest

from classroom import FEW_IMAGES, codes, points, solved, submit
from trtlab.backend import IS_EMULATED
from trtlab.checks.tasks import TASKS, tasks_of
from trtlab_grader.course import LABS, SETTINGS_FILE, Course, Settings, write_settings
from trtlab_grader.records import LabRecord
from trtlab_grader.runs import autograde
from trtlab_grader.store import NOTEBOOK, Store

LEFT = {
    "01-export": {"resnet50_simplified.onnx"},
    "02-build": {"resnet50_fp16.engine", "resnet50_dynamic_fp16.engine"},
    "03-calibrate": {"resnet50_int8.engine", "resnet50_calib.cache"},
    "04-infer": set(),
    "05-benchmark": {"results.json"},
    "06-report": set(),
}
"""Lab -> the deliverables that later labs and the grader need of it."""
TAKEN = {
    "01-export": set(),
    "02-build": {"resnet50_simplified.onnx"},
    "03-calibrate": {"resnet50_simplified.onnx", "resnet50_fp16.engine"},
    "04-infer": {"resnet50_dynamic_fp16.engine", "resnet50_int8.engine"},
    "05-benchmark": {
        "resnet50_simplified.onnx",
        "resnet50_dynamic_fp16.engine",
        "resnet50_int8.engine",
    },
    "06-report": {"resnet50_simplified.onnx", "resnet50_dynamic_fp16.engine", "results.json"},
}
"""Lab -> what its notebook takes from the labs before it."""
OF_NO_LAB = {"resnet50_fp32.engine"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("needs_sandbox")
def test_one_student_who_has_solved_everything(classroom: Course) -> None:
    # A course's usual limits: a whole lab 5 is more than tests allow a cell elsewhere.
    (classroom.root / SETTINGS_FILE).unlink()
    write_settings(classroom.root, Settings(name="Tests", accuracy_images=FEW_IMAGES))
    for assignment in LABS:
        submit(classroom, "ada", assignment, solved(classroom, assignment))
    outcome = autograde(classroom, jobs=1)
    assert outcome.failed == {}
    records = {record.assignment: record for record in outcome.records.values()}
    assert set(records) == set(LABS)
    for record in records.values():
        all_points_are_there(record)
    taken_and_left(classroom, records)


def all_points_are_there(record: LabRecord) -> None:
    """Assert that a record has all points that a machine can give without a GPU."""
    assert not record.cell_errors
    assert not codes(record, "attack") | codes(record, "human")
    assert record.isolation == "bubblewrap"
    judged = [t for t in tasks_of(record.lab) if t.category in ("correctness", "accuracy")]
    assert {t.number: points(record)[t.number] for t in judged} == {
        t.number: t.points for t in judged
    }
    waiting = [t.number for t in tasks_of(record.lab) if t.category == "performance"]
    assert record.waiting_for_gpu == (waiting if IS_EMULATED else [])
    by_hand = {n for n, task in record.tasks.items() if task.status == "needs a person"}
    assert by_hand == {t.number for t in tasks_of(record.lab) if t.category == "documentation"}
    for number, task in record.tasks.items():
        short = [
            finding
            for finding in (task.verdict.findings if task.verdict else ())
            if number not in by_hand
            and finding.points < finding.max_points
            and finding.state != "needs a GPU"
        ]
        assert not short, f"{TASKS[number].title}: {short}"


def taken_and_left(course: Course, records: dict[str, LabRecord]) -> None:
    """Assert that each lab has used what the ones before it left, and nothing provided for it."""
    store = Store(course.records)
    for assignment, record in records.items():
        assert set(record.deliverables) == LEFT[assignment]
        notebook = nbformat.read(store.folder(record.key) / NOTEBOOK, as_version=4)
        said = nbformat.writes(notebook)
        own = set(re.findall(r"Using your own (\S+) \(\.\./", said))
        assert own == TAKEN[assignment]
        assert set(re.findall(r"Using a provided (\S+):", said)) <= OF_NO_LAB
    losses = records["05-benchmark"].tasks
    for number in ("5.4", "5.5"):
        verdict = losses[number].verdict
        assert verdict is not None
        assert verdict.findings[0].criterion == "your engine classifies the validation images"
