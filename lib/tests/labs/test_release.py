"""labs/ is what nbgrader makes of solutions/, and gives nothing away."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from labs.harness import ROOT, SOLUTIONS, solution_path
from trtlab.checks.tasks import TASKS
from trtlab.lab.pipeline_picture import STEPS, pipeline_svg

LABS = ROOT / "labs"
RELEASED = (".ipynb", ".svg")
SHORTEST_TELLING_LINE = 13  # `return output` gives nothing away
REGION = re.compile(r"^\s*### BEGIN SOLUTION\n(.*?)^\s*### END SOLUTION", re.DOTALL | re.MULTILINE)
NOTEBOOKS = [f"0{number}-{step.title.split()[1].lower()}" for number, step in enumerate(STEPS)]


def read(folder: Path, name: str) -> NotebookNode:
    return nbformat.read(folder / name / f"{name}.ipynb", as_version=4)


def graded_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }


def course_copy(folder: Path) -> Path:
    """Copy what a release is made from, without what running the notebooks has left there."""
    for source in SOLUTIONS.glob("*/*"):
        if source.suffix in RELEASED:
            copy = folder / "solutions" / source.parent.name / source.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    (folder / "grader").mkdir()
    shutil.copy(ROOT / "grader" / "nbgrader_config.py", folder / "grader")
    return folder


def nbgrader(*arguments: str, cwd: Path) -> str:
    # nbgrader and its kernel are found as in an activated environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def release(course: Path) -> Path:
    """Do what `make release` does, and return the folder that it fills."""
    nbgrader("generate_assignment", "*", "--force", "--no-db", cwd=course / "grader")
    return course / "labs"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*/*"))
        if path.suffix in RELEASED
    }


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(course_copy(tmp_path_factory.mktemp("course")))


def test_the_committed_labs_are_what_the_solutions_release(released: Path) -> None:
    fresh, committed = contents(released), contents(LABS)
    assert fresh.keys() == committed.keys()
    changed = [name for name in fresh if fresh[name] != committed[name]]
    assert not changed, "run `make release`"


def test_an_instructor_can_edit_a_source_in_jupyterlab_and_release_again(
    released: Path, tmp_path: Path
) -> None:
    course = course_copy(tmp_path)
    for name in NOTEBOOKS:
        path = course / "solutions" / name / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.language_info = {"name": "python", "version": "3.12.9"}
        notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
        for count, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", text="secret")]
            cell.metadata.update(execution={"iopub.status.busy": "now"}, trusted=True)
        notebook.cells[0].source += "\n\nAn instructor's remark."
        nbformat.write(notebook, path)
    (course / "solutions" / NOTEBOOKS[1] / "resnet50.onnx").write_bytes(b"left by running it")

    again = contents(release(course))
    assert again.keys() == contents(released).keys()
    assert not list((course / "labs").glob("*/*.onnx"))
    remark = '\\n",\n    "\\n",\n    "An instructor\'s remark."'
    for name, text in contents(released).items():
        if name.endswith(".ipynb"):
            assert again[name].count(remark) == 1
            assert again[name].replace(remark, '"') == text


def telling_lines(notebook: NotebookNode) -> set[str]:
    """Return the lines of the solutions that the text around them does not show anyway."""
    hidden: list[str] = []
    shown: list[str] = []
    for cell in notebook.cells:
        is_solution = cell.metadata.get("nbgrader", {}).get("solution")
        regions = REGION.findall(cell.source) if is_solution else []
        if is_solution and not regions:  # nbgrader replaces the whole cell
            hidden.append(cell.source)
        else:
            hidden += regions
            shown.append(REGION.sub("", cell.source))
    around = normalised(*shown)
    lines = set(normalised(*hidden).splitlines())
    return {line for line in lines if len(line) >= SHORTEST_TELLING_LINE and line not in around}


def normalised(*texts: str) -> str:
    """Return the texts' lines with single spaces and no indentation."""
    return "\n".join(" ".join(line.split()) for text in texts for line in text.splitlines())


def strings_in(value: object) -> Iterator[str]:
    """Every string in JSON data: keys, values, and base64 attachments decoded."""
    if isinstance(value, str):
        yield value
        if re.fullmatch(r"[A-Za-z0-9+/=\s]{64,}", value):
            yield base64.b64decode(value).decode("utf-8", errors="ignore")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_line_of_a_solution_is_anywhere_in_the_release(name: str) -> None:
    telling = telling_lines(read(SOLUTIONS, name))
    assert telling, "the notebook has no solutions: the test would find nothing"
    for file, text in contents(LABS).items():
        texts = strings_in(json.loads(text)) if file.endswith(".ipynb") else [text]
        everything = normalised(*texts)
        assert not [line for line in telling if line in everything], file


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_release_has_no_trace_of_regions_or_mark_schemes(name: str) -> None:
    text = (LABS / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"(BEGIN|END) (SOLUTION|MARK SCHEME|HIDDEN TESTS)", text)


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("folder", [SOLUTIONS, LABS], ids=lambda folder: folder.name)
def test_committed_notebooks_have_no_outputs_and_readable_cell_ids(folder: Path, name: str) -> None:
    notebook = read(folder, name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", cell.id), cell.id
        assert cell.metadata.keys() <= {"nbgrader", "deletable", "editable", "tags"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("folder", [SOLUTIONS, LABS], ids=lambda folder: folder.name)
def test_every_task_has_its_graded_cell_with_its_points(folder: Path) -> None:
    points = {}
    for number, task in TASKS.items():
        by_hand = task.category == "documentation"
        grade_id = f"{'task' if by_hand else 'check'}-{number.replace('.', '-')}"
        cell = graded_cells(read(folder, NOTEBOOKS[task.lab]))[grade_id]
        assert cell.metadata.nbgrader.solution is by_hand
        assert cell.metadata.nbgrader.locked is not by_hand
        if not by_hand:
            assert cell.source == f'check("{number}")'
        points[number] = cell.metadata.nbgrader.points
    assert points == {number: task.points for number, task in TASKS.items()}
    assert sum(points.values()) == 100
    graded = sum(len(graded_cells(read(folder, name))) for name in NOTEBOOKS)
    assert graded == len(TASKS), "there is a graded cell that belongs to no task"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_region_becomes_a_line_that_raises_where_it_stands(name: str) -> None:
    source = {cell.id: cell for cell in read(SOLUTIONS, name).cells}
    for cell in read(LABS, name).cells:
        regions = len(REGION.findall(source[cell.id].source))
        if cell.cell_type == "code":
            assert cell.source.count("raise NotImplementedError()") == regions


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_the_pipeline_picture_is_current_and_shown_first(number: int) -> None:
    name = NOTEBOOKS[number]
    assert (SOLUTIONS / name / "pipeline.svg").read_text() == pipeline_svg(number)
    assert "](pipeline.svg)" in read(SOLUTIONS, name).cells[0].source


@pytest.mark.usefixtures("provided_artifacts")
def test_nbgrader_validates_a_source_and_not_its_release(tmp_path: Path) -> None:
    source, lab = solution_path(1), LABS / NOTEBOOKS[1] / f"{NOTEBOOKS[1]}.ipynb"
    for path, words in ((source, "Success!"), (lab, "fail")):
        folder = tmp_path / path.parents[1].name
        folder.mkdir()
        shutil.copy(path, folder)
        shutil.copy(ROOT / "grader" / "nbgrader_config.py", folder)
        assert words in nbgrader("validate", path.name, cwd=folder)
