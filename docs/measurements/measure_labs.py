"""Runs the seven reference notebooks as a student would, and notes what each check gave.

    python docs/measurements/measure_labs.py OUT [--warm]

With --warm, builds start from the timing cache of the provided engines, as they do in the grader:
minutes become seconds, and the engines are the same. Writes OUT/labs/*.ipynb, executed, and
OUT/labs.json: machine, versions, commit, seconds and points.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from provenance import provenance

from trtlab.checks.tasks import TASKS
from trtlab.files import write_text

ROOT = Path(__file__).resolve().parents[2]
CELL_SECONDS = 1200
WARM = (
    "from trtlab.lab import artifacts as _a; from trtlab.lab.warm_builds import build_from as _b; "
    "_b(_a.provided_folder() / _a.TIMING_CACHE); del _a, _b"
)


def main() -> None:
    """Run, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--warm", action="store_true", help="let builds start from known kernels")
    arguments = parser.parse_args()
    out, first = arguments.out, WARM if arguments.warm else ""
    (out / "labs").mkdir(parents=True, exist_ok=True)
    labs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="trtlab-labs-") as folder:
        course = Path(folder) / "solutions"
        shutil.copytree(ROOT / "solutions", course)
        for path in sorted(course.glob("*/*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            start = time.perf_counter()
            client = NotebookClient(
                notebook,
                timeout=CELL_SECONDS,
                allow_errors=True,
                kernel_name="python3",
                extra_arguments=[f"--IPKernelApp.exec_lines={first}"],
                resources={"metadata": {"path": str(path.parent)}},
            )
            client.execute()
            labs[path.stem] = {
                "seconds": round(time.perf_counter() - start, 1),
                "errors": errors(notebook),
                "points": points(notebook),
            }
            nbformat.write(notebook, out / "labs" / path.name)
            print(path.stem, labs[path.stem], flush=True)
            write_summary(out / "labs.json", labs)


def write_summary(target: Path, labs: dict[str, Any]) -> None:
    """Write what is known so far: after each lab, so that a run that is cut short leaves it."""
    given = {task: got for lab in labs.values() for task, got in lab["points"].items()}
    checked = [task for task in TASKS.values() if task.category != "documentation"]
    facts = {
        **provenance(),
        "points": sum(given.values()),
        "of": sum(task.points for task in checked),
        "short": {
            t.number: given.get(t.number) for t in checked if given.get(t.number) != t.points
        },
    }
    write_text(target, json.dumps({**facts, "labs": labs}, indent=1) + "\n")
    print(target, facts["points"], "of", facts["of"], facts["short"], flush=True)


def points(notebook: NotebookNode) -> dict[str, float]:
    """Return the value of each check cell, by task."""
    found = {}
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and mark.get("grade") and not mark.get("solution"):
            values = [
                o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result"
            ]
            task = mark["grade_id"].removeprefix("check-").replace("-", ".")
            found[task] = float(values[-1]) if values else 0.0
    return found


def errors(notebook: NotebookNode) -> dict[str, str]:
    """Return what cells raised, by cell id."""
    return {
        cell.id: f"{output.ename}: {output.evalue}"
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


if __name__ == "__main__":
    main()
