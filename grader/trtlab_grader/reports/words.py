"""Words that both reports use: of states, labs, machines and misconceptions."""

from trtlab.checks.misconceptions import MISCONCEPTIONS, Misconception
from trtlab.checks.registry import import_checks
from trtlab.checks.verdict import State
from trtlab_grader.course import LABS
from trtlab_grader.records import LabRecord

STATE_WORDS: dict[State, str] = {
    "pass": "met",
    "inconclusive": "met (inconclusive)",
    "needs a GPU": "awaits a GPU",
    "fail": "not met",
    "not started": "not started",
}

# A misconception is registered by the module of the check that recognises it.
import_checks()


def lab_title(number: int) -> str:
    """Return a lab's name: "Lab 2: Build"."""
    return f"Lab {number}: {LABS[number - 1].partition('-')[2].capitalize()}"


def known_misconception(key: str) -> Misconception:
    """Return a misconception's texts; of one that has since been removed, its key."""
    return MISCONCEPTIONS.get(key) or Misconception(key, "This check no longer names it.")


def processor(record: LabRecord) -> str:
    """Return what a lab was graded on: the GPU where TensorRT was real, else the CPU."""
    machine = record.machine
    return machine.gpu.name if machine.gpu and not machine.emulated else machine.cpu


def machine_line(record: LabRecord) -> str:
    """Return when and on what a lab was graded, in a line."""
    kind = "emulated TensorRT" if record.machine.emulated else "TensorRT"
    version = record.machine.versions.get("tensorrt") or ""
    return f"Graded {record.started[:10]} on {processor(record)}, {kind} {version}".strip()
