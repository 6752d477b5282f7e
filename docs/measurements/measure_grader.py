"""Measures the grader on a made-up class, beside stock nbgrader on the same submissions.

    python docs/measurements/measure_grader.py class OUT --copies 3       # 30 students
    python docs/measurements/measure_grader.py compare OUT                # beside stock nbgrader
    python docs/measurements/measure_grader.py repeat OUT --labs all      # the reference, 5 times
    python docs/measurements/measure_grader.py complete OUT --labs 02-build   # CPU, then the GPU

Each writes OUT/grader-{what}.json: machine, versions, commit, seconds, and every grade. Until then
what is graded is in OUT/grades.jsonl, a line for each notebook, in case that the run is cut short.
OUT/timeline.jsonl tells what was being done for whom, and when: what a run took its time for.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook
from provenance import provenance

from trtlab.backend import IS_EMULATED
from trtlab.files import write_text
from trtlab_grader.course import LABS, Course, Settings, open_course
from trtlab_grader.nbgrader_glue.setup import init_course
from trtlab_grader.provisions import provide
from trtlab_grader.records import LabRecord
from trtlab_grader.runs import Event, autograde
from trtlab_grader.samples import CLASS, DEMO_LABS, Sample, hand_in_class
from trtlab_grader.sandbox import Bubblewrap, SandboxMissing
from trtlab_grader.stage import gpu_lease

STOCK_CONFIG = """\
# nbgrader's own autograder: nothing of trtlab's but how long a cell may take.
c = get_config()
c.CourseDirectory.course_id = "default_course"
c.ExecutePreprocessor.timeout = 1200
c.Execute.timeout = 1200
c.ClearSolutions.enforce_metadata = False
"""


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["class", "compare", "repeat", "complete", "without-gpu"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=1, help="of the class of ten students")
    parser.add_argument("--labs", default=",".join(DEMO_LABS), help="names, or all")
    parser.add_argument("--students", default="", help="only these made-up students, by name")
    parser.add_argument("--runs", type=int, default=5, help="of repeat")
    parser.add_argument(
        "--stock-seconds", type=float, help="stop stock nbgrader then; what it has graded counts"
    )
    parser.add_argument("--jobs", type=int, help="workers; default: as many as suit the machine")
    arguments = parser.parse_args()
    if arguments.what == "without-gpu":  # complete's first half: OUT is its course
        log = arguments.out / "grades.jsonl"
        print(json.dumps(graded(open_course(arguments.out), None, log)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "grades.jsonl"
    for left in (log, log.with_name("timeline.jsonl")):
        left.unlink(missing_ok=True)
    labs = LABS if arguments.labs == "all" else tuple(arguments.labs.split(","))
    wanted = arguments.students.split(",") if arguments.students else [s.student for s in CLASS]
    samples = [s for s in CLASS if s.student in wanted]
    for lab in labs if arguments.what != "complete" else ():  # that has no time to measure
        # Made once for whoever grades; in nobody's time.
        provide(LABS.index(lab) + 1, gpu_lease("exclusive"))
    with tempfile.TemporaryDirectory(prefix="trtlab-measure-") as folder:
        root = Path(folder)
        if arguments.what == "class":
            several = copies(samples, arguments.copies)
            found = measure_class(root, several, labs, arguments.jobs, log)
        elif arguments.what == "compare":
            found = compare(root, samples, labs, arguments.jobs, log, arguments.stock_seconds)
        elif arguments.what == "complete":
            found = complete(root, labs, arguments.jobs, log)
        else:
            found = repeat(root, labs, arguments.runs, arguments.jobs, log)
    target = arguments.out / f"grader-{arguments.what}.json"
    write_text(target, json.dumps({**provenance(), "labs": labs, **found}, indent=1) + "\n")
    log.unlink(missing_ok=True)
    print(target)


def copies(samples: list[Sample], times: int) -> list[Sample]:
    """Return the class several times over, under different names."""
    return [
        replace(sample, student=f"{sample.student}-{number}" if number else sample.student)
        for number in range(times)
        for sample in samples
    ]


def new_course(root: Path, name: str, samples: list[Sample], labs: tuple[str, ...]) -> Course:
    """Make a course directory in which a class has handed in."""
    course = init_course(root / name, Settings(name=name))
    hand_in_class(course, labs, tuple(samples))
    return course


def has_sandbox() -> bool:
    """Whether submissions can be confined here."""
    try:
        Bubblewrap()
    except SandboxMissing as error:
        print(f"No sandbox: {error}", file=sys.stderr)
        return False
    return True


def graded(course: Course, jobs: int | None, log: Path, regrade: bool = False) -> dict[str, Any]:
    """Grade with trtlab-grade; return seconds and what everybody got."""
    sandbox = has_sandbox()

    def note(event: Event) -> None:
        who = f"{event.submission.student} {event.submission.assignment}"
        with log.with_name("timeline.jsonl").open("a") as lines:
            print(json.dumps([round(time.perf_counter() - start, 2), who, event.text]), file=lines)
        if event.record is not None:
            with log.open("a") as lines:
                print(json.dumps(notebook(event.record)), file=lines)

    start = time.perf_counter()
    outcome = autograde(course, sandbox=sandbox, jobs=jobs, regrade=regrade, on_event=note)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "sandbox": sandbox,
        "failed": {f"{s.student} {s.assignment}": why for s, why in outcome.failed.items()},
        "notebooks": [notebook(record) for record in outcome.records.values()],
    }


def notebook(record: LabRecord) -> dict[str, Any]:
    """Return what is kept of a record: who got what, for how long it took, and why."""
    return {
        "student": record.student,
        "assignment": record.assignment,
        "seconds": record.seconds,
        "points": record.points,
        "tasks": {
            task: {
                "points": found.verdict.points if found.verdict else None,
                "status": found.status,
                "seconds": found.seconds,
            }
            for task, found in record.tasks.items()
        },
        "flags": [flag.code for flag in record.flags if flag.kind != "note"],
    }


def stock(course: Course, most_seconds: float | None, log: Path) -> dict[str, Any]:
    """Grade with nbgrader as it comes; return seconds, how many it graded, and what everybody got.

    It grades one submission after the other. After `most_seconds` it is stopped, though not before
    it has graded one: what it is at then does not count, and the seconds end where that began.
    """
    write_text(course.root / "nbgrader_config.py", STOCK_CONFIG)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assignments = sorted({path.name for path in course.submitted.glob("*/*")})
    begun: dict[str, float] = {}  # submission -> seconds
    status: dict[str, int | None] = {}
    stopped = False
    start = time.perf_counter()
    for assignment in assignments:
        command = [sys.executable, "-m", "nbgrader", "autograde", assignment]
        with (course.root / "stock.log").open("w+") as said:
            process = subprocess.Popen(
                command, cwd=course.root, env=environment, stdout=said, stderr=said
            )
            status[assignment] = None
            while status[assignment] is None and not stopped:
                time.sleep(0.1)
                note_begun(course, round(time.perf_counter() - start, 2), begun, log)
                status[assignment] = process.poll()
                late = most_seconds is not None and time.perf_counter() - start > most_seconds
                stopped = late and len(begun) > 1
            if stopped:
                process.terminate()
                process.wait()
                break
            if status[assignment]:
                said.seek(0)
                print(said.read()[-2000:], file=sys.stderr)
    seconds = max(begun.values()) if stopped else time.perf_counter() - start
    done = sorted(begun, key=begun.__getitem__)[: -1 if stopped else None]
    with Gradebook(course.gradebook_url) as gradebook:
        points = [
            {"student": s.student.id, "assignment": s.assignment.name, "points": s.score}
            for assignment in assignments
            for s in gradebook.assignment_submissions(assignment)
            if f"{s.student.id} {s.assignment.name}" in done
        ]
    return {
        "seconds": round(seconds, 2),
        "stopped": stopped,
        "graded": len(done),
        "begun": begun,
        "exit_status": status,
        "notebooks": points,
    }


def note_begun(course: Course, seconds: float, begun: dict[str, float], log: Path) -> None:
    """Note whose folder stock nbgrader has made since the last look: it does so before all else."""
    for folder in course.root.glob("autograded/*/*"):
        who = f"{folder.parent.name} {folder.name}"
        if who not in begun:
            begun[who] = seconds
            with log.with_name("timeline.jsonl").open("a") as lines:
                print(json.dumps([seconds, who, "stock begins"]), file=lines)


def measure_class(
    root: Path, samples: list[Sample], labs: tuple[str, ...], jobs: int | None, log: Path
) -> dict[str, Any]:
    """Grade a class once."""
    found = graded(new_course(root, "ours", samples, labs), jobs, log)
    return {"students": len(samples), "submissions": len(found["notebooks"]), "ours": found}


def compare(
    root: Path,
    samples: list[Sample],
    labs: tuple[str, ...],
    jobs: int | None,
    log: Path,
    stock_seconds: float | None,
) -> dict[str, Any]:
    """Grade the same submissions with trtlab-grade and with stock nbgrader, in this order.

    `times_faster` is by submissions per second, so that stock need not grade all of them.
    """
    ours = graded(new_course(root, "ours", samples, labs), jobs, log)
    theirs = stock(new_course(root, "stock", samples, labs), stock_seconds, log)
    ratio = len(ours["notebooks"]) / ours["seconds"] * theirs["seconds"] / theirs["graded"]
    return {"times_faster": round(ratio, 2), "stock": theirs, "ours": ours}


def repeat(
    root: Path, labs: tuple[str, ...], runs: int, jobs: int | None, log: Path
) -> dict[str, Any]:
    """Grade the reference solution several times from nothing."""
    course = new_course(root, "ours", reference(), labs)
    results = [graded(course, jobs, log, regrade=True) for _ in range(runs)]
    totals = [sum(notebook["points"] for notebook in run["notebooks"]) for run in results]
    return {
        "emulated": IS_EMULATED,
        "points": totals,
        "spread": max(totals) - min(totals),
        "runs": results,
    }


def complete(root: Path, labs: tuple[str, ...], jobs: int | None, log: Path) -> dict[str, Any]:
    """Grade the reference without a GPU, then with one; return both, and what was done again."""
    course = new_course(root, "ours", reference(), labs)
    hidden = {**os.environ, "TRTLAB_BACKEND": "emulated", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "without-gpu", str(course.root)]
    answer = subprocess.run(command, env=hidden, stdout=subprocess.PIPE, text=True, check=True)
    without = json.loads(answer.stdout.splitlines()[-1])
    return {"without_gpu": without, "with_gpu": graded(course, jobs, log)}


def reference() -> list[Sample]:
    """Return the student who hands in the reference solution."""
    return [sample for sample in CLASS if sample.student == "ada-reference"]


if __name__ == "__main__":
    main()
