"""A repaired notebook is the student's work in the frame of the release, whatever was done."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import compute_checksum

from trtlab_grader.notebooks import Repaired, repair, repair_file
from trtlab_grader.notebooks.reading import MAX_BYTES, plain

LABS = Path(__file__).parents[3] / "labs"
ANSWER = "def answer():\n    return 42"


def release_of(name: str) -> NotebookNode:
    return nbformat.read(LABS / name / f"{name}.ipynb", as_version=4)


RELEASE = release_of("02-build")
GRADED = [cell for cell in RELEASE.cells if cell.metadata.get("nbgrader")]


def submitted(release: NotebookNode = RELEASE) -> Any:
    """The release as plain JSON, every solution filled in with a text of its own."""
    data = json.loads(nbformat.writes(release))
    for cell in data["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] += f"\n# solved {cell['id']}"
    return data


def find(data: Any, name: str) -> Any:
    (cell,) = (cell for cell in data["cells"] if cell.get("id") == name)
    return cell


def repaired(data: Any) -> Repaired:
    return repair(plain(data), RELEASE)


def codes(result: Repaired) -> Counter[str]:
    return Counter(flag.code for flag in result.flags)


def marked(notebook: NotebookNode) -> dict[str, NotebookNode]:
    cells = [cell for cell in notebook.cells if cell.metadata.get("nbgrader")]
    by_name = {cell.metadata.nbgrader.grade_id: cell for cell in cells}
    assert len(by_name) == len(cells), "a grade_id occurs twice"
    return by_name


def assert_framed(notebook: NotebookNode) -> None:
    """What must hold of every repaired notebook: the oracle is the release and nbgrader itself."""
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)
    assert notebook.metadata == RELEASE.metadata
    found = marked(notebook)
    assert found.keys() == {cell.metadata.nbgrader.grade_id for cell in GRADED}
    for original in GRADED:
        cell = found[original.metadata.nbgrader.grade_id]
        assert (cell.metadata, cell.cell_type, cell.id) == (
            original.metadata,
            original.cell_type,
            original.id,
        )
        if original.metadata.nbgrader.locked:
            assert cell.source == original.source
    for cell in notebook.cells:
        assert "attachments" not in cell
        assert cell.get("outputs", []) == []


def test_an_untouched_submission_stays_what_it_is() -> None:
    result = repaired(submitted())
    assert_framed(result.notebook)
    assert result.flags == ()
    expected = [cell["source"] for cell in submitted()["cells"]]
    assert [cell.source for cell in result.notebook.cells] == expected
    assert [cell.id for cell in result.notebook.cells] == [cell.id for cell in RELEASE.cells]


CELLS = st.integers(0, len(RELEASE.cells) - 1)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(len(RELEASE.cells))),
    deleted=st.sets(CELLS),
    doubled=st.lists(CELLS, max_size=5),
    stripped=st.sets(CELLS),
    retyped=st.sets(CELLS, max_size=3),
    own=st.lists(st.tuples(st.integers(0, 60), st.text(max_size=20)), max_size=4),
)
def test_any_shuffling_deletion_and_duplication_leaves_each_graded_cell_exactly_once(
    order: list[int],
    deleted: set[int],
    doubled: list[int],
    stripped: set[int],
    retyped: set[int],
    own: list[tuple[int, str]],
) -> None:
    data = submitted()
    for index in stripped:
        data["cells"][index].update(metadata={}, id="#")
    for index in retyped:
        data["cells"][index]["cell_type"] = "raw"
    cells = [data["cells"][index] for index in order if index not in deleted]
    cells += [dict(data["cells"][index]) for index in doubled]
    for place, text in own:
        cells.insert(place, {"cell_type": "code", "source": text, "metadata": {}, "id": text})
    result = repaired({**data, "cells": cells})
    assert_framed(result.notebook)

    solved = [cell["source"] for cell in cells if "# solved" in cell["source"]]
    kept = [cell.source for cell in result.notebook.cells if "# solved" in cell.source]
    assert kept == solved, "the student's work is all there, in the student's order"
    again = repair(plain(json.loads(nbformat.writes(result.notebook))), RELEASE)
    assert again.notebook == result.notebook


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["cell_type", "source", "metadata", "nbgrader", "grade_id", "id"])
                | st.text(max_size=3),
                inner | st.sampled_from(["code", "check-2-1", "task-2-1"]),
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_in_place_of_a_cell_is_repaired_too(junk: object) -> None:
    data = submitted()
    data["cells"][5] = junk
    data["cells"].append({"cell_type": "code", "source": "", "metadata": {"nbgrader": junk}})
    assert_framed(repaired(data).notebook)


def test_a_deleted_check_cell_is_put_back_behind_what_stood_before_it() -> None:
    data = submitted()
    data["cells"] = [cell for cell in data["cells"] if cell["id"] not in ("check-2-1", "task-2-2")]
    result = repaired(data)
    ids = [cell.id for cell in result.notebook.cells]
    assert ids == [cell.id for cell in RELEASE.cells]
    assert [(flag.code, flag.task) for flag in result.flags] == [
        ("cell-deleted", "2.1"),
        ("cell-deleted", "2.2"),
    ]
    assert "NotImplementedError" in marked(result.notebook)["task-2-2"].source


def test_the_first_copy_of_the_right_type_stays_and_the_others_become_own_cells() -> None:
    data = submitted()
    place = data["cells"].index(find(data, "task-2-1"))
    right = find(data, "task-2-1")
    text, late = {**right, "cell_type": "markdown"}, {**right, "source": "late"}
    data["cells"][place : place + 1] = [text, {**right, "source": ANSWER}, late]
    result = repaired(data)
    assert_framed(result.notebook)
    assert marked(result.notebook)["task-2-1"].source == ANSWER
    own = [cell for cell in result.notebook.cells if cell.source in (right["source"], "late")]
    assert [cell.metadata for cell in own] == [{}, {}]
    assert codes(result) == {"cell-duplicated": 2}


def test_an_edited_check_cell_is_restored_and_a_person_is_told() -> None:
    data = submitted()
    find(data, "check-2-1")["source"] = 'check("2.1"); 5.0  # <b>' + "x" * 500
    result = repaired(data)
    assert_framed(result.notebook)
    (flag,) = result.flags
    assert (flag.kind, flag.code, flag.task) == ("human", "locked-cell-edited", "2.1")
    assert "5.0" in flag.text
    assert len(flag.text) < 200


def test_white_space_in_a_locked_cell_is_nobodys_business() -> None:
    data = submitted()
    find(data, "check-2-1")["source"] = ' check("2.1")\n'
    assert repaired(data).flags == ()


@pytest.mark.parametrize("points", [1000, -1, "many", None, float("nan")])
def test_points_written_into_the_metadata_are_an_attack_and_change_nothing(points: object) -> None:
    data = submitted()
    find(data, "check-2-1")["metadata"]["nbgrader"]["points"] = points
    result = repaired(data)
    assert_framed(result.notebook)
    assert [(flag.kind, flag.code) for flag in result.flags] == [("attack", "points-edited")]


def test_points_of_an_earlier_release_are_no_attack() -> None:
    data = submitted()
    cell = nbformat.from_dict(find(data, "check-2-1"))
    cell.metadata.nbgrader.points = 4
    cell.metadata.nbgrader.checksum = compute_checksum(cell)
    find(data, "check-2-1")["metadata"] = cell.metadata
    assert [flag.kind for flag in repaired(data).flags] == ["human"]


def test_lost_metadata_is_restored_by_cell_id_and_by_place() -> None:
    for lost in ("metadata", "metadata and id"):
        data = submitted()
        for cell in data["cells"]:
            cell["metadata"] = {}
            if lost != "metadata":
                cell.pop("id")
        result = repaired(data)
        assert_framed(result.notebook)
        for cell in GRADED:
            if cell.metadata.nbgrader.solution:
                name = cell.metadata.nbgrader.grade_id
                assert f"# solved {cell.id}" in marked(result.notebook)[name].source
        assert codes(result) == {"metadata-restored": len(GRADED)}


def test_a_solution_that_was_rewritten_without_metadata_is_found_by_its_place() -> None:
    data = submitted()
    find(data, "task-2-5").update(source="Layers were fused.", metadata={}, id="new")
    assert marked(repaired(data).notebook)["task-2-5"].source == "Layers were fused."


def test_an_answer_whose_type_was_changed_gets_it_back() -> None:
    data = submitted()
    find(data, "task-2-5")["cell_type"] = "code"
    result = repaired(data)
    assert_framed(result.notebook)
    assert "# solved" in marked(result.notebook)["task-2-5"].source
    assert codes(result) == {"cell-type-changed": 1}


def test_another_kernel_is_replaced() -> None:
    data = submitted()
    data["metadata"] = {"kernelspec": {"name": "bash"}, "evil": True}
    result = repaired(data)
    assert result.notebook.metadata == RELEASE.metadata
    assert codes(result) == {"kernel-replaced": 1}


def test_outputs_attachments_and_metadata_of_own_cells_are_dropped() -> None:
    data = submitted()
    html = {"output_type": "display_data", "data": {"text/html": "<script>"}, "metadata": {}}
    data["cells"] += [
        {"cell_type": "code", "source": "1", "metadata": {"tags": ["x"]}, "outputs": [html]},
        {"cell_type": "markdown", "source": "2", "attachments": {"a.svg": {}}, "metadata": {}},
        {"cell_type": "raw", "source": "3", "metadata": {"raw_mimetype": "text/html"}},
    ]
    result = repaired(data)
    assert_framed(result.notebook)
    assert [cell.metadata for cell in result.notebook.cells[-3:]] == [{}, {}, {}]


def test_invalid_and_doubled_cell_ids_are_replaced_the_same_way_every_time() -> None:
    data = submitted()
    names = ["", "a b", "x" * 65, "check-2-1", "own", "own"]
    data["cells"] += [
        {"cell_type": "code", "source": f"# {n}", "metadata": {}, "id": name}
        for n, name in enumerate(names)
    ]
    result = repaired(data)
    assert_framed(result.notebook)
    ids = [cell.id for cell in result.notebook.cells[-6:]]
    assert ids == ["own", "own-2", "own-3", "check-2-1-2", "own-4", "own-5"]
    assert repaired(data).notebook == result.notebook


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b" " * (MAX_BYTES + 1)])
def test_a_file_that_cannot_be_read_is_graded_as_if_nothing_was_written(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "02-build.ipynb"
    if content is not None:
        path.write_bytes(content)
    result = repair_file(path, RELEASE)
    assert_framed(result.notebook)
    assert [cell.source for cell in result.notebook.cells] == [cell.source for cell in GRADED]
    (flag,) = result.flags
    assert flag.kind == "human"
    assert flag.code == f"notebook-{result.problem}"


@pytest.mark.parametrize("path", sorted(LABS.glob("*/*.ipynb")), ids=lambda path: path.stem)
def test_every_released_lab_repairs_to_itself(path: Path) -> None:
    release = release_of(path.stem)
    result = repair_file(path, release)
    assert result == Repaired(release, ())
