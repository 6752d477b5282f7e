"""The tasks of the course: what each is called, what it is graded on, and for how many points.

100 points over six labs: correctness 40, performance 30, accuracy 15, documentation 15. The order
is that of the notebooks. Thresholds are in trtlab.thresholds.
"""

from dataclasses import dataclass
from typing import Literal

Category = Literal["correctness", "performance", "accuracy", "documentation"]


@dataclass(frozen=True)
class Task:
    """One graded cell. Documentation is graded by hand; everything else by a check."""

    number: str  # "2.2": lab 2, second task
    title: str
    category: Category
    points: int

    @property
    def lab(self) -> int:
        """The number of the notebook, 1 to 6."""
        return int(self.number.split(".")[0])


TASKS = {
    task.number: task
    for task in (
        Task("1.1", "Export ResNet-50 with a dynamic batch", "correctness", 4),
        Task("1.2", "Simplify the graph and keep it valid", "correctness", 3),
        Task("1.3", "Explain the export", "documentation", 2),
        Task("2.1", "Build an FP16 engine", "correctness", 5),
        Task("2.2", "Build a dynamic-shape engine", "correctness", 5),
        Task("2.3", "FP16 speed-up over PyTorch FP32", "performance", 12),
        Task("2.4", "FP16 engine size", "performance", 3),
        Task("2.5", "Explain what the builder did", "documentation", 2),
        Task("3.1", "Write the calibration dataset", "correctness", 3),
        Task("3.2", "Write the entropy calibrator", "correctness", 5),
        Task("3.3", "Build the INT8 engine", "correctness", 4),
        Task("3.4", "INT8 speed-up over PyTorch FP32", "performance", 12),
        Task("3.5", "INT8 engine size", "performance", 3),
        Task("3.6", "Explain the calibration", "documentation", 2),
        Task("4.1", "Run an engine: buffers, copies, results", "correctness", 4),
        Task("4.2", "Any batch within the profile, on a stream", "correctness", 2),
        Task("4.3", "Clean up", "correctness", 1),
        Task("5.1", "Measure latency", "correctness", 2),
        Task("5.2", "Measure throughput", "correctness", 1),
        Task("5.3", "Measure accuracy", "correctness", 1),
        Task("5.4", "FP16 accuracy within 0.1 point of FP32", "accuracy", 6),
        Task("5.5", "INT8 accuracy within 1 point of FP32", "accuracy", 9),
        Task("6.1", "The performance report: tables and charts", "documentation", 4),
        Task("6.2", "The analysis", "documentation", 5),
    )
}


def tasks_of(lab: int) -> list[Task]:
    """Return the tasks of one lab, in order."""
    return [task for task in TASKS.values() if task.lab == lab]
