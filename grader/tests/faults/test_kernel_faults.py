"""Notebooks that break their kernel: what was solved before counts, and the next one is not hurt.

Each is graded as it would be in a course: in a sandbox, from the file to the record.
"""

import re
from dataclasses import dataclass, field

import pytest

from classroom import codes, grade, points, submit
from faults.lab_one import FULL, LAB, WRITTEN_ONLY, lab_one, limited
from trtlab_grader.course import Course

pytestmark = pytest.mark.usefixtures("needs_sandbox", "nothing_is_left")

ENDED = "notebook-stopped"
"""The flag of a notebook that was not run to its end."""


@dataclass(frozen=True)
class Fault:
    """A cell that stands behind a solved task.

    Attributes:
        source: of the cell.
        error: what the record says of it, a regular expression; "" for nothing.
        flag: code of the flag that a person sees; "" for none.
        points: by task.
        limits: settings of the course that it runs into.
    """

    source: str
    error: str = ""
    flag: str = ""
    points: dict[str, float] = field(default_factory=lambda: dict(FULL))
    limits: dict[str, float] = field(default_factory=dict)


FAULTS = {
    "os._exit": Fault("import os; os._exit(3)", r"the kernel ended \(exit status 3\)", ENDED),
    "SIGKILL": Fault(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        r"the kernel ended \(exit status 137\)",
        ENDED,
    ),
    "SIGSEGV": Fault(
        "import ctypes; ctypes.string_at(0)", r"the kernel ended \(exit status 139\)", ENDED
    ),
    "eats memory": Fault(
        "hoard = [bytearray(b'x' * (64 << 20)) for _ in range(100)]",
        r"the kernel ended \(memory: [\d,]+ MiB in use, limit 2,048 MiB\)",
        ENDED,
        limits={"memory_gib": 2},
    ),
    "fills the disk": Fault(
        "import time\n"
        "for number in range(40):\n"
        "    with open(f'fill-{number}', 'wb') as file:\n"
        "        file.write(bytes(8 << 20))\n"
        "time.sleep(60)",
        r"the kernel ended \(disk: \d+ MiB in the work folder, limit 200 MiB\)",
        ENDED,
        limits={"disk_mib": 200},
    ),
    "writes a file that is too large": Fault(
        "with open('fill', 'wb') as file:\n"
        "    for _ in range(100):\n"
        "        file.write(bytes(8 << 20))",
        r"OSError: \[Errno 27\] File too large",
        limits={"file_mib": 100},
    ),
    "forks without end": Fault(
        "import os, time\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
        "    except OSError:\n"
        "        pass",
        r"the kernel ended \(processes: \d+ processes and threads, limit 200\)",
        ENDED,
        limits={"processes": 200},
    ),
    "hangs": Fault(
        "while True:\n    pass",
        "ran longer than 20 s",
        "cell-interrupted",
        limits={"cell_seconds": 20},
    ),
    "hangs and ignores interrupts": Fault(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass",
        r"ran longer than 20 s, and the kernel ended \(wall time: .*\)",
        ENDED,
        limits={"cell_seconds": 20},
    ),
    "prints 100 MB at once": Fault("print('x' * (100 << 20))"),
    "prints 100 MB in lines": Fault("for _ in range(100):\n    print('x' * (1 << 20))"),
    "makes 10,000 outputs": Fault(
        "from IPython.display import display\nfor number in range(10_000):\n    display(number)"
    ),
    "closes descriptor 1": Fault("import os; os.close(1); print('hello')"),
    "closes sys.stdout": Fault(
        "import sys; sys.stdout.close(); print('hello')",
        "ValueError: I/O operation on closed file",
    ),
    "writes to stderr": Fault(
        "import sys, warnings\nprint('oops', file=sys.stderr)\nwarnings.warn('be careful')"
    ),
    "replaces stdin": Fault(
        "import io, os, sys\nsys.stdin = io.StringIO('x')\nos.close(0)\ninput()",
        "StdinNotImplementedError: .*",
    ),
    "SystemExit": Fault("raise SystemExit(2)", "SystemExit: 2"),
    "KeyboardInterrupt": Fault("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "goes to another folder": Fault("import os; os.chdir('/tmp')"),
    # resnet50.onnx goes with it; the function on its own is worth half a point.
    "deletes its own folder": Fault(
        "import os, shutil; shutil.rmtree(os.getcwd(), ignore_errors=True)",
        points=FULL | {"1.1": 0.5},
    ),
}
QUICK = {"os._exit", "SystemExit"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, fault in FAULTS.items()
    ],
)
def test_what_was_solved_before_the_fault_counts(room: Course, fault: Fault) -> None:
    course = limited(room, **fault.limits)
    submit(course, "ada", LAB, lab_one(course, fault.source))
    submit(course, "bob", LAB, lab_one(course))

    record = grade(course, "ada", LAB)
    assert points(record) == fault.points
    assert set(record.cell_errors) == ({"fault"} if fault.error else set())
    assert re.fullmatch(fault.error, record.cell_errors.get("fault", ""))
    assert codes(record) - {"reaches-for-machinery"} == ({fault.flag} if fault.flag else set())

    after = grade(course, "bob", LAB)
    assert points(after) == FULL
    assert not after.flags
    assert not after.cell_errors


def test_a_fault_before_the_work_leaves_the_written_answer(room: Course) -> None:
    submit(room, "ada", LAB, lab_one(room, "import os; os._exit(3)", after=""))
    record = grade(room, "ada", LAB)
    assert points(record) == WRITTEN_ONLY
    assert ENDED in codes(record, "human")
    verdict = record.tasks["1.1"].verdict
    assert verdict is not None
    assert "the kernel ended (exit status 3)" in verdict.findings[0].measured


@pytest.mark.slow
def test_a_function_that_ends_the_kernel_costs_its_own_task_alone(room: Course) -> None:
    notebook = lab_one(room)
    (cell,) = [cell for cell in notebook.cells if cell.id == "task-1-1"]
    # Right in the notebook, and the end of the kernel when it is called again, in the probe.
    cell.source += "\n\n_calls = []\n_honest = export_model\n\n" + (
        "def export_model(*arguments, **named):\n"
        "    _calls.append(1)\n"
        "    if len(_calls) > 1:\n"
        "        import os; os._exit(4)\n"
        "    return _honest(*arguments, **named)\n"
    )
    submit(room, "ada", LAB, notebook)
    record = grade(room, "ada", LAB)
    assert points(record) == WRITTEN_ONLY
    assert not record.cell_errors  # the notebook itself ran to its end
