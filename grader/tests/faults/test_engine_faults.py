"""Engines that are missing, damaged, of another machine, or no files at all; GPUs that are full.

They are graded as in a course. An engine is opened in the bench, and costs what it is worth.
"""

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from classroom import codes, grade, points, solved, submit
from faults.lab_one import limited
from trtlab.errors import CourseFault
from trtlab_grader import stage
from trtlab_grader.course import Course
from trtlab_grader.records import LabRecord

pytestmark = pytest.mark.usefixtures("needs_sandbox", "nothing_is_left")

LAB, ENGINE = "02-build", "resnet50_fp16.engine"
FULL = {"2.1": 5.0, "2.2": 0.0, "2.3": 0.0, "2.4": 0.0, "2.5": 1.0}
"""What the notebook earns: task 2.2 is not in it, speed and size need a GPU."""
NO_ENGINE = FULL | {"2.1": 2.0}
"""What is left without the engine: what the function does with other models."""
_NEEDED = ("setup", "task-2-1", "call-2-1")


def lab_two(course: Course, fault: str = "") -> NotebookNode:
    """Return lab 2 cut down to task 2.1, with a cell of the id `fault` at its end."""
    notebook = solved(course, LAB, unwritten=["task-2-2"])
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.id in _NEEDED or cell.metadata.get("nbgrader", {}).get("grade_id")
    ]
    if fault:
        notebook.cells.append(new_code_cell(f"import os\nENGINE = {ENGINE!r}\n{fault}", id="fault"))
    return nbformat.from_dict(notebook)


def judged_engine(record: LabRecord) -> str:
    """Return what the first finding of task 2.1, on the engine's file, says."""
    verdict = record.tasks["2.1"].verdict
    assert verdict is not None
    return verdict.findings[0].measured


FAULTS = {
    "missing": ("os.remove(ENGINE)", "there is no such file", set()),
    "truncated": (
        "data = open(ENGINE, 'rb').read()\nopen(ENGINE, 'wb').write(data[: len(data) // 2])",
        "it is truncated: ",
        set(),
    ),
    "no bytes": ("open(ENGINE, 'wb').close()", f"{ENGINE} is empty", set()),
    "of TensorRT for a GPU": (
        "open(ENGINE, 'wb').write(b'ftrt' + bytes(10_000))",
        f"{ENGINE} was built by TensorRT for a GPU",
        set(),
    ),
    "of another GPU, by its sidecar": (
        "import hashlib, json\n"
        "from trtlab.lab import artifact\n"
        "sidecar = json.load(open(f'{artifact(\"resnet50_fp32.engine\")}.json'))\n"
        "data = open(ENGINE, 'rb').read()\n"
        "sidecar['engine_bytes'] = len(data)\n"
        "sidecar['engine_sha256'] = hashlib.sha256(data).hexdigest()\n"
        "sidecar |= {'gpu': 'NVIDIA H200', 'compute_capability': '9.0'}\n"
        "json.dump(sidecar, open(f'{ENGINE}.json', 'w'))",
        f"{ENGINE} was built for NVIDIA H200 (compute capability 9.0)",
        set(),
    ),
    "a link to a file of the machine": (
        "os.remove(ENGINE)\nos.symlink('/etc/passwd', ENGINE)",
        "there is no such file",
        {"symlink-deliverable"},
    ),
    "a folder": ("os.remove(ENGINE)\nos.mkdir(ENGINE)", "there is no such file", set()),
    "a pipe": (
        "os.remove(ENGINE)\nos.mkfifo(ENGINE)",
        "there is no such file",
        {"file-refused"},
    ),
    "a hole of 1 GB": (
        "with open(ENGINE, 'wb') as file:\n    file.truncate(1 << 30)",
        "there is no such file",
        {"file-refused"},
    ),
    "a hole of 400 MB": (
        "with open(ENGINE, 'wb') as file:\n    file.truncate(400 << 20)",
        f"{ENGINE} is not an engine: it begins with",
        set(),
    ),
}
QUICK = {"truncated"}


@pytest.mark.parametrize(
    ("fault", "said", "flags"),
    [
        pytest.param(*fault, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, fault in FAULTS.items()
    ],
)
def test_a_bad_engine_costs_what_it_is_worth(
    room: Course, fault: str, said: str, flags: set[str]
) -> None:
    room = limited(room, file_mib=2048)
    submit(room, "ada", LAB, lab_two(room, fault))
    record = grade(room, "ada", LAB)
    assert not record.cell_errors
    assert points(record) == NO_ENGINE
    assert said in judged_engine(record)
    assert "/" not in judged_engine(record).replace("TensorRT/", "")  # no folder of the grader's
    assert codes(record) - {"reaches-for-machinery"} == flags


@pytest.mark.slow
def test_a_bad_engine_does_not_hurt_the_next_lab_or_the_next_student(room: Course) -> None:
    submit(room, "ada", LAB, lab_two(room, FAULTS["truncated"][0]))
    submit(room, "bob", LAB, lab_two(room))
    assert points(grade(room, "ada", LAB)) == NO_ENGINE
    assert points(grade(room, "bob", LAB)) == FULL


@pytest.mark.slow
def test_a_gpu_without_memory_is_told_and_the_next_one_is_graded(
    room: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(room, "bob", LAB, lab_two(room))
    submit(room, "ada", LAB, lab_two(room))
    full = grade(room, "bob", LAB)  # and the course's own engines are there
    assert points(full) == FULL
    assert not full.flags
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_PASSED_ON", (*stage._PASSED_ON, "TRTLAB_EMULATED_MEMORY_MIB"))
        patch.setenv("TRTLAB_EMULATED_MEMORY_MIB", "0")
        starved = grade(room, "ada", LAB)
    assert points(starved)["2.1"] < NO_ENGINE["2.1"]
    assert points(starved)["2.5"] == FULL["2.5"]
    assert "could not build" in starved.cell_errors["call-2-1"]
    assert codes(starved, "human") == {"gpu-out-of-memory"}
    # With the memory back, the same work gets what it deserves, and no flag.
    again = grade(room, "ada", LAB)
    assert points(again) == FULL
    assert not again.flags


@pytest.mark.slow
def test_a_gpu_without_memory_for_the_course_s_own_engines_is_nobody_s_fault(
    room: Course, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    submit(room, "ada", LAB, lab_two(room))
    monkeypatch.setenv("TRTLAB_CACHE", f"{tmp_path}/cache")
    monkeypatch.setenv("TRTLAB_EMULATED_MEMORY_MIB", "1")
    with pytest.raises(CourseFault, match="The GPU ran out of memory"):
        grade(room, "ada", LAB)
    assert not room.records.exists()
