"""A made-up class: records as a grader with or without a GPU would leave them, and gradebook data.

Findings are worded as the checks word them. `PYTHONPATH=grader/tests python -m reports.sample_class
FOLDER` writes a class report and two feedback pages to look at.
"""

import io
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from matplotlib.figure import Figure

from reports import independent
from trtlab.checks.tasks import TASKS, tasks_of
from trtlab.checks.verdict import Finding, Verdict
from trtlab.machine import GpuFacts, MachineFacts
from trtlab_grader.course import LABS
from trtlab_grader.records import Flag, LabRecord, TaskRecord
from trtlab_grader.reports.class_report import write_class_report
from trtlab_grader.reports.feedback import write_feedback
from trtlab_grader.reports.grades import StudentGrades, grades_from_records
from trtlab_grader.reports.similarity import Pair, Submission, similar_pairs

COURSE = "TensorRT lab, autumn"
NAMES = (  # noqa: SIM905
    "ada barbara claude donald edsger frances grace hedy ida jean katherine leslie margaret "
    "niklaus ole peter radia robin sophie tim ursula vint whitfield yukihiro"
).split()

_RENAMED = {
    "samples": "zeiten",
    "ordered": "sortiert",
    "begin": "anfang",
    "calls": "anzahl",
    "timed_call": "messung",
    "labels": "ziele",
}

# task -> (criterion, share, required, measured on success, on failure, misconception, next step)
_PARTS: dict[str, list[tuple[str, float, str, str, str, str | None, str]]] = {
    "1.1": [
        ("the batch is dynamic, and nothing else", 0.5,
         "a name for the batch in input and output, numbers for the rest",
         "input (batch, 3, 224, 224), output (batch, 10)", "input (2, 3, 224, 224), output (2, 10)",
         "batch-frozen-at-export", "Name dimension 0 of input and output in dynamic_axes."),
        ("the outputs are PyTorch's", 0.5, "no logit further away than 0.0001",
         "largest difference 4.1e-06", "largest difference 1.9", "exported-in-training-mode",
         "Call model.eval() before you export."),
    ],
    "1.2": [
        ("it computes what it computed before", 1.0, "the logits of the graph before",
         "largest difference 2.2e-06", "the file is the unsimplified graph", "unsimplified-saved",
         "Save what simplify() returned."),
    ],
    "2.1": [
        ("its layers run in FP16", 0.6, "FP16 for most layers, by the engine inspector",
         "layers: 55 FP16, 2 FP32", "layers: 57 FP32", "fp32-labelled-fp16",
         "Allow FP16 with a builder flag, and build again."),
        ("the workspace limit", 0.2, "2,147,483,648 bytes (2 GiB)", "2,147,483,648 bytes",
         "2,048 bytes", "workspace-unit", "The limit is in bytes: 2 << 30."),
        ("it stops at an ONNX file that cannot be parsed", 0.2, "an exception or None",
         "RuntimeError", "it went on to build", "parser-errors-ignored",
         "parse_from_file returns False when it fails. Look at it, and print the errors."),
    ],
    "2.2": [
        ("the profile's batches", 0.6, "min 1 / opt 8 / max 32", "min 1 / opt 8 / max 32",
         "min 1 / opt 1 / max 8", "profile-too-small", "Look at the order: min, opt, max."),
        ("right answers at batch 32", 0.4, "ONNX Runtime's logits, within 0.05 of the largest",
         "within 0.0009", "TensorRT refuses batch 32", "profile-too-small",
         "Build with a profile that includes this batch."),
    ],
    "2.3": [
        ("speed-up over PyTorch FP32 at batch 32", 1.0, "at least 2x",
         "3.74x (95 % interval 3.63 to 3.85)", "1.41x (95 % interval 1.38 to 1.45)", None,
         "Was the engine built on this GPU, with FP16 allowed?"),
    ],
    "2.4": [
        ("the FP16 engine is smaller", 1.0, "at least 1.9x", "95.3 MB / 48.5 MB = 1.96x",
         "95.3 MB / 95.1 MB = 1.00x", "fp32-labelled-fp16",
         "Weights take half the bytes in FP16. Look at the precisions of its layers."),
    ],
    "3.1": [
        ("the values are those of the model's preprocessing", 1.0,
         "what inference feeds the network", "the model's normalisation",
         "values from 0 to 1, not normalised", "calibration-not-normalised",
         "Use the transform of the workload."),
    ],
    "3.2": [
        ("one device buffer for all batches", 0.4, "one address", "one address",
         "a new buffer for each of 4 batches", "calibrator-buffer-per-batch",
         "Allocate in __init__ and copy into it."),
        ("an error is not taken for the end of the data", 0.4, "raised, or kept for you to see",
         "the loader's exception came through", "None was returned", "calibrator-hides-errors",
         "Catch StopIteration only."),
        ("the cache is written", 0.2, "the bytes that TensorRT gave", "4,211 bytes", "no file",
         None, "Write what you are given to cache_file."),
    ],
    "3.3": [
        ("its layers run in INT8", 1.0, "INT8 for most layers, by the engine inspector",
         "layers: 53 INT8, 4 FP16", "layers: 57 FP16", "int8-in-name-only",
         "Allow INT8 with a builder flag."),
    ],
    "3.4": [
        ("speed-up over PyTorch FP32 at batch 32", 1.0, "at least 4x",
         "5.9x (95 % interval 5.71 to 6.08)", "3.41x (95 % interval 3.3 to 3.5)", None,
         "Is FP16 allowed beside INT8?"),
    ],
    "3.5": [
        ("the INT8 engine is smaller", 1.0, "at least 3.6x", "95.3 MB / 26.1 MB = 3.65x",
         "95.3 MB / 48.4 MB = 1.97x", "int8-in-name-only", "Look at the layers' precisions."),
    ],
    "4.1": [
        ("right answers", 0.5, "the engine's logits", "within 0.0002", "NaN in 3 of 8 rows",
         "missing-synchronise", "Wait for the stream before you read the output."),
        ("two results are two arrays", 0.5, "the first result is unchanged by the second call",
         "unchanged", "the first result became the second", "returned-buffer",
         "Return a copy of the buffer."),
    ],
    "4.2": [
        ("every batch from 1 to 32", 1.0, "right answers at 1, 5, 8 and 32", "right at all four",
         "wrong at 5", "padded-to-maximum", "Set the input's shape in every call."),
    ],
    "4.3": [
        ("memory after close()", 1.0, "all of it given back", "all of it given back",
         "48,381,952 bytes are still allocated", "never-freed",
         "Free every allocation in close()."),
    ],
    "5.1": [
        ("what is timed", 0.5, "40 ms of a model that takes 40 ms", "40.2 ms", "0.03 ms",
         "no-synchronise", "Call synchronize() before you stop the clock."),
        ("the percentiles", 0.5, "p95 and p99 of the times", "as NumPy's",
         "p99 is below the median", "percentile-unsorted", "Sort, or use np.percentile."),
    ],
    "5.2": [
        ("images, not calls", 1.0, "1,600 images/s", "1,598 images/s", "50 images/s",
         "calls-for-images", "Multiply by the batch size."),
    ],
    "5.3": [
        ("top-1 and top-5 in percent", 1.0, "75 and 93.75", "75 and 93.75", "0.75 and 0.9375",
         "fraction-for-percent", "Multiply by 100."),
    ],
    "5.4": [
        ("loss of top-1 against FP32", 1.0, "at most 0.1 points",
         "0.03 points (95 % interval -0.04 to 0.09)", "0.61 points (95 % interval 0.4 to 0.8)",
         "fp16-more-than-rounding", "Is it the same network?"),
    ],
    "5.5": [
        ("loss of top-1 against FP32", 1.0, "at most 1 points",
         "0.78 points (95 % interval 0.68 to 0.87)", "3.1 points (95 % interval 2.7 to 3.5)",
         "int8-ranges-do-not-fit", "Look at your calibration images."),
    ],
}  # fmt: skip


def machine(gpu: bool = True) -> MachineFacts:
    """Return the facts of a machine with an H200, or of one that emulates."""
    h200 = GpuFacts(name="NVIDIA H200", compute_capability="9.0", driver="575.57.08")
    return MachineFacts(
        time=datetime(2026, 1, 20, tzinfo=timezone.utc),
        gpu=h200 if gpu else None,
        cpu="AMD EPYC 9554",
        cpu_cores=16 if gpu else 2,
        system="Linux x86_64",
        backend="tensorrt" if gpu else "emulated",
        emulated=not gpu,
        tf32_convolutions=True,
        tf32_matmuls=False,
        versions={"tensorrt": "10.16.1", "torch": "2.11.0", "python": "3.11.2", "pycuda": None},
    )


def verdict(task: str, skill: float, gpu: bool, dice: random.Random) -> Verdict:
    """Return a verdict of a student who meets each part with probability `skill`."""
    about, made = TASKS[task], []
    for criterion, share, required, good, bad, key, step in _PARTS[task]:
        most = share * about.points
        if about.category == "performance" and not gpu:
            made.append(Finding(
                criterion=criterion, state="needs a GPU", points=0, max_points=most,
                measured="not measured: this machine emulates TensorRT", required=required,
                next_step="Nothing to do: this is measured on a GPU.",
            ))  # fmt: skip
            continue
        met = dice.random() < skill
        unsure = met and "interval" in good and dice.random() < 0.15
        made.append(Finding(
            criterion=criterion,
            state="inconclusive" if unsure else "pass" if met else "fail",
            points=most if met else 0,
            max_points=most,
            measured=good if met else bad,
            required=required,
            misconception=None if met else key,
            next_step="" if met else step,
        ))  # fmt: skip
    return Verdict(task=task, title=about.title, findings=tuple(made))


def record(
    student: str, lab: int, skill: float = 0.8, gpu: bool = True, **changes: object
) -> LabRecord:
    """Return a record; the same arguments give the same one."""
    dice = random.Random(f"{student} {lab}")
    tasks = {}
    for about in tasks_of(lab):
        if about.category == "documentation":
            tasks[about.number] = TaskRecord(
                task=about.number, status="needs a person", verdict=None
            )
            continue
        judged = verdict(about.number, skill, gpu, dice)
        waits = judged.state == "needs a GPU"
        tasks[about.number] = TaskRecord(
            task=about.number,
            status="needs a GPU" if waits else "graded",
            verdict=judged,
            seconds=dice.uniform(0.5, 40),
        )
    given: dict[str, object] = {
        "key": f"{student}-{lab}",
        "student": student,
        "assignment": LABS[lab - 1],
        "lab": lab,
        "submission_sha256": "0" * 64,
        "machine": machine(gpu),
        "isolation": "bubblewrap",
        "started": "2026-01-20T10:00:00+00:00",
        "seconds": 60.0,
        "tasks": tasks,
    }
    return LabRecord.model_validate(given | changes)


def records_of_class(students: int = len(NAMES), gpu: bool = True) -> list[LabRecord]:
    """Return the records of a class in which some stop early, and a few are flagged."""
    return list(_records(students, gpu))


def _records(students: int, gpu: bool) -> Iterator[LabRecord]:
    dice = random.Random(1)
    for index in range(students):
        name = NAMES[index] if index < len(NAMES) else f"student{index:03d}"
        skill = min(0.99, max(0.25, dice.gauss(0.8, 0.17)))
        for lab in range(1, len(LABS) + 1):
            if lab > 2 and dice.random() < 0.06:
                break  # gave up
            flags, errors = [], {}
            if name == "edsger" and lab == 2:
                flags.append(Flag(
                    kind="attack", code="symlink-deliverable", task="2.1",
                    text="resnet50_fp16.engine is a link to /etc/passwd",
                ))  # fmt: skip
            if name == "hedy" and lab == 5:
                flags.append(Flag(
                    kind="human", code="watching-modules",
                    text="a cell imports trtlab.lab.watching, which measures how functions wait",
                ))  # fmt: skip
            if name == "tim" and lab == 3:
                flags.append(Flag(
                    kind="human", code="notebook-unreadable", text="the notebook is not JSON",
                ))  # fmt: skip
            if skill < 0.55 and lab == 4:
                errors["infer-test"] = (
                    "ValueError: cannot reshape array of size 80 into shape (4,10)"
                )
            yield record(name, lab, skill, gpu, flags=flags, cell_errors=errors)


def grades_of(student: str, records: list[LabRecord]) -> StudentGrades:
    """Return gradebook data in which a person has graded the documentation of labs 1 and 2."""
    grades = grades_from_records(student, records)
    tasks = dict(grades.tasks)
    said = ("Clear, and the numbers are right.\nSay which layers stayed in FP32, and why.",)
    for number, points in (("1.3", 2.0), ("2.5", 1.5)):
        if number in tasks:
            tasks[number] = replace(
                tasks[number], manual=points, status="graded", open_points=0.0, comments=said
            )
    return replace(grades, tasks=tasks)


def pairs() -> list[Pair]:
    """Return similar pairs of real code: one copy with other names, and an independent one."""
    copy = independent.LAB5_ADA
    for old, new in _RENAMED.items():
        copy = copy.replace(old, new)
    code = {"ada": independent.LAB5_ADA, "grace": copy, "leslie": independent.LAB5_BOB}
    return similar_pairs([Submission(s, LABS[4], text) for s, text in code.items()], {})


def chart() -> bytes:
    """Return a PNG as a student might draw it."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(["pytorch-fp32", "tensorrt-fp16", "tensorrt-int8"], [35.6, 9.5, 6.0],
              color=["#707070", "#76B900", "#b9e066"])  # fmt: skip
    axes.set_xlabel("median latency at batch 32 (ms per call)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def main(folder: Path) -> None:
    """Write pages to look at."""
    records = records_of_class()
    everybody = {r.student for r in records}
    own = {name: [r for r in records if r.student == name] for name in everybody}
    grades = [grades_of(name, own[name]) for name in sorted(everybody)]
    write_class_report(folder / "report.html", COURSE, records, grades, pairs())
    emulated = [record("ada", lab, 0.7, gpu=False) for lab in (1, 2, 3, 4)]
    charts = [("latency.png", chart()), ("throughput.png", b"not an image")]
    write_feedback(folder / "emulated", COURSE, emulated, grades_of("ada", emulated), charts)
    write_feedback(
        folder / "gpu", COURSE, own["frances"], grades_of("frances", own["frances"]), charts
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
