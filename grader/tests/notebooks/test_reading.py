"""Whatever a student hands in as a notebook is read as data, or refused with a reason."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trtlab_grader.notebooks import reading
from trtlab_grader.notebooks.reading import Unreadable, plain, read_plain


def problem_with(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read_plain(path)
    assert path.name in str(caught.value)
    return caught.value.problem


def notebook(*cells: object, **more: object) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more}


def code(source: object = "1 + 1", **more: object) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, **more}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "not-json"),
        (b"<html>", "not-json"),
        (b"\xff\xfe\xff", "not-json"),
        (b"[" * 100_000, "not-json"),
        (b"1" * 10_000, "not-json"),
        (b"[]", "not-a-notebook"),
        (b"null", "not-a-notebook"),
        (b'{"cells": []}', "not-a-notebook"),
        (b'{"nbformat": 3, "worksheets": []}', "not-a-notebook"),
        (b'{"nbformat": 4, "cells": {}}', "not-a-notebook"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused_with_its_kind(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "lab.ipynb"
    path.write_bytes(content)
    assert problem_with(path) == problem


def test_a_file_of_50_megabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "lab.ipynb"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    assert problem_with(path) == "too-large"


def test_a_link_to_another_students_notebook_is_as_good_as_none(tmp_path: Path) -> None:
    other = tmp_path / "other.ipynb"
    other.write_text(json.dumps(notebook(code())))
    path = tmp_path / "lab.ipynb"
    path.symlink_to(other)
    assert problem_with(path) == "missing"
    assert problem_with(tmp_path / "nothing.ipynb") == "missing"


def test_a_named_pipe_does_not_keep_the_grader_waiting(tmp_path: Path) -> None:
    path = tmp_path / "lab.ipynb"
    os.mkfifo(path)
    assert problem_with(path) == "missing"


def test_too_many_cells_or_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_CELLS", 3)
    monkeypatch.setattr(reading, "MAX_SOURCE", 10)
    assert len(plain(notebook(*[code("12")] * 3)).cells) == 3
    for cells in ([code("12")] * 4, [code("12345678901")]):
        with pytest.raises(Unreadable) as caught:
            plain(notebook(*cells))
        assert caught.value.problem == "too-large"


def test_cells_that_are_none_are_dropped_and_counted() -> None:
    bad = (None, 7, "cell", {}, {"cell_type": "heading", "source": ""}, code(5), code(["a", 5]))
    read = plain(notebook(code("kept"), *bad))
    assert ([cell.source for cell in read.cells], read.unreadable) == (["kept"], len(bad))


@pytest.mark.parametrize("metadata", [None, 5, [], {"nbgrader": 5}, {"nbgrader": {"grade_id": {}}}])
def test_broken_metadata_is_no_metadata(metadata: object) -> None:
    (cell,) = plain(notebook({**code(), "metadata": metadata, "id": 5})).cells
    assert (cell.grade_id, cell.mark, cell.id) == (None, {}, None)


def test_what_is_read_can_be_written_to_a_file_and_to_postgresql() -> None:
    (cell,) = plain(json.loads(json.dumps(notebook(code("\ud800 a\0b"))))).cells
    assert cell.source == "? a\ufffdb"
    cell.source.encode()


def test_lines_are_joined_and_the_kernel_is_noted() -> None:
    read = plain(notebook(code(["a\n", "b"]), metadata={"kernelspec": {"name": "bash"}}))
    assert (read.cells[0].source, read.kernel) == ("a\nb", "bash")
